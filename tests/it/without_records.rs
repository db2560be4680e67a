//! Tests messages that a ferryd without a ledger sent on, or that an operator replayed beside one.
//! They have no records, so the outcome of their calls is unknown, and they are never treated as
//! new.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use serde_json::{Value, json};

use crate::harness::broker::persistent;
use crate::rig::{SOON, TestRig, charge, send, word};

/// Builds the properties of a message at this step, as a ferryd without a ledger sent it on.
fn unrecorded(kind: &str, id: &str, (generation, attempt): (i64, i64)) -> BasicProperties {
    let mut table = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(LongString::from(text));
    for (name, value) in [
        ("ferry-kind", text(kind)),
        ("ferry-generation", AMQPValue::LongLongInt(generation)),
        ("ferry-attempt", AMQPValue::LongLongInt(attempt)),
        ("ferry-hop", AMQPValue::LongLongInt(1)),
        ("ferry-unknown", AMQPValue::Boolean(false)),
        ("ferry-recorded", AMQPValue::Boolean(false)),
        ("ferry-since", text(&jiff::Timestamp::now().to_string())),
        ("ferry-key", text(id)),
        ("ferry-history", text("[]")),
    ] {
        table.insert(name.into(), value);
    }
    persistent().with_headers(table)
}

async fn send_on(rig: &TestRig, kind: &str, command: &Value, step: (i64, i64)) {
    let properties = unrecorded(kind, word(command, "id"), step);
    rig.broker
        .publish(
            "ferry.redeliver",
            &format!("{kind}.acme"),
            command.to_string().as_bytes(),
            properties,
        )
        .await;
}

#[tokio::test]
async fn a_retry_that_is_on_no_record_is_made_under_its_key_and_without_a_key_not_at_all() {
    let rig = TestRig::new("").await;
    rig.declare().await;
    send_on(&rig, "retry", &charge("keyed", json!({})), (0, 2)).await;
    send_on(&rig, "retry", &send("keyless", json!({})), (0, 2)).await;
    // Sent on before any call was begun.
    send_on(&rig, "park", &send("unbegun", json!({})), (0, 1)).await;
    let daemon = rig.start().await;
    for (id, state, kind, calls) in [
        ("keyed", "completed", "", 1),
        ("keyless", "failed", "unresolved", 0),
        ("unbegun", "completed", "", 1),
    ] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.state"), word(&event, "data.error.kind")),
            (state, kind),
            "{event:#}"
        );
        assert_eq!(rig.calls(id).calls, calls, "{id}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_replay_that_is_on_no_record_is_unknown_although_its_dead_letter_is_known() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let command = send("dead", json!({"status": 400}));
    assert_eq!(word(&rig.carry(&command).await, "data.error.kind"), "rejected");
    rig.dead_letters("acme", 1).await;
    rig.broker.purge("ferry.dead.acme").await;
    send_on(&rig, "replay", &command, (1, 1)).await;
    let is_second = |event: &Value| {
        word(event, "data.command.id") == "dead" && event["data"]["generation"] == 1
    };
    let event = rig.events.first(SOON, is_second).await;
    assert_eq!(
        (word(&event, "data.state"), word(&event, "data.error.kind")),
        ("failed", "unresolved"),
        "{event:#}"
    );
    assert_eq!(rig.calls("dead").calls, 1);
    assert_eq!(rig.dead_letters("acme", 1).await.len(), 1);
    rig.finish(&daemon).await;
}
