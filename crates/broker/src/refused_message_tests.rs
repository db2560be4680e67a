use lapin::types::{ByteArray, DecimalValue};
use serde_json::json;

use super::*;

fn message(exchange: &str, routing_key: &str) -> OutgoingMessage {
    let mut headers = FieldTable::default();
    let mut table = FieldTable::default();
    table.insert("flag".into(), AMQPValue::Boolean(true));
    for (name, value) in [
        ("ferry-dead-letter", AMQPValue::LongString("{}".into())),
        ("ferry-attempt", AMQPValue::LongLongInt(3)),
        ("ferry-unknown", AMQPValue::Boolean(false)),
        ("list", AMQPValue::FieldArray(vec![AMQPValue::FieldTable(table), AMQPValue::Void].into())),
        ("sent", AMQPValue::Timestamp(7)),
        ("bytes", AMQPValue::LongString(LongString::from(vec![0xff_u8, 0]))),
        ("share", AMQPValue::Double(0.5)),
    ] {
        headers.insert(name.into(), value);
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id("m-1".into())
        .with_user_id("shop".into())
        .with_timestamp(1_800_000_000)
        .with_priority(4)
        .with_headers(headers);
    OutgoingMessage {
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        properties,
        body: b"{\"id\":1}".to_vec(),
    }
}

fn refused(message: &OutgoingMessage) -> RefusedMessage {
    let cause = CloseCause { code: Some(406), reason: "PRECONDITION_FAILED".to_owned() };
    RefusedMessage::new(message, &cause, Timestamp::UNIX_EPOCH)
}

#[test]
fn what_was_refused_is_restored_from_a_message_that_has_nothing_to_refuse() {
    for body in [b"{\"id\":1}".to_vec(), b"\xff\x00".to_vec(), Vec::new()] {
        let original = OutgoingMessage { body, ..message("ferry.retry", "5s.stripe") };
        let kept = refused(&original).to_message("ferry.dead".into());
        assert_eq!((kept.exchange.as_str(), kept.routing_key.as_str()), ("ferry.dead", "stripe"));
        assert_eq!((kept.properties.headers(), kept.properties.user_id()), (&None, &None));
        let read = RefusedMessage::read(&kept.properties, &kept.body).unwrap();
        assert_eq!(read, refused(&original));
        assert_eq!((read.properties(), read.body()), (original.properties.clone(), original.body));
    }
    let OutgoingMessage { properties, body, .. } = message("", "k");
    assert_eq!(RefusedMessage::read(&properties, &body), None, "it is no refused one");
}

#[test]
fn the_form_of_a_refused_message_is_a_contract() {
    let kept = refused(&message("ferry.events", "payment.stripe.charge.failed"))
        .to_message("ferry.dead".into());
    let body: serde_json::Value = serde_json::from_slice(&kept.body).unwrap();
    let expected = json!({
        "version": 1, "refused_at": "1970-01-01T00:00:00Z", "code": 406, "reason": "PRECONDITION_FAILED",
        "exchange": "ferry.events", "routing_key": "payment.stripe.charge.failed",
        "properties": { "content_type": "application/json", "message_id": "m-1", "user_id": "shop" },
        "timestamp": 1_800_000_000, "priority": 4,
        "headers": {
            "bytes": { "bytes": "/wA=" }, "ferry-attempt": { "number": 3 }, "ferry-dead-letter": { "text": "{}" },
            "ferry-unknown": { "flag": false }, "list": { "list": [{ "table": { "flag": { "flag": true } } }, "nothing"] },
            "sent": { "time": 7 }, "share": { "fraction": 0.5 },
        },
        "body": { "text": "{\"id\":1}" },
    });
    assert_eq!(body, expected);
}

#[test]
fn a_body_that_is_too_large_is_cut_and_says_how_large_it_was() {
    let large = OutgoingMessage { body: vec![b'x'; 5_000], ..message("ferry.dead", "stripe") };
    let cut = refused(&large).truncate_body(&large);
    assert_eq!(cut.body, RefusedBody::Excerpt { text: "x".repeat(EXCERPT), bytes: 5_000 });
    assert_eq!(cut.body(), vec![b'x'; EXCERPT]);
}

#[test]
fn a_refused_message_lies_with_the_dead_letters_of_its_provider() {
    for (exchange, routing_key, word) in [
        ("ferry.retry", "5s.stripe", "stripe"),
        ("ferry.redeliver", "back.stripe", "stripe"),
        ("ferry.dead", "stripe", "stripe"),
        ("ferry.events", "payment.stripe.charge.failed", "stripe"),
        ("ferry.commands", "payment.stripe.charge", "stripe"),
        ("ferry.webhooks", "stripe.default", "stripe"),
        ("ferry.webhooks.dead", "stripe.default", "default"),
        ("", "ferry.ledger", "unknown"),
    ] {
        assert_eq!(
            refused(&message(exchange, routing_key)).provider_word(),
            word,
            "{exchange} {routing_key}"
        );
    }
}

#[test]
fn an_event_without_what_is_beside_it_is_the_same_event() {
    let event = |properties: BasicProperties| OutgoingMessage {
        properties,
        ..message("ferry.events", "a.b.c.failed")
    };
    let kind =
        || BasicProperties::default().with_delivery_mode(2).with_content_type(CONTENT_TYPE.into());
    let bare = event(kind());
    assert_eq!(bare_event(&event(kind().with_message_id("1".into()))), Some(bare.clone()));
    assert_eq!(bare_event(&bare), None);
    assert_eq!(bare_event(&message("ferry.retry", "5s.stripe")), None);
    let odd = AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 150 });
    assert_eq!(RefusedHeader::from(&odd), RefusedHeader::Fraction(1.5));
    let bytes = AMQPValue::ByteArray(ByteArray::from(vec![0xff]));
    assert_eq!(RefusedHeader::from(&bytes), RefusedHeader::Bytes("/w==".to_owned()));
}
