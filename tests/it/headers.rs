//! Tests that headers and properties which publishers and brokers add to a command do not change
//! its way.

use ferryd_broker::header_frame::header_frame_size;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use serde_json::json;

use crate::harness::broker::{TestBroker, persistent};
use crate::harness::daemon::RunningDaemon;
use crate::rig::{TestRig, charge, dead, send, word};

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

/// Builds the header that a broker writes on a message that it has dead-lettered from a rung, again
/// and again.
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
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let uri = rig.vhost.user("shop").await;
    let shop = TestBroker::connect(&uri).await;
    let user = uri.strip_prefix("amqp://").unwrap().split(':').next().unwrap();
    let cases = [
        ("expiring", persistent().with_expiration("60000".into())),
        ("of-a-user", persistent().with_user_id(user.into())),
        ("with-copies", with_headers(&[("CC", list(&["5s.acme"])), ("BCC", list(&["2s.acme"]))])),
        (
            "dead-before",
            with_headers(&[("x-death", deaths()), ("x-first-death-reason", text("expired"))]),
        ),
        ("counted", with_headers(&[("x-delivery-count", AMQPValue::LongLongInt(49))])),
        ("large", with_headers(&[("shop-header", text(&"x".repeat(100_000)))])),
    ];
    for (id, properties) in &cases {
        let body = charge(id, json!({"status": 429, "fail_times": 2})).to_string();
        shop.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), properties.clone())
            .await;
    }
    for (id, _) in &cases {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.state"), &event["data"]["attempt"]),
            ("completed", &json!(3)),
            "{event:#}"
        );
    }
    // Copies on other rungs would still be there.
    rig.finish(&daemon).await;
    for (id, _) in &cases {
        assert_eq!(rig.calls(id).calls, 3, "{id}");
    }
}

#[tokio::test]
async fn a_publisher_cannot_say_how_far_its_command_has_come() {
    let rig = TestRig::new("").await;
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
async fn a_command_that_expired_in_its_queue_ends_with_an_event_and_is_kept() {
    let rig = TestRig::new("").await;
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
    // The broker does not say whether a process had taken the message up before.
    assert_eq!(letter["unknown"], true, "{letter:#}");
    assert_eq!(rig.calls("stale").calls, 0);
    rig.finish(&daemon).await;
}

/// Returns true where the daemon has had exactly one session with the broker.
fn has_kept_its_session(daemon: &RunningDaemon) {
    assert_eq!(daemon.logs(|line| line["message"] == "connected").len(), 1);
}

#[tokio::test]
async fn a_trace_context_larger_than_the_standard_has_it_is_left_out_and_stops_nothing() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (id, parent, bytes, kept) in [
        ("standard", parent, 512, true),
        ("large", parent, 513, false),
        ("huge", parent, 130_000, false),
    ] {
        let headers = [("traceparent", text(parent)), ("tracestate", text(&"x".repeat(bytes)))];
        let body = charge(id, json!({"status": 429, "fail_times": 1})).to_string();
        rig.broker
            .publish(
                "ferry.commands",
                "payment.acme.charge",
                body.as_bytes(),
                with_headers(&headers),
            )
            .await;
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.state"), &event["data"]["attempt"]),
            ("completed", &json!(2)),
            "{event:#}"
        );
        assert_eq!(
            (word(&event, "traceparent"), event["tracestate"].is_string()),
            (parent, kept),
            "{id}"
        );
    }
    has_kept_its_session(&daemon);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_webhook_call_that_names_its_user_is_dead_lettered_without_him() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let uri = rig.vhost.user("shop").await;
    let shop = TestBroker::connect(&uri).await;
    let user = uri.strip_prefix("amqp://").unwrap().split(':').next().unwrap();
    let properties = persistent().with_type("ferry.webhook".into()).with_user_id(user.into());
    shop.publish(
        "ferry.redeliver",
        "back.removed.default",
        b"{}",
        properties.with_expiration("600000".into()),
    )
    .await;
    rig.broker.await_depth("ferry.webhooks.dead", 1).await;
    let dead_lettered = rig.broker.peek("ferry.webhooks.dead").await.remove(0).properties;
    assert_eq!((dead_lettered.user_id(), dead_lettered.expiration()), (&None, &None));
    has_kept_its_session(&daemon);
    rig.finish(&daemon).await;
}

/// Builds properties with which the payload of the header frame has so many bytes.
fn with_header_frame_of(payload: usize, properties: &BasicProperties) -> BasicProperties {
    let filled = |bytes| {
        let mut table = FieldTable::default();
        table.insert("shop-header".into(), text(&"x".repeat(bytes)));
        properties.clone().with_headers(table)
    };
    let rest = header_frame_size(&filled(0)) - 8;
    filled(payload - rest)
}

#[tokio::test]
async fn a_header_frame_that_the_broker_takes_and_lapin_does_not_harms_neither_its_command_nor_its_neighbours()
 {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let ids: Vec<_> = (0..12).map(|number| format!("n-{number}")).collect();
    for (id, payload) in ids
        .iter()
        .zip([0, 131_064, 0, 131_065, 0, 131_072, 0].into_iter().chain([0].into_iter().cycle()))
    {
        let properties =
            if payload > 0 { with_header_frame_of(payload, &persistent()) } else { persistent() };
        let body = charge(id, json!({"status": 429, "fail_times": 1})).to_string();
        rig.broker
            .publish("ferry.commands", "payment.acme.charge", body.as_bytes(), properties)
            .await;
    }
    let daemon = rig.start().await;
    for id in &ids {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.state"), &event["data"]["attempt"]),
            ("completed", &json!(2)),
            "{event:#}"
        );
        assert_eq!(rig.calls(id).calls, 2, "{id}");
    }
    has_kept_its_session(&daemon);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_header_frame_to_which_the_broker_has_added_a_death_is_read_by_daemon_and_operator() {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let body = send("stale", json!({})).to_string();
    let properties = with_header_frame_of(131_072, &persistent().with_expiration("100".into()));
    rig.broker
        .publish("ferry.commands", "payment.acme.send", body.as_bytes(), properties.clone())
        .await;
    rig.broker.await_depth("ferry.poison", 1).await;
    // As if ferryd had never handled the message.
    rig.broker
        .publish("ferry.dead", "acme", b"{}", with_header_frame_of(131_072, &persistent()))
        .await;
    let daemon = rig.start().await;
    let event = rig.terminal("stale").await;
    assert_eq!(word(&event, "data.error.code"), "expiration", "{event:#}");
    has_kept_its_session(&daemon);
    let mut list = rig.setup.command(&["dead-letters", "list", "--queues", "--json"]);
    let listed = tokio::task::spawn_blocking(move || list.output()).await.unwrap().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed:#}");
    rig.finish(&daemon).await;
}
