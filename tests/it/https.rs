//! Tests the transport against real servers: only HTTPS, no more than was requested, and (within)
//! certainty about what was sent.

mod certainty;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ferryd_domain::http_call::{CallResult, HttpMethod, HttpReply, HttpRequest};
use ferryd_domain::outcome::Failure;
use ferryd_provider::HttpSettings;
use ferryd_transport::http::{HttpClient, HttpSetupError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::tls_server::{
    CertificateAuthority, ServerStream, TlsServer, read_request, reset, write,
};

const CAP: usize = 64 * 1024;

fn settings(ca_file: &Path) -> HttpSettings {
    HttpSettings {
        ca_file: Some(ca_file.to_owned()),
        connect_timeout: Duration::from_secs(2),
        max_response_size: CAP,
    }
}

fn http(ca_file: &Path) -> HttpClient {
    HttpClient::new(&settings(ca_file)).unwrap()
}

fn post(url: &str) -> HttpRequest {
    HttpRequest {
        method: HttpMethod::Post,
        url: url.parse().unwrap(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        input_headers: Vec::new(),
        body: r#"{"amount":1099}"#.into(),
        timeout: Duration::from_secs(10),
    }
}

fn at(address: SocketAddr) -> HttpRequest {
    post(&format!("https://localhost:{}/charges", address.port()))
}

fn within(timeout: Duration, address: SocketAddr) -> HttpRequest {
    HttpRequest { timeout, ..at(address) }
}

/// Starts a server and sends it one request.
async fn round_trip<F, Fut>(serve: F) -> CallResult
where
    F: Fn(ServerStream) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), serve).await;
    http(authority.file()).send(&at(server.address)).await
}

