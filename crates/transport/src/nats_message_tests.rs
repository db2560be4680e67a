use std::time::Duration;

use super::*;

fn message(subject: &str, headers: &[(&str, &str)], id: &str) -> MessageRequest {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    MessageRequest {
        server: "tls://nats.example.com".parse().unwrap(),
        address: MessageAddress::Nats { subject: subject.to_owned() },
        message_id: id.to_owned(),
        content_type: Some("application/json"),
        headers: headers.iter().map(owned).collect(),
        body: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(1),
    }
}

#[test]
fn a_message_always_carries_its_id() {
    let outgoing = NatsMessage::new(&message("orders.new", &[("tenant", "eu")], "c1")).unwrap();
    let header = |name: &str| outgoing.headers.get(name).unwrap().as_str().to_owned();
    assert_eq!(header("Nats-Msg-Id"), "c1");
    assert_eq!(header("tenant"), "eu");
    assert_eq!(header("Content-Type"), "application/json");
    let own = NatsMessage::new(&message("orders.new", &[("Nats-Msg-Id", "x")], "c1")).unwrap();
    assert_eq!(own.headers.get("Nats-Msg-Id").unwrap().as_str(), "c1", "no header replaces it");
}

#[test]
fn a_text_that_would_end_its_line_is_refused() {
    for (subject, headers, id) in [
        ("a\r\nPUB b 0", &[][..], "c1"),
        ("", &[], "c1"),
        ("a b", &[], "c1"),
        ("a", &[("x", "1\r\ny: 2")], "c1"),
        ("a", &[("x\r\ny", "1")], "c1"),
        ("a", &[], "c1\r\nNats-Rollup: all"),
    ] {
        let failure = NatsMessage::new(&message(subject, headers, id)).err().unwrap();
        assert_eq!(failure.code.as_deref(), Some("invalid_message"), "{subject:?} {headers:?}");
    }
}
