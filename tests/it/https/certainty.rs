//! Tests the certainty about a request, not sent or perhaps sent, for each way in which a
//! connection can fail.

use super::*;

#[tokio::test]
async fn what_fails_before_the_request_is_certainly_not_sent() {
    let http = http(CertificateAuthority::new().file());
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let speaks_no_tls = garbage.local_addr().unwrap();
    let closes = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closes_at_once = closes.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = garbage.accept().await.unwrap();
            let _ = tcp.write_all(b"220 mail.example ESMTP\r\n").await;
        }
    });
    tokio::spawn(async move {
        loop {
            drop(closes.accept().await.unwrap());
        }
    });
    for (url, expected) in [
        (format!("https://{refused}/"), &["connect"][..]),
        // A resolver that is slow to fail causes a timeout.
        ("https://name.invalid/".to_owned(), &["dns", "connect_timeout"]),
        (format!("https://{speaks_no_tls}/"), &["tls"]),
        // The close appears as an end or as a reset, depending on the order of events.
        (format!("https://{closes_at_once}/"), &["tls", "connect"]),
        ("http://provider.example/".to_owned(), &["request"]),
        ("ftp://localhost/".to_owned(), &["request"]),
    ] {
        let failure = not_sent(http.send(&post(&url)).await);
        assert!(expected.contains(&code(&failure)), "{url}: {failure:?}");
        assert!(!failure.message.is_empty(), "{url}");
    }
}

#[tokio::test]
async fn a_connection_that_hangs_before_the_request_is_a_connect_timeout() {
    // The kernel completes TCP for a listener that never accepts; the handshake of TLS hangs.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = CertificateAuthority::new();
    let settings =
        HttpSettings { connect_timeout: Duration::from_millis(200), ..settings(authority.file()) };
    let http = HttpClient::new(&settings).unwrap();
    let failure = not_sent(http.send(&at(listener.local_addr().unwrap())).await);
    assert_eq!(code(&failure), "connect_timeout", "{failure:?}");
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_stops_the_request_and_its_value_is_not_repeated() {
    let http = http(CertificateAuthority::new().file());
    for (name, value) in [
        ("bad name", "hidden"),
        ("x-note", "hidden\r\nx-more: 1"),
        ("x-note", "hidden\0"),
        ("content-length", "9"),
        ("Transfer-Encoding", "chunked"),
        ("host", "hidden.example"),
    ] {
        let mut request = post("https://localhost:1/");
        request.headers.push((name.to_owned(), value.to_owned()));
        let failure = not_sent(http.send(&request).await);
        assert_eq!(code(&failure), "request", "{name}");
        assert!(!failure.message.contains("hidden"), "{failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_takes_the_request_and_hangs_leaves_it_unknown() {
    let authority = CertificateAuthority::new();
    let server = TlsServer::start(authority.issue("localhost"), |mut stream| async move {
        read_request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let request = within(Duration::from_millis(300), server.address);
    let failure = incomplete(http(authority.file()).send(&request).await);
    assert_eq!(
        (code(&failure), failure.message.as_str()),
        ("timeout", "no complete answer within 300ms")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unknown_and_says_how() {
    let partial_head = "HTTP/1.1 200 OK\r\ncontent-le";
    let partial_body = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":";
    let partial_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"id\":";
    let until_close = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"id\":";
    for (sent, reset_it, expected, status) in [
        ("", false, "closed", None),
        ("", true, "reset", None),
        (partial_head, false, "closed", None),
        (partial_head, true, "reset", None),
        (partial_body, false, "truncated", Some(200)),
        (partial_chunk, false, "truncated", Some(200)),
        (until_close, false, "truncated", Some(200)),
        ("no HTTP at all\r\n\r\n", false, "protocol", None),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            false,
            "protocol",
            Some(200),
        ),
    ] {
        let failure = incomplete(
            round_trip(move |mut stream| async move {
                read_request(&mut stream).await;
                write(&mut stream, sent).await;
                if reset_it {
                    reset(stream);
                }
            })
            .await,
        );
        assert_eq!(
            (code(&failure), failure.http_status),
            (expected, status),
            "{sent:?} {reset_it}: {failure:?}"
        );
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_unknown() {
    let answer = round_trip(|mut stream| async move {
        read_request(&mut stream).await;
        write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{").await;
        reset(stream);
    })
    .await;
    // The status is known or not, as the reset overtakes what was received before it.
    assert_eq!(code(&incomplete(answer)), "reset");
}

#[tokio::test]
async fn a_request_lost_on_a_used_connection_is_unknown_and_not_repeated() {
    let authority = CertificateAuthority::new();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = TlsServer::start(authority.issue("localhost"), move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            while read_request(&mut stream).await.is_some() {
                if counter.fetch_add(1, Ordering::SeqCst) == 1 {
                    return;
                }
                write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let http = http(authority.file());
    reply(http.send(&at(server.address)).await);
    assert_eq!(code(&incomplete(http.send(&at(server.address)).await)), "closed");
    assert_eq!((server.connections(), requests.load(Ordering::SeqCst)), (1, 2));
}

#[tokio::test]
async fn a_connection_closed_while_unused_never_makes_a_request_count_as_not_sent() {
    let authority = CertificateAuthority::new();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let server = TlsServer::start(authority.issue("localhost"), move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            read_request(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            // Closes although it promised to stay.
            write(&mut stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let http = http(authority.file());
    let mut replies = 0;
    for _ in 0..50 {
        match http.send(&at(server.address)).await {
            CallResult::Reply(_) => replies += 1,
            CallResult::Incomplete(failure) => {
                assert!(["closed", "reset"].contains(&code(&failure)), "{failure:?}");
            }
            CallResult::NotSent(failure) => panic!("{failure:?}"),
        }
    }
    assert!(replies > 0);
    assert_eq!(requests.load(Ordering::SeqCst), replies);
}