fn not_sent(answer: CallResult) -> Failure {
    match answer {
        CallResult::NotSent(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn incomplete(answer: CallResult) -> Failure {
    match answer {
        CallResult::Incomplete(failure) => failure,
        other => panic!("{other:?}"),
    }
}

fn reply(answer: CallResult) -> HttpReply {
    match answer {
        CallResult::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn code(failure: &Failure) -> &str {
    failure.code.as_deref().unwrap()
}

async fn answer_ok(mut stream: ServerStream) {
    while read_request(&mut stream).await.is_some() {
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Id: 7\r\n\r\n{}").await;
    }
}

#[tokio::test]
async fn a_complete_answer_comes_back_as_it_was_sent() {
    let reply = reply(round_trip(answer_ok).await);
    assert_eq!(
        (reply.status, reply.body.as_ref(), reply.header("x-id")),
        (200, b"{}".as_ref(), Some("7"))
    );
}

#[tokio::test]
async fn a_request_carries_what_it_describes_and_nothing_that_would_change_the_answer() {
    let (sender, mut seen) = mpsc::unbounded_channel();
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), move |mut stream| {
        let sender = sender.clone();
        // A server that closed after its first answer could close during the second request.
        async move {
            while let Some(request) = read_request(&mut stream).await {
                sender.send(request).unwrap();
                write(&mut stream, "HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        }
    })
    .await;
    let http = http(authority.file());
    let mut request = at(server.address);
    assert_eq!(reply(http.send(&request).await).status, 204);
    let text = seen.recv().await.unwrap();
    let port = server.address.port();
    assert!(text.starts_with("POST /charges HTTP/1.1\r\n"), "{text}");
    for line in [
        format!("host: localhost:{port}"),
        "content-type: application/json".to_owned(),
        "content-length: 15".to_owned(),
        format!("user-agent: ferryd/{}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is missing in {text}");
    }
    assert!(!text.contains("accept-encoding"), "{text}");

    request.headers = vec![("user-agent".to_owned(), "shop/1".to_owned())];
    request.body = Vec::new().into();
    assert_eq!(reply(http.send(&request).await).status, 204);
    let text = seen.recv().await.unwrap();
    assert!(
        text.contains("user-agent: shop/1\r\n") && text.contains("content-length: 0\r\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let authority = CertificateAuthority::new();
    let elsewhere = TlsServer::start(authority.issue("localhost"), answer_ok).await;
    let location = format!("https://localhost:{}/", elsewhere.address.port());
    let server = TlsServer::start(authority.issue("localhost"), move |mut stream| {
        let head = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        );
        async move {
            read_request(&mut stream).await;
            write(&mut stream, &head).await;
        }
    })
    .await;
    assert_eq!(reply(http(authority.file()).send(&at(server.address)).await).status, 307);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn a_server_that_cannot_prove_who_it_is_gets_no_request() {
    let authority = CertificateAuthority::new();
    let cases = [
        ("unknown authority", CertificateAuthority::new().issue("localhost"), "UnknownIssuer"),
        ("wrong host name", authority.issue("other.example"), "not valid for name"),
        ("expired", authority.issue_expired("localhost"), "expired"),
    ];
    for (case, identity, reason) in cases {
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        let server = TlsServer::start(identity, move |mut stream| {
            let counter = Arc::clone(&counter);
            async move {
                if read_request(&mut stream).await.is_some() {
                    counter.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
        .await;
        let failure = not_sent(http(authority.file()).send(&at(server.address)).await);
        assert_eq!(code(&failure), "tls", "{case}: {failure:?}");
        assert!(failure.message.contains(reason), "{case}: {failure:?}");
        assert_eq!((server.connections(), requests.load(Ordering::SeqCst)), (1, 0), "{case}");
    }
}

#[tokio::test]
async fn a_private_authority_is_not_trusted_unless_it_is_named() {
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), answer_ok).await;
    // The system's authorities, where there are any: a machine without them can't even set up the
    // client.
    match HttpClient::new(&HttpSettings { ca_file: None, ..settings(authority.file()) }) {
        Ok(http) => assert_eq!(code(&not_sent(http.send(&at(server.address)).await)), "tls"),
        Err(error) => assert!(matches!(error, HttpSetupError::Tls(_)), "{error}"),
    }
}

/// Lists the versions that a `ClientHello` offers (RFC 8446, section 4.2.1).
fn offered_versions(hello: &[u8]) -> Vec<u16> {
    let number = |at: usize| usize::from(u16::from_be_bytes([hello[at], hello[at + 1]]));
    let session = 5 + 4 + 2 + 32;
    let ciphers = session + 1 + usize::from(hello[session]);
    let compression = ciphers + 2 + number(ciphers);
    let mut at = compression + 1 + usize::from(hello[compression]) + 2;
    while number(at) != 43 {
        at += 4 + number(at + 2);
    }
    let list = &hello[at + 5..at + 5 + usize::from(hello[at + 4])];
    list.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[tokio::test]
async fn tls_below_1_2_is_neither_offered_nor_taken() {
    // A ServerHello that chooses TLS 1.1, and the alert of a server that supports nothing newer.
    let mut hello_1_1 = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello_1_1.extend([7; 32]);
    hello_1_1.extend([0, 0xc0, 0x13, 0]);
    for answer in [hello_1_1, vec![21, 3, 1, 0, 2, 2, 70]] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; 5];
            tcp.read_exact(&mut hello).await.unwrap();
            hello.resize(5 + usize::from(u16::from_be_bytes([hello[3], hello[4]])), 0);
            tcp.read_exact(&mut hello[5..]).await.unwrap();
            tcp.write_all(&answer).await.unwrap();
            let mut rest = Vec::new();
            let _ = tcp.read_to_end(&mut rest).await;
            // At most one alert follows: nothing of the request.
            (offered_versions(&hello), rest.len())
        });
        let failure = not_sent(http(CertificateAuthority::new().file()).send(&at(address)).await);
        assert_eq!(code(&failure), "tls", "{failure:?}");
        let (versions, rest) = server.await.unwrap();
        assert!(
            versions.iter().all(|version| [0x0303, 0x0304].contains(version)),
            "{versions:04x?}"
        );
        assert!(!versions.is_empty() && rest <= 7, "{versions:04x?}, {rest} more bytes");
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_off_by_the_total_timeout() {
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), |mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while write(&mut stream, "1\r\n.\r\n").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let start = Instant::now();
    let request = within(Duration::from_millis(500), server.address);
    assert_eq!(code(&incomplete(http(authority.file()).send(&request).await)), "timeout");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_answer_over_the_cap_is_not_read_to_its_end() {
    let announced = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", CAP + 1);
    let failure = incomplete(
        round_trip(move |mut stream| {
            let announced = announced.clone();
            async move {
                read_request(&mut stream).await;
                // The body never comes: the announced length is enough.
                write(&mut stream, &announced).await;
                std::future::pending::<()>().await;
            }
        })
        .await,
    );
    assert_eq!((code(&failure), failure.http_status), ("too_large", Some(200)));

    let written = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&written);
    let failure = incomplete(
        round_trip(move |mut stream| {
            let counter = Arc::clone(&counter);
            async move {
                read_request(&mut stream).await;
                write(&mut stream, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                while write(&mut stream, &chunk).await {
                    counter.fetch_add(0x1000, Ordering::SeqCst);
                }
            }
        })
        .await,
    );
    assert_eq!(code(&failure), "too_large");
    assert!(written.load(Ordering::SeqCst) > CAP);
}

#[tokio::test]
async fn an_answer_exactly_at_the_cap_is_whole() {
    for framing in ["content-length: 65536\r\n\r\n", "transfer-encoding: chunked\r\n\r\n10000\r\n"]
    {
        let reply = reply(
            round_trip(move |mut stream| async move {
                read_request(&mut stream).await;
                let body = "x".repeat(CAP);
                write(&mut stream, &format!("HTTP/1.1 200 OK\r\n{framing}{body}\r\n0\r\n\r\n"))
                    .await;
            })
            .await,
        );
        assert_eq!(reply.body.len(), CAP, "{framing}");
    }
}

#[test]
fn a_ca_file_that_cannot_be_used_is_named_with_what_to_do() {
    let authority = CertificateAuthority::new();
    let path = authority.file().to_owned();
    let missing = path.with_extension("missing");
    let error = HttpClient::new(&settings(&missing)).unwrap_err().to_string();
    assert!(
        error.contains(missing.to_str().unwrap()) && error.contains("leave ca_file out"),
        "{error}"
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for content in
        ["", "no PEM", broken, "-----BEGIN CERTIFICATE-----\n***\n-----END CERTIFICATE-----\n"]
    {
        std::fs::write(&path, content).unwrap();
        let error = HttpClient::new(&settings(&path)).unwrap_err().to_string();
        assert!(
            error.contains(path.to_str().unwrap()) && error.contains("BEGIN CERTIFICATE"),
            "{content}: {error}"
        );
    }
}
