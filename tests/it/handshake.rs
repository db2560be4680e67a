//! Tests reaching a provider without calling it.

use std::time::Duration;

use ferryd_provider::HttpSettings;
use ferryd_transport::handshake::try_handshake;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::tls_server::{CertificateAuthority, TlsServer, read_request};

fn settings(authority: &CertificateAuthority) -> HttpSettings {
    let connect_timeout = Duration::from_millis(500);
    HttpSettings {
        ca_file: Some(authority.file().to_owned()),
        connect_timeout,
        max_response_size: 1024,
    }
}

#[tokio::test]
async fn a_handshake_reaches_a_trusted_provider_and_sends_it_nothing() {
    let authority = CertificateAuthority::new();
    let (requests, mut seen) = mpsc::unbounded_channel();
    let server = TlsServer::start(authority.issue("localhost"), move |mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await).unwrap();
        }
    });
    let server = server.await;
    let url = format!("https://localhost:{}/v1", server.address.port()).parse().unwrap();
    try_handshake(&url, &settings(&authority)).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), None);
}

#[tokio::test]
async fn a_handshake_shows_why_a_provider_is_not_reached() {
    let authority = CertificateAuthority::new();
    let wrong_name = TlsServer::start(authority.issue("other.test"), |_| async {}).await;
    let unknown =
        TlsServer::start(CertificateAuthority::new().issue("localhost"), |_| async {}).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let table = [
        (wrong_name.address, "not valid for name"),
        (unknown.address, "UnknownIssuer"),
        (silent.local_addr().unwrap(), "no connection within 0.5 s"),
        (refused, "refused"),
    ];
    for (address, reason) in table {
        let url = format!("https://localhost:{}", address.port()).parse().unwrap();
        let error = try_handshake(&url, &settings(&authority)).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}
