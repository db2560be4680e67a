//! Certificates over HTTPS, from a server on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::generate_simple_self_signed;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server that answers by the path: `/there`, `/none`, `/moved`, `/large`, `/broken`.
struct CertificateServer {
    cache: CertificateCache,
    port: u16,
    requests: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl CertificateServer {
    async fn start() -> Self {
        let own = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca_file = folder.path().join("ca.pem");
        std::fs::write(&ca_file, own.cert.pem()).unwrap();
        let cache = CertificateCache::with_authorities(Some(ca_file));
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()).into();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, requests) =
            (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    let mut head = vec![0; 4096];
                    let read = stream.read(&mut head).await.unwrap();
                    counted.fetch_add(1, Ordering::Relaxed);
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    let (status, more, size) = match head.split_whitespace().nth(1).unwrap() {
                        path if path.starts_with("/there") => ("200 OK", "", 10),
                        path if path.starts_with("/none") => ("404 Not Found", "", 0),
                        "/moved" => ("302 Found", "location: /there\r\n", 0),
                        "/large" => ("200 OK", "", RESPONSE_CAP + 1),
                        _ => ("503 Service Unavailable", "", 0),
                    };
                    let answer = format!(
                        "HTTP/1.1 {status}\r\n{more}connection: close\r\ncontent-length: {size}\r\n\r\n"
                    );
                    let _ =
                        stream.write_all(&[answer.as_bytes(), &vec![b'x'; size]].concat()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { cache, port, requests, _folder: folder }
    }

    async fn get(&self, path: &str) -> Result<usize, CertificateFetchError> {
        let url = format!("https://localhost:{}{path}", self.port).parse().unwrap();
        self.cache.certificate(url).await.map(|certificate| certificate.len())
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_certificate_is_fetched_once_and_that_there_is_none_is_remembered_and_a_failure_is_not() {
    let server = CertificateServer::start().await;
    for (path, expected, requests) in [
        ("/there", Ok(10), 1),
        ("/there", Ok(10), 1),
        ("/none", Err(CertificateFetchError::Absent), 2),
        ("/none", Err(CertificateFetchError::Absent), 2),
        ("/moved", Err(CertificateFetchError::Unavailable), 3),
        ("/large", Err(CertificateFetchError::Unavailable), 4),
        ("/broken", Err(CertificateFetchError::Unavailable), 5),
        ("/broken", Err(CertificateFetchError::Unavailable), 6),
    ] {
        assert_eq!((server.get(path).await, server.requests()), (expected, requests), "{path}");
    }
}

#[tokio::test]
async fn calls_that_need_the_same_certificate_ask_once() {
    let server = CertificateServer::start().await;
    let all = futures_util::future::join_all((0..50).map(|_| server.get("/there"))).await;
    assert!(all.iter().all(|found| *found == Ok(10)));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn however_many_addresses_calls_name_the_host_gets_few_requests_and_known_certificates_are_still_returned()
 {
    let server = CertificateServer::start().await;
    assert_eq!(server.get("/there").await, Ok(10));
    let paths: Vec<_> = (0..200).map(|number| format!("/none-{number}")).collect();
    let all = futures_util::future::join_all(paths.iter().map(|path| server.get(path))).await;
    assert!(all.contains(&Err(CertificateFetchError::Unavailable)));
    let seconds_at_most = 5;
    assert!(server.requests() <= 8 + seconds_at_most, "{}", server.requests());
    assert_eq!(server.get("/there").await, Ok(10));
}

#[test]
fn what_is_remembered_is_bounded_and_addresses_without_a_certificate_displace_none_that_have_one() {
    let cache = CertificateCache::new();
    let url = |number: usize| format!("https://api.paypal.com/{number}").parse::<Url>().unwrap();
    let until = |seconds: u64| Instant::now() + Duration::from_secs(seconds);
    cache
        .remember(url(0), CachedAnswer { found: Some(Bytes::from_static(b"x")), until: until(60) });
    for number in 1..1000 {
        cache.remember(url(number), CachedAnswer { found: None, until: until(600) });
    }
    assert_eq!(cache.known_certificate(&url(0)), Some(Ok(Bytes::from_static(b"x"))));
    assert_eq!(cache.entries().len(), MOST + 1);
    assert_eq!(
        (cache.known_certificate(&url(1)), cache.known_certificate(&url(999))),
        (None, Some(Err(CertificateFetchError::Absent)))
    );
}
