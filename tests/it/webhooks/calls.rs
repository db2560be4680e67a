//! Tests single calls: which are accepted and which are refused, and their log lines.

use std::fs;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::future::join;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::FieldTable;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{GOOD, OWN, PATH, QUEUE, call, endpoint, post, request, round_trip};
use crate::rig::{SOON, TestRig, word};

#[tokio::test]
async fn a_call_that_is_verified_lies_in_its_providers_queue_as_it_came() {
    let rig = TestRig::new("").await.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let body = b"{ \"id\": \"evt_1\",\r\n \"note\": \"\xff\" }";
    let path = "/webhooks/acme?a=%2F+b&&c=%zz";
    let headers =
        format!("{GOOD}content-type: application/json\r\nauthorization: Basic aHVudGVyMg==\r\n");
    let answer = call(address, "POST", path, &headers, body).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let webhooks = rig.webhooks().await;
    let [webhook] = webhooks.as_slice() else { panic!("{webhooks:?}") };
    assert_eq!((webhook.provider.as_str(), webhook.account.as_str()), ("acme", "default"));
    assert_eq!(webhook.call.url.as_str(), format!("https://hooks.example.com{path}"));
    assert_eq!((webhook.call.method.as_str(), &webhook.call.body[..]), ("POST", &body[..]));
    assert_eq!(webhook.call.header("content-type"), Some("application/json"));
    assert_eq!(webhook.call.header("authorization"), None);
    let age = jiff::Timestamp::now().duration_since(webhook.received_at);
    assert!(age.as_secs() < 60, "{age:?}");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_refused_webhook_is_logged_in_one_line_and_nothing_of_it_lies_in_a_queue() {
    let rig =
        TestRig::new("[webhooks]\nmax_body_size = \"1KiB\"\ntrusted_proxies = [\"127.0.0.1\"]")
            .await
            .called_back()
            .await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let forwarded = "x-forwarded-for: 198.51.100.7\r\n";
    let good = format!("{GOOD}{forwarded}");
    let large = vec![b' '; 1025];
    let mut bodies = Vec::new();
    for (method, path, headers, body, status, kind) in [
        ("POST", "/webhooks/nobody", good.as_str(), &b"hunter2"[..], 404, "not-found"),
        ("POST", "/webhooks/acme/eu", &good, b"hunter2", 401, "unverified"),
        ("POST", PATH, forwarded, b"hunter2", 401, "unverified"),
        (
            "POST",
            PATH,
            &format!("x-signature: hunter2\r\n{forwarded}"),
            b"hunter2",
            401,
            "unverified",
        ),
        (
            "POST",
            PATH,
            &format!("x-signature: stale\r\n{forwarded}"),
            b"hunter2",
            401,
            "unverified",
        ),
        ("PUT", PATH, &good, b"hunter2", 405, "method-not-allowed"),
        ("POST", PATH, &good, &large, 413, "too-large"),
        (
            "POST",
            PATH,
            &format!("{good}content-type: multipart/form-data\r\n"),
            b"hunter2",
            415,
            "unsupported-media-type",
        ),
    ] {
        let answer = call(address, method, path, headers, body).await;
        assert_eq!(
            (answer.status, answer.kind().as_str()),
            (status, kind),
            "{method} {path} {headers}"
        );
        bodies.push(answer.body);
    }
    assert!(
        bodies[2..5].iter().all(|body| *body == bodies[1]),
        "an unknown account is answered like a forger"
    );
    let challenge = call(address, "GET", &format!("{PATH}?challenge=42"), GOOD, b"").await;
    assert_eq!((challenge.status, challenge.body.as_slice()), (200, &b"42"[..]));

    let refused =
        daemon.wait_for_logs(8, SOON, |line| line["message"] == "refused a webhook").await;
    assert_eq!(refused.len(), 8);
    assert!(refused.iter().all(|line| line["client.address"] == "198.51.100.7"), "{refused:#?}");
    assert!(refused.iter().all(|line| line["count"] == 1), "{refused:#?}");
    let with_reason = |reason: &str| refused.iter().find(|line| line["reason"] == reason).unwrap();
    assert_eq!(word(with_reason("there is no such endpoint"), "provider"), "nobody");
    assert_eq!(
        word(with_reason("it was signed too long ago, or in the future"), "provider"),
        "acme"
    );
    assert!(!daemon.log_text().contains("hunter2"));
    assert_eq!(rig.webhooks().await, []);
    rig.finish(&daemon).await;
    let closed = daemon.logs(|line| line["message"] == "the endpoint for webhooks is closed");
    let counts = ["kept", "challenged", "nowhere", "unreadable", "unverified", "not_kept"]
        .map(|name| &closed[0][name]);
    assert_eq!(counts, [0, 1, 2, 3, 3, 0].map(|count| json!(count)).each_ref());
}

#[tokio::test]
async fn refusals_are_logged_at_most_once_a_second_for_each_reason_and_all_are_counted() {
    let rig = TestRig::new("").await.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let began = Instant::now();
    for number in 0..200 {
        let headers = if number % 2 == 0 { "" } else { "x-signature: forged\r\n" };
        assert_eq!(call(address, "POST", PATH, headers, b"{}").await.status, 401);
    }
    let is_line = |line: &Value| line["message"] == "refused a webhook";
    let total =
        |lines: &[Value]| lines.iter().filter_map(|line| line["count"].as_u64()).sum::<u64>();
    let mut lines = daemon.wait_for_logs(2, SOON, is_line).await;
    while total(&lines) < 200 {
        lines = daemon.wait_for_logs(lines.len() + 1, SOON, is_line).await;
    }
    let seconds = began.elapsed().as_secs() + 1;
    assert_eq!(total(&lines), 200);
    for reason in [
        "the call carries no signature that can be read",
        "the signature matches none of the secrets",
    ] {
        let of_reason: Vec<_> =
            lines.iter().filter(|line| line["reason"] == reason).cloned().collect();
        assert_eq!(total(&of_reason), 100, "{reason}");
        // The first line at once, and one at the end of each second.
        assert!(of_reason.len() as u64 <= seconds + 1, "{of_reason:#?}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn the_largest_head_there_can_be_fits_a_message() {
    let rig = TestRig::new("").await.called_back().await;
    let daemon = rig.start().await;
    let mut tcp = TcpStream::connect(endpoint(&daemon).await).await.unwrap();
    let mut call = request("POST", PATH, &format!("{GOOD}x-odd: ODD\r\n"), b"{}");
    let at = call.windows(3).position(|window| window == b"ODD").unwrap();
    // Each of these bytes becomes three.
    call.splice(at..at + 3, vec![0xff; (32 << 10) - 200]);
    assert_eq!(round_trip(&mut tcp, &call).await.unwrap().status, 200);
    let webhooks = rig.webhooks().await;
    assert_eq!(webhooks[0].call.header("x-odd").unwrap().chars().count(), (32 << 10) - 200);
    drop(tcp);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn with_its_own_certificate_it_is_reached_over_tls_and_by_no_other_way() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let config = "[webhooks]\ntls_cert_file = \"tls/cert.pem\"\ntls_key_file = \"tls/key.pem\"";
    let mut rig = TestRig::new(config).await.called_back().await;
    rig.setup = rig
        .setup
        .file("tls/cert.pem", &certificate.pem())
        .file("tls/key.pem", &key.serialize_pem());
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let connector =
        TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let tcp = TcpStream::connect(address).await.unwrap();
    let mut tls = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
    for _ in 0..2 {
        assert_eq!(
            round_trip(&mut tls, &request("POST", PATH, GOOD, b"{}")).await.unwrap().status,
            200
        );
    }
    let mut plain = TcpStream::connect(address).await.unwrap();
    assert!(round_trip(&mut plain, &request("POST", PATH, GOOD, b"{}")).await.is_none());
    assert_eq!(rig.broker.depth(QUEUE).await, Some(2));
    drop(tls);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_bad_certificate_or_a_forgotten_address_ends_the_daemon_before_it_listens() {
    for (config, key) in [
        ("tls_cert_file = \"none.pem\"\ntls_key_file = \"none.pem\"", "webhooks.tls_cert_file"),
        ("tls_cert_file = \"ca.pem\"\ntls_key_file = \"ca.pem\"", "webhooks.tls_key_file"),
        ("bind = \"0.0.0.0:0\"", "webhooks.bind"),
        ("public_url = \"\"", "webhooks.public_url"),
    ] {
        let mut rig = TestRig::new(&format!("[webhooks]\n{config}")).await;
        if !config.contains("public_url") {
            rig = rig.env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com");
        }
        let daemon = rig.setup.start();
        assert_eq!(daemon.wait(SOON).await.code(), Some(3), "{config}");
        let log = daemon.log_text();
        assert!(
            log.contains(key) && !log.contains("listens") && !log.contains("connected"),
            "{config}: {log}"
        );
        assert!(fs::exists(rig.setup.path().join("ca.pem")).unwrap());
    }
}

#[tokio::test]
async fn a_webhook_that_nobody_can_take_is_dead_lettered_and_not_lost() {
    let rig = TestRig::new("").await.called_back().await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    assert_eq!(post(address, "too often").await.status, 200);
    rig.finish(&daemon).await;
    let copy = rig.broker.peek(QUEUE).await.remove(0);
    rig.broker
        .publish("ferry.webhooks", "acme.default", b"too often", copy.properties.clone())
        .await;
    let channel = rig.broker.channel().await;
    channel.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(OWN.into(), "c".into(), options, FieldTable::default())
        .await
        .unwrap();
    let giving_back = async {
        while let Some(Ok(delivery)) = consumer.next().await {
            delivery.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
    };
    tokio::select! {
        () = giving_back => panic!("the consumer ended"),
        () = rig.broker.await_depth("ferry.webhooks.dead", 1) => {}
    }
    rig.broker.delete_queue(OWN).await;
    rig.broker.delete_queue(QUEUE).await;
    rig.broker.publish("ferry.webhooks", "acme.default", b"nowhere", copy.properties.clone()).await;
    rig.broker.await_depth("ferry.webhooks.dead", 2).await;
    let dead = rig.broker.peek("ferry.webhooks.dead").await;
    let bodies: Vec<_> =
        dead.iter().map(|message| String::from_utf8_lossy(&message.body)).collect();
    assert_eq!(bodies, ["too often", "nowhere"]);
    assert!(dead.iter().all(|message| {
        let read = ferryd_broker::webhook_message::read_webhook(
            &message.properties,
            message.body.clone().into(),
        );
        read.is_ok_and(|webhook| webhook.provider.as_str() == "acme")
    }));
}

#[tokio::test]
async fn without_a_public_address_nothing_listens_for_webhooks() {
    let rig = TestRig::new("").await.env("FERRYD_FAKE_WEBHOOKS", "acme");
    let daemon = rig.start().await;
    assert!(daemon.logs(|line: &Value| word(line, "message").contains("webhooks")).is_empty());
    let mut check = rig.setup.command(&["check"]);
    let output = tokio::task::spawn_blocking(move || check.output()).await.unwrap().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("warning: provider acme: webhook: its calls cannot be received"),
        "{stdout}"
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_call_that_is_slow_is_cut_off_while_others_are_served() {
    let rig = TestRig::new("[webhooks]\nbody_timeout = \"500ms\"\nheader_timeout = \"500ms\"")
        .await
        .called_back()
        .await;
    let daemon = rig.start().await;
    let address = endpoint(&daemon).await;
    let whole = request("POST", PATH, GOOD, b"{}");
    let slow = async |sent: usize| {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        round_trip(&mut tcp, &whole[..sent]).await
    };
    let mut slow = pin!(join(slow(20), slow(whole.len() - 1)));
    let (half_head, half_body) = loop {
        tokio::select! {
            ends = &mut slow => break ends,
            answer = post(address, "{}") => assert_eq!(answer.status, 200),
        }
    };
    assert!(half_head.is_none_or(|answer| answer.status == 408));
    assert_eq!(half_body.unwrap().status, 408);
    rig.finish(&daemon).await;
}
