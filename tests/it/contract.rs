//! Tests the contract with a core application: the messages that its subscribers and its `reply_to`
//! receive.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::broker::{QueuedMessage, persistent};
use crate::rig::{SOON, TestRig, and, charge, redact, send, word};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const EVERY_STATE: &str = r#"
[events]
states = ["pending", "processing", "waiting", "completed", "failed"]
[[events.subscribers]]
queue = "shop.events"
bindings = ["payment.#"]
[[events.subscribers]]
queue = "shop.failures"
bindings = ["*.*.*.failed"]
"#;

fn traced() -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString(TRACEPARENT.into()));
    headers.insert("tracestate".into(), AMQPValue::LongString("shop=1".into()));
    headers.insert("shop-header".into(), AMQPValue::LongString("not for events".into()));
    persistent().with_headers(headers).with_correlation_id("order-7".into())
}

/// Returns a message as a subscriber receives it.
fn whole(message: &QueuedMessage) -> Value {
    let properties = &message.properties;
    let headers = properties.headers().as_ref();
    let text = |name: &str| ferryd_broker::message::get_text(headers, name);
    let body = message.json();
    let mut times = vec!["/time", "/data/occurred_at"];
    times.extend(body.pointer("/data/next_attempt_at").map(|_| "/data/next_attempt_at"));
    json!({
        "exchange": message.exchange,
        "routing_key": message.routing_key,
        "content_type": properties.content_type().as_ref().map(ShortString::as_str),
        "delivery_mode": properties.delivery_mode(),
        "message_id": properties.message_id().as_ref().map(ShortString::as_str),
        "type": properties.kind().as_ref().map(ShortString::as_str),
        "headers": headers.map_or(0, |headers| headers.inner().len()),
        "traceparent": text("traceparent"),
        "tracestate": text("tracestate"),
        "body": redact(body, &times),
    })
}

#[tokio::test]
async fn subscribers_get_every_configured_state_whole_and_in_order_through_a_retry() {
    let rig = TestRig::new(EVERY_STATE).await;
    let daemon = rig.start().await;
    assert_eq!(rig.broker.depth("shop.events").await, Some(0), "declared before the first event");
    let command = and(
        charge("traced", json!({"status": 429, "fail_times": 1})),
        json!({"metadata": {"tenant": "eu"}}),
    );
    let body = command.to_string();
    rig.broker.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), traced()).await;
    rig.terminal("traced").await;
    rig.broker.await_depth("shop.events", 4).await;
    let events: Vec<Value> = rig.broker.peek("shop.events").await.iter().map(whole).collect();
    insta::assert_json_snapshot!(events);
    let sequences: Vec<_> =
        events.iter().map(|event| event["body"]["data"]["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|one, next| one < next), "{sequences:?}");
    let ids: HashSet<_> = events.iter().map(|event| word(event, "body.id")).collect();
    assert_eq!(ids.len(), events.len());
    assert_eq!(rig.broker.depth("shop.failures").await, Some(0));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_reply_queue_gets_the_ending_with_the_correlation_id() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let queue = "shop.replies";
    let channel = rig.broker.channel().await;
    channel
        .queue_declare(queue.into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    let cases = [
        (charge("done", json!({"status": 429, "fail_times": 1})), "completed"),
        (charge("declined", json!({"decline": true})), "failed"),
        (and(send("wrong", json!({})), json!({"account": "nobody"})), "failed"),
    ];
    for (number, (command, state)) in (1..).zip(cases) {
        let id = word(&command, "id");
        let asking = persistent()
            .with_reply_to(queue.into())
            .with_correlation_id(format!("call-{id}").into());
        let key = format!("payment.acme.{}", word(&command, "operation"));
        rig.broker.publish("ferry.commands", &key, command.to_string().as_bytes(), asking).await;
        let event = rig.terminal(id).await;
        rig.broker.await_depth(queue, number).await;
        let reply = rig.broker.peek(queue).await.pop().unwrap();
        assert_eq!(reply.json(), event);
        assert_eq!(word(&event, "data.state"), state);
        assert_eq!(
            reply.properties.correlation_id().as_ref().unwrap().as_str(),
            format!("call-{id}")
        );
        assert_eq!(
            reply.properties.content_type().as_ref().unwrap().as_str(),
            "application/cloudevents+json"
        );
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_direct_reply_comes_back_on_the_channel_of_the_request() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let channel = rig.broker.channel().await;
    let pseudo = "amq.rabbitmq.reply-to";
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies = channel
        .basic_consume(pseudo.into(), "".into(), no_ack, FieldTable::default())
        .await
        .unwrap();
    let asking = persistent().with_reply_to(pseudo.into()).with_correlation_id("call-1".into());
    let command = charge("direct", json!({"status": 429, "fail_times": 1})).to_string();
    let (exchange, key) = ("ferry.commands".into(), "payment.acme.charge".into());
    channel
        .basic_publish(exchange, key, BasicPublishOptions::default(), command.as_bytes(), asking)
        .await
        .unwrap();
    let reply = timeout(SOON, replies.next()).await.unwrap().unwrap().unwrap();
    let event: Value = serde_json::from_slice(&reply.data).unwrap();
    assert_eq!((word(&event, "subject"), word(&event, "data.state")), ("direct", "completed"));
    assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "call-1");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_reply_that_must_not_or_cannot_be_sent_holds_nothing_up() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    for (id, queue) in [("own", "ferry.dead.acme"), ("missing", "no.such.queue"), ("empty", "")] {
        let body = charge(id, json!({})).to_string();
        let asking = persistent().with_reply_to(queue.into());
        rig.broker.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), asking).await;
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
    }
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn a_command_for_any_provider_goes_where_its_type_is_routed() {
    let rig = TestRig::new("[routes]\npayment = \"acme\"").await;
    let daemon = rig.start().await;
    let mut command = charge("any", json!({"status": 429, "fail_times": 1}));
    for (id, provider) in [("absent", Value::Null), ("named", json!("any"))] {
        command["id"] = json!(id);
        command["provider"] = provider;
        let event = rig.carry(&command).await;
        assert_eq!(
            (word(&event, "data.state"), word(&event, "data.command.provider")),
            ("completed", "acme")
        );
        assert_eq!(event["source"], "/ferryd/acme");
        assert_eq!(rig.calls(id).calls, 2);
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_published_while_ferryd_is_down_is_carried_out_when_it_comes_up() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.finish(&daemon).await;
    rig.publish(&charge("patient", json!({}))).await;
    rig.broker.await_depth("ferry.commands.acme", 1).await;
    let daemon = rig.start().await;
    let event = rig.events.terminal("patient", Duration::from_secs(30)).await;
    assert_eq!(event["data"]["state"], "completed");
    rig.finish(&daemon).await;
}
