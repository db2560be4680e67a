//! Tests every way in which a message is no valid command: each ends as one event and one dead
//! letter, and no provider is called.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, persistent};
use crate::rig::{SOON, TestRig, and, charge, dead, word};

const KEY: &str = "payment.acme.charge";

/// A message, and the code under which it is refused.
struct InvalidCase {
    code: &'static str,
    key: &'static str,
    body: Vec<u8>,
    message_id: Option<&'static str>,
}

fn case(code: &'static str, key: &'static str, body: impl Into<Vec<u8>>) -> InvalidCase {
    InvalidCase { code, key, body: body.into(), message_id: None }
}

/// Builds a valid command but for these fields, under an id of its own: the same id with other
/// content would be a conflict.
fn but(fields: Value) -> String {
    and(charge(&uuid::Uuid::new_v4().to_string(), json!({})), fields).to_string()
}

fn cases() -> Vec<InvalidCase> {
    let mut nameless = charge("", json!({}));
    nameless.as_object_mut().unwrap().remove("id");
    let nameless = nameless.to_string();
    vec![
        case("not_json", KEY, "{"),
        case("not_json", KEY, ""),
        case("not_json", KEY, b"{\"id\":\"\xff\"}".as_slice()),
        case("not_json", KEY, "[".repeat(10_000)),
        case("too_large", KEY, but(json!({"x_padding": "x".repeat(1 << 20)}))),
        case("invalid_field", KEY, "[]"),
        case("invalid_field", KEY, "null"),
        case("invalid_field", KEY, but(json!({"metadata": {"tenant": 1}}))),
        case("invalid_field", KEY, but(json!({"payload": "amount"}))),
        case("invalid_field", KEY, but(json!({"expires_at": "tomorrow"}))),
        case("invalid_field", KEY, but(json!({"id": "no spaces"}))),
        case("invalid_field", KEY, but(json!({"id": "x".repeat(129)}))),
        case("invalid_field", KEY, but(json!({"operation": "Charge"}))),
        case("invalid_field", KEY, but(json!({"prority": 1}))),
        case("missing_id", KEY, nameless.clone()),
        InvalidCase { message_id: Some("no spaces"), ..case("missing_id", KEY, nameless + " ") },
        case("key_mismatch", KEY, but(json!({"operation": "send"}))),
        case("key_mismatch", KEY, but(json!({"provider": "any"}))),
        case("key_mismatch", "payment.acme.charge.eu", but(json!({}))),
        case("key_mismatch", "payment.acme", but(json!({}))),
        case("type_mismatch", "shipping.acme.charge", but(json!({"type": "shipping"}))),
        case("unknown_operation", "payment.acme.refund", but(json!({"operation": "refund"}))),
        case("unknown_account", KEY, but(json!({"account": "eu"}))),
        case("invalid_payload", KEY, but(json!({"payload": {"amount": "much"}}))),
        case("invalid_payload", KEY, but(json!({"payload": []}))),
        case("unknown_provider", "payment.nobody.charge", but(json!({"provider": "nobody"}))),
        // The body names an existing provider, which is not the one that the publisher was allowed
        // to reach.
        case("unknown_provider", "payment.nobody.charge", but(json!({}))),
        case("unknown_provider", "payment", but(json!({}))),
        case("no_route", "payment.any.charge", but(json!({"provider": "any"}))),
    ]
}

fn properties(case: &InvalidCase, reference: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("shop-header".into(), AMQPValue::LongLongInt(7));
    let properties = persistent()
        .with_correlation_id(reference.into())
        .with_content_type("application/json".into())
        .with_app_id("shop".into())
        .with_headers(headers);
    match case.message_id {
        Some(id) => properties.with_message_id(id.into()),
        None => properties,
    }
}

fn assert_kept(letter: &QueuedMessage, case: &InvalidCase, reference: &str) {
    assert!(letter.body == case.body, "{reference}: the body was changed");
    let (kept, sent) = (&letter.properties, properties(case, reference));
    assert_eq!(kept.content_type(), sent.content_type());
    assert_eq!((kept.app_id(), kept.message_id()), (sent.app_id(), sent.message_id()));
    assert_eq!(kept.delivery_mode(), &Some(2));
    assert_eq!(kept.headers().as_ref().unwrap().inner()["shop-header"], AMQPValue::LongLongInt(7));
    let record = dead(letter);
    assert_eq!(
        (word(&record, "kind"), word(&record, "code")),
        ("invalid", case.code),
        "{record:#}"
    );
    assert_eq!(
        (word(&record, "routing_key"), &record["unknown"]),
        (case.key, &json!(false)),
        "{record:#}"
    );
}

#[tokio::test]
async fn an_invalid_message_is_reported_once_kept_whole_and_not_sent() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let cases: Vec<(String, InvalidCase)> =
        cases().into_iter().enumerate().map(|(row, case)| (format!("row-{row}"), case)).collect();
    for (reference, case) in &cases {
        rig.broker
            .publish("ferry.commands", case.key, &case.body, properties(case, reference))
            .await;
    }
    for (reference, case) in &cases {
        let event = rig
            .events
            .first(SOON, |event| word(event, "data.command.reference") == reference)
            .await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            ("invalid", case.code),
            "{event:#}"
        );
        assert_eq!(
            (&event["data"]["final"], &event["data"]["error"]["dead_lettered"]),
            (&json!(false), &json!(true))
        );
        let message = word(&event, "data.error.message");
        assert!(
            !message.is_empty() && !message.contains("``") && !message.contains("struct"),
            "{message}"
        );
    }
    let homeless = cases
        .iter()
        .filter(|(_, case)| matches!(case.code, "unknown_provider" | "no_route"))
        .count();
    let mut letters =
        rig.dead_letters("acme", u32::try_from(cases.len() - homeless).unwrap()).await;
    letters.extend(rig.dead_letters("other", u32::try_from(homeless).unwrap()).await);
    for (reference, case) in &cases {
        let is_its = |letter: &&QueuedMessage| {
            letter.properties.correlation_id().as_ref().unwrap().as_str() == reference
        };
        let its: Vec<_> = letters.iter().filter(is_its).collect();
        assert_eq!(its.len(), 1, "{reference}");
        assert_kept(its[0], case, reference);
    }
    assert_eq!(rig.sandbox.calls().total, 0);
    rig.finish(&daemon).await;
    rig.events.catch_up().await;
    assert_eq!(rig.events.all().len(), cases.len());
}

#[tokio::test]
async fn what_php_and_null_write_is_taken_and_an_id_may_be_the_message_id() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let body = json!({
        "id": null, "type": "payment", "provider": "acme", "operation": "send", "reference": null,
        "payload": [], "metadata": [], "x_shop": {"anything": 1},
    });
    let properties =
        persistent().with_message_id("by-property".into()).with_correlation_id("order-7".into());
    rig.broker
        .publish("ferry.commands", "payment.acme.send", body.to_string().as_bytes(), properties)
        .await;
    let event = rig.terminal("by-property").await;
    assert_eq!(
        (word(&event, "data.state"), word(&event, "data.command.reference")),
        ("completed", "order-7")
    );
    rig.finish(&daemon).await;
}
