use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::web::fake_service::FakeCommandService;
use crate::web::test_client::{OPERATOR, tokens};
use ferryd_provider::registry::ProviderRegistry;

const WITHIN: Duration = Duration::from_secs(20);

/// A running API.
struct RunningApi {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

fn start(limits: ConnectionLimits) -> RunningApi {
    let stop = CancellationToken::new();
    let registry = Arc::new(ProviderRegistry::new([], std::collections::BTreeMap::new()));
    let api = ApiState::new(Arc::new(FakeCommandService::new()), registry, tokens(), stop.clone());
    let listener = BoundListener::bind(API_SERVER, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    RunningApi {
        address,
        stop,
        serving: tokio::spawn(serve_api(listener, api, limits, Vec::new())),
    }
}

async fn connect(running: &RunningApi) -> TcpStream {
    TcpStream::connect(running.address).await.unwrap()
}

/// Sends a text and reads until the answer holds `until`, or the connection ends.
async fn say(tcp: &mut TcpStream, text: &str, until: &str) -> String {
    tcp.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&answer).contains(until) {
            // A reset is an end, too.
            if tcp.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(WITHIN, reading).await.expect("an answer or an end");
    String::from_utf8(answer).unwrap()
}

const ALIVE: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Returns a request with a known token.
fn listing() -> String {
    format!(
        "GET /v1/commands HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR}\r\n\r\n"
    )
}

/// Returns the head of a request that submits a command.
fn posting(length: &str) -> String {
    format!(
        "POST /v1/commands HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR}\r\n\
         content-type: application/json\r\n{length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_taken_address_is_reported_with_what_to_do() {
    let first = BoundListener::bind(API_SERVER, "127.0.0.1:0".parse().unwrap()).unwrap();
    let error = BoundListener::bind(API_SERVER, first.address()).unwrap_err().to_string();
    assert!(
        error.contains(&first.address().to_string()) && error.contains("`api.bind`"),
        "{error}"
    );
}

#[tokio::test]
async fn one_connection_serves_many_requests_until_it_is_old() {
    let running =
        start(ConnectionLimits { age: Duration::from_millis(300), ..ConnectionLimits::default() });
    let mut tcp = connect(&running).await;
    for _ in 0..2 {
        assert!(say(&mut tcp, ALIVE, "alive").await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(say(&mut tcp, "", "never").await, "");
}

#[tokio::test]
async fn whoever_sends_nothing_or_half_a_head_is_disconnected() {
    let running =
        start(ConnectionLimits { head: Duration::from_millis(200), ..ConnectionLimits::default() });
    for text in ["", "GET /livez HTTP/1.1\r\nhost: lo"] {
        let mut tcp = connect(&running).await;
        assert!(!say(&mut tcp, text, "never").await.contains("200 OK"), "{text}");
    }
    // Also after an answer.
    let mut tcp = connect(&running).await;
    assert!(say(&mut tcp, ALIVE, "never").await.contains("alive"));
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_for_their_turn() {
    let running = start(ConnectionLimits { connections: 1, ..ConnectionLimits::default() });
    let mut first = connect(&running).await;
    // Without a token the connection would be closed for others.
    assert!(say(&mut first, &listing(), "commands").await.contains("200 OK"));
    let mut second = connect(&running).await;
    second.write_all(ALIVE.as_bytes()).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read(&mut byte)).await;
    assert!(early.is_err(), "served beyond the limit");
    drop(first);
    assert!(say(&mut second, "", "alive").await.contains("200 OK"));
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_takes_no_more() {
    let running = start(ConnectionLimits::default());
    let mut idle = connect(&running).await;
    assert!(say(&mut idle, ALIVE, "alive").await.contains("200 OK"));
    running.stop.cancel();
    tokio::time::timeout(WITHIN, running.serving).await.expect("it ends").unwrap();
    assert_eq!(say(&mut idle, "", "never").await, "");
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_hangs_does_not_hold_up_the_end() {
    let running = start(ConnectionLimits {
        drain_timeout: Duration::from_millis(200),
        ..ConnectionLimits::default()
    });
    let mut tcp = connect(&running).await;
    let head = posting("content-length: 9");
    tcp.write_all(head.as_bytes()).await.unwrap();
    running.stop.cancel();
    tokio::time::timeout(WITHIN, running.serving).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_body_without_an_announced_length_is_cut_off_at_its_limit() {
    let running = start(ConnectionLimits::default());
    let mut tcp = connect(&running).await;
    let head = posting("transfer-encoding: chunked");
    tcp.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let (mut reading, mut writing) = tcp.split();
    let sending = async {
        // The server closes the connection.
        while writing.write_all(chunk.as_bytes()).await.is_ok() {}
    };
    let mut answer = [0; 12];
    let read = async { reading.read_exact(&mut answer).await.map(|_| ()) };
    tokio::select! {
        () = sending => {}
        read = read => read.unwrap(),
        () = tokio::time::sleep(WITHIN) => panic!("not cut off"),
    }
    if answer != [0; 12] {
        assert_eq!(&answer, b"HTTP/1.1 413");
    }
}

/// Connects from an address of this machine.
async fn connect_from(running: &RunningApi, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(running.address).await.unwrap()
}

/// Opens connections that send half of a head each, and no more.
async fn hoard(running: &RunningApi, from: &str, count: usize) -> Vec<TcpStream> {
    let mut hoarded = Vec::new();
    for _ in 0..count {
        let mut tcp = connect_from(running, from).await;
        let _ = tcp.write_all(b"GET /livez HTTP/1.1\r\nhost: lo").await;
        hoarded.push(tcp);
    }
    hoarded
}

#[tokio::test]
async fn half_sent_heads_keep_nobody_out_neither_from_another_address_nor_from_the_same() {
    const PROMPTLY: Duration = Duration::from_secs(2);
    let running = start(ConnectionLimits::default());
    let mut authorised = connect_from(&running, "127.0.0.1").await;
    assert!(say(&mut authorised, &listing(), "commands").await.contains("200 OK"));
    let _hoarded = hoard(&running, "127.0.0.1", 520).await;
    for from in ["127.0.0.2", "127.0.0.1"] {
        let asking = async {
            let mut tcp = connect_from(&running, from).await;
            say(&mut tcp, ALIVE, "alive").await
        };
        let answer = tokio::time::timeout(PROMPTLY, asking).await;
        assert!(
            answer.as_ref().is_ok_and(|answer| answer.contains("200 OK")),
            "{from}: {answer:?}"
        );
    }
    assert!(say(&mut authorised, &listing(), "commands").await.contains("200 OK"));
}

#[tokio::test]
async fn half_sent_heads_from_many_addresses_keep_nobody_out() {
    let running = start(ConnectionLimits { connections: 32, ..ConnectionLimits::default() });
    let mut hoarded = Vec::new();
    for number in 2..8 {
        hoarded.extend(hoard(&running, &format!("127.0.0.{number}"), 8).await);
    }
    let began = std::time::Instant::now();
    let mut tcp = connect_from(&running, "127.0.0.1").await;
    assert!(say(&mut tcp, ALIVE, "alive").await.contains("200 OK"));
    assert!(began.elapsed() < ConnectionLimits::default().head / 2, "{:?}", began.elapsed());
}

/// Connects without letting the server run in between: it runs on this thread.
fn connect_at_once(running: &RunningApi, count: usize, text: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut tcp = std::net::TcpStream::connect(running.address).unwrap();
        std::io::Write::write_all(&mut tcp, text.as_bytes()).unwrap();
        tcp.set_nonblocking(true).unwrap();
        TcpStream::from_std(tcp).unwrap()
    };
    (0..count).map(connect).collect()
}

#[tokio::test]
async fn a_burst_of_complete_requests_from_one_address_is_answered_to_the_last() {
    for count in [300, 700] {
        let running = start(ConnectionLimits::default());
        for (number, mut tcp) in connect_at_once(&running, count, ALIVE).into_iter().enumerate() {
            let answer = say(&mut tcp, "", "alive").await;
            assert!(answer.contains("200 OK"), "{number} of {count}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_burst_of_clients_who_send_their_requests_a_moment_later_is_answered_to_the_last() {
    let running = start(ConnectionLimits::default());
    let burst = connect_at_once(&running, 300, "");
    // Accepted after all others.
    let mut last = connect_from(&running, "127.0.0.2").await;
    assert!(say(&mut last, ALIVE, "alive").await.contains("200 OK"));
    for (number, mut tcp) in burst.into_iter().enumerate() {
        let answer = say(&mut tcp, ALIVE, "alive").await;
        assert!(answer.contains("200 OK"), "{number}: {answer:?}");
    }
}
