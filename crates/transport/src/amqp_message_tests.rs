use std::time::Duration;

use lapin::protocol::basic::gen_properties;

use super::*;

fn message(headers: &[(&str, String)]) -> MessageRequest {
    MessageRequest {
        server: "amqps://mq.example.com/shop".parse().unwrap(),
        address: MessageAddress::Amqp {
            exchange: "orders".to_owned(),
            routing_key: "paid".to_owned(),
        },
        message_id: "c-1".to_owned(),
        content_type: Some("application/json"),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        body: Bytes::from_static(b"{}"),
        timeout: Duration::from_secs(10),
    }
}

/// Returns the size of the frame that lapin writes, envelope included.
fn written(message: &AmqpMessage) -> usize {
    let bytes = gen_properties(&message.properties)(Vec::new().into()).unwrap().into_inner().0;
    // The bytes include the two of the flags.
    HEADER_FRAME - 2 + bytes.len()
}

#[test]
fn a_header_frame_is_as_large_as_the_client_writes_it() {
    let plain = MessageRequest { content_type: None, ..message(&[]) };
    let long = ("signature", "x".repeat(40_000));
    for request in
        [plain, message(&[]), message(&[("a", String::new()), ("tenant", "é".into()), long])]
    {
        let message = AmqpMessage::new(&request).unwrap_or_else(|failure| panic!("{failure:?}"));
        assert_eq!(message.header_frame, written(&message));
        assert_eq!(message.properties.delivery_mode(), &Some(PERSISTENT));
    }
}

#[test]
fn headers_that_do_not_fit_into_a_frame_are_refused_before_they_are_sent() {
    let fits = |bytes| {
        let message = AmqpMessage::new(&message(&[("h", "x".repeat(bytes))])).ok().unwrap();
        message.check_header_frame(32 << 10)
    };
    let own = AmqpMessage::new(&message(&[("h", String::new())])).ok().unwrap().header_frame;
    let most = (32 << 10) - RESERVE - own;
    assert_eq!(fits(most), Ok(()));
    let failure = fits(most + 1).unwrap_err();
    assert_eq!(failure.code.as_deref(), Some("too_large"));
    assert!(failure.message.contains("29697 bytes; at most 29696"), "{}", failure.message);
}

#[test]
fn a_text_that_is_longer_than_amqp_allows_is_refused_by_its_name() {
    let (fits, long) = ("x".repeat(255), "x".repeat(256));
    let with = |exchange: &str, routing_key: &str, message_id: &str, header: &str| {
        let address = MessageAddress::Amqp {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        };
        let request = message(&[(header, String::new())]);
        let request = MessageRequest { address, message_id: message_id.to_owned(), ..request };
        AmqpMessage::new(&request).map(drop)
    };
    assert_eq!(with(&fits, &fits, &fits, &fits), Ok(()));
    for (refused, subject) in [
        (with(&long, "", "", ""), "the exchange has 256 bytes"),
        (with("", &long, "", ""), "the routing key has 256 bytes"),
        (with("", "", &long, ""), "the message id has 256 bytes"),
        (with("", "", "", &long), "the name of a header has 256 bytes"),
    ] {
        let failure = refused.unwrap_err();
        assert_eq!(failure.code.as_deref(), Some("too_large"));
        assert!(failure.message.contains(subject), "{}", failure.message);
    }
}
