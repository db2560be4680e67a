//! Connections to the endpoint: slow, many, over TLS, and at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::fake::{FakeSite, SinkBehaviour, settings};
use super::{WEBHOOK_SERVER, tls};
use crate::config::WebhooksConfig;
use ferryd_serve::server::BoundListener;

const WITHIN: Duration = Duration::from_secs(20);
const CALL: &str =
    "POST /webhooks/acme HTTP/1.1\r\nhost: x\r\nx-signature: good\r\ncontent-length: 2\r\n\r\n{}";

struct RunningEndpoint {
    site: FakeSite,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

fn start(settings: WebhooksConfig) -> RunningEndpoint {
    let tls = tls::load(&settings).unwrap();
    let site = FakeSite::with(settings);
    let listener = BoundListener::bind(WEBHOOK_SERVER, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    RunningEndpoint {
        serving: tokio::spawn(Arc::clone(&site.endpoint).serve(listener, tls)),
        site,
        address,
    }
}

impl RunningEndpoint {
    /// Connects from an address of this machine.
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Waits until so many calls have reached the queues.
    async fn arrived(&self, count: usize) {
        let mut arrived = self.site.queues.arrived.subscribe();
        timeout(WITHIN, arrived.wait_for(|arrived| *arrived >= count)).await.unwrap().unwrap();
    }
}

/// Sends a text and reads until the answer holds `until`, or the connection ends.
async fn say(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    text: &str,
    until: &str,
) -> String {
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains(until) {
            // A reset is an end, too.
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    timeout(WITHIN, reading).await.expect("an answer or an end");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn served(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let answer = say(stream, CALL, "\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("content-length: 0"),
        "{answer}"
    );
}

#[tokio::test]
async fn clients_that_are_slow_are_cut_off_while_others_are_served() {
    let short = Duration::from_millis(500);
    let running = start(WebhooksConfig {
        header_timeout: short,
        body_timeout: short,
        max_connections: 8,
        ..settings()
    });
    let (head, body) = CALL.split_at(CALL.len() - 2);
    let mut slow = Vec::new();
    for text in ["", &head[..30], head, &format!("{head}{}", &body[..1])] {
        let mut tcp = running.connect("127.0.0.1").await;
        tcp.write_all(text.as_bytes()).await.unwrap();
        slow.push(tcp);
    }
    let mut quick = running.connect("127.0.0.1").await;
    for _ in 0..3 {
        served(&mut quick).await;
    }
    let [nothing, half_head, no_body, half_body] = <[TcpStream; 4]>::try_from(slow).unwrap();
    for (mut tcp, start) in
        [(nothing, ""), (half_head, ""), (no_body, "HTTP/1.1 408"), (half_body, "HTTP/1.1 408")]
    {
        let answer = say(&mut tcp, "", "never").await;
        assert!(
            answer.starts_with(start) && (!start.is_empty() || !answer.contains("200")),
            "{answer}"
        );
    }
    // A connection that is idle after an answer is closed as well.
    assert_eq!(say(&mut quick, "", "never").await, "");
}

#[tokio::test]
async fn one_address_cannot_keep_others_out_unless_it_is_a_trusted_proxy() {
    let running = start(WebhooksConfig { max_connections: 8, ..settings() });
    let mut hoarded = Vec::new();
    for _ in 0..2 {
        let mut tcp = running.connect("127.0.0.2").await;
        served(&mut tcp).await;
        hoarded.push(tcp);
    }
    let mut refused = running.connect("127.0.0.2").await;
    assert_eq!(say(&mut refused, CALL, "never").await, "");
    served(&mut running.connect("127.0.0.3").await).await;
    let mut proxied = Vec::new();
    for _ in 0..5 {
        let mut tcp = running.connect("127.0.0.1").await;
        served(&mut tcp).await;
        proxied.push(tcp);
    }
    hoarded.clear();
    // The place is free once the server has noticed the end.
    let served_again = async {
        while !say(&mut running.connect("127.0.0.2").await, CALL, "\r\n\r\n")
            .await
            .contains("200 OK")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(WITHIN, served_again).await.unwrap();
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_for_their_turn() {
    let running = start(WebhooksConfig { max_connections: 1, ..settings() });
    let mut first = running.connect("127.0.0.1").await;
    served(&mut first).await;
    let mut second = running.connect("127.0.0.1").await;
    second.write_all(CALL.as_bytes()).await.unwrap();
    assert!(
        timeout(Duration::from_millis(200), second.read_u8()).await.is_err(),
        "served beyond the limit"
    );
    drop(first);
    assert!(say(&mut second, "", "\r\n\r\n").await.contains("200 OK"));
}

#[tokio::test]
async fn a_head_that_would_not_fit_a_message_is_refused() {
    let running = start(settings());
    let head = |size: usize| {
        CALL.replace("host: x\r\n", &format!("host: x\r\nx-long: {}\r\n", "\"".repeat(size)))
    };
    let mut tcp = running.connect("127.0.0.1").await;
    assert!(say(&mut tcp, &head(31 << 10), "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut tcp = running.connect("127.0.0.1").await;
    assert!(say(&mut tcp, &head(33 << 10), "\r\n\r\n").await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn with_a_certificate_of_its_own_it_speaks_tls_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let short = Duration::from_millis(300);
    let tls = WebhooksConfig {
        tls_cert_file: Some(cert),
        tls_key_file: Some(key),
        header_timeout: short,
        ..settings()
    };
    let running = start(tls);
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let connector =
        TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
    let tcp = running.connect("127.0.0.1").await;
    let mut stream =
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    served(&mut stream).await;

    let mut plain = running.connect("127.0.0.1").await;
    assert!(!say(&mut plain, CALL, "never").await.contains("HTTP"));
    // Nor does a missing handshake hold a connection.
    assert_eq!(say(&mut running.connect("127.0.0.1").await, "", "never").await, "");
    assert_eq!(running.site.queues.kept.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn stopping_ends_calls_that_are_under_way_with_their_answer_and_takes_no_more() {
    let running = start(settings());
    let mut idle = running.connect("127.0.0.1").await;
    served(&mut idle).await;
    running.site.queues.behaviour.send_replace(SinkBehaviour::Hang);
    let mut busy = running.connect("127.0.0.1").await;
    busy.write_all(CALL.as_bytes()).await.unwrap();
    // The head of a call that came before the end; its body comes after it.
    let (head, body) = CALL.split_at(20);
    let mut late = running.connect("127.0.0.1").await;
    served_head(&running, &mut late, head).await;
    running.arrived(2).await;
    running.site.stop.cancel();
    assert_eq!(say(&mut idle, "", "never").await, "");
    let answer = say(&mut late, body, "never").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 503"), "{answer}");
    running.site.queues.behaviour.send_replace(SinkBehaviour::Confirm);
    assert!(say(&mut busy, "", "never").await.starts_with("HTTP/1.1 200"));
    timeout(WITHIN, running.serving).await.expect("it ends").unwrap();
    assert_eq!(running.site.queues.kept.lock().unwrap().len(), 2);
    assert!(TcpStream::connect(running.address).await.is_err());
}

/// Sends half a head, and waits until the server has it.
async fn served_head(running: &RunningEndpoint, tcp: &mut TcpStream, head: &str) {
    tcp.write_all(head.as_bytes()).await.unwrap();
    // By then the server serves a connection that was made later.
    let mut other = running.connect("127.0.0.1").await;
    assert!(say(&mut other, "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "\r\n\r\n").await.contains("404"));
}

#[tokio::test]
async fn a_call_that_hangs_does_not_hold_up_the_end_for_ever() {
    let running = start(WebhooksConfig { body_timeout: Duration::from_millis(200), ..settings() });
    running.site.queues.behaviour.send_replace(SinkBehaviour::Hang);
    let mut busy = running.connect("127.0.0.1").await;
    busy.write_all(CALL.as_bytes()).await.unwrap();
    running.arrived(1).await;
    running.site.stop.cancel();
    timeout(WITHIN, running.serving).await.expect("it ends").unwrap();
}
