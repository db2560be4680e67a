//! What publishers and brokers put beside a command must not change its way.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use serde_json::json;

use crate::harness::broker::{Broker, persistent};
use crate::rig::{Rig, charge, dead, send, word};

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn list(items: &[&str]) -> AMQPValue {
    let mut list = FieldArray::default();
    for item in items {
        list.push(text(item));
    }
    AMQPValue::FieldArray(list)
}

/// What a broker would write on a message that it has dead-lettered from a rung, again and again.
fn deaths() -> AMQPValue {
    let mut death = FieldTable::default();
    let fields = [("queue", "ferry.retry.1s"), ("reason", "expired"), ("exchange", "ferry.retry")];
    for (name, value) in fields {
        death.insert(name.into(), text(value));
    }
    death.insert("count".into(), AMQPValue::LongLongInt(1_000));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(death));
    AMQPValue::FieldArray(deaths)
}

fn with_headers(headers: &[(&str, AMQPValue)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), value.clone());
    }
    persistent().with_headers(table)
}

#[tokio::test]
async fn nothing_beside_a_command_misroutes_expires_or_refuses_its_retry() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let uri = rig.vhost.user("shop").await;
    let shop = Broker::connect(&uri).await;
    let user = uri.strip_prefix("amqp://").unwrap().split(':').next().unwrap();
    let cases = [
        ("expiring", persistent().with_expiration("60000".into())),
        ("of-a-user", persistent().with_user_id(user.into())),
        ("with-copies", with_headers(&[("CC", list(&["5s.acme"])), ("BCC", list(&["2s.acme"]))])),
        ("dead-before", with_headers(&[("x-death", deaths()), ("x-first-death-reason", text("expired"))])),
        ("counted", with_headers(&[("x-delivery-count", AMQPValue::LongLongInt(49))])),
        ("large", with_headers(&[("shop-header", text(&"x".repeat(100_000)))])),
    ];
    for (id, properties) in &cases {
        let body = charge(id, json!({"status": 429, "fail_times": 2})).to_string();
        shop.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), properties.clone()).await;
    }
    for (id, _) in &cases {
        let event = rig.terminal(id).await;
        assert_eq!((word(&event, "data.state"), &event["data"]["attempt"]), ("completed", &json!(3)), "{event:#}");
    }
    // Copies on other rungs would still be there.
    rig.finish(&daemon).await;
    for (id, _) in &cases {
        assert_eq!(rig.calls(id).calls, 3, "{id}");
    }
}

#[tokio::test]
async fn a_publisher_cannot_say_how_far_its_command_has_come() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let number = |number| AMQPValue::LongLongInt(number);
    let forged = with_headers(&[
        ("ferry-kind", text("retry")),
        ("ferry-generation", number(7)),
        ("ferry-attempt", number(3)),
        ("ferry-hop", number(9)),
        ("ferry-unknown", AMQPValue::Boolean(true)),
        ("ferry-since", text("2020-01-01T00:00:00Z")),
        ("ferry-key", text("another-command")),
        ("ferry-history", text("[]")),
    ]);
    let body = charge("forged", json!({"status": 400})).to_string();
    rig.broker.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), forged).await;
    let event = rig.terminal("forged").await;
    assert_eq!(event["id"], "forged/0/1/failed");
    let letter = dead(&rig.dead_letters("acme", 1).await[0]);
    assert_eq!((word(&letter, "key"), word(&letter, "kind")), ("forged", "rejected"));
    assert!(!rig.sandbox.calls().keys.contains_key("another-command"));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_that_expired_in_its_queue_is_told_of_and_kept() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    rig.finish(&daemon).await;
    let body = send("stale", json!({})).to_string();
    let properties = persistent().with_expiration("100".into());
    rig.broker.publish("ferry.commands", "payment.acme.send", body.as_bytes(), properties).await;
    rig.broker.await_depth("ferry.poison", 1).await;
    let daemon = rig.start().await;
    let event = rig.terminal("stale").await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("unresolved", "expiration"),
        "{event:#}"
    );
    let letter = dead(&rig.dead_letters("acme", 1).await[0]);
    // The broker does not say whether anybody had taken it up before.
    assert_eq!(letter["unknown"], true, "{letter:#}");
    assert_eq!(rig.calls("stale").calls, 0);
    rig.finish(&daemon).await;
}
