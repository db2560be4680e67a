//! Tests providers that answer by messages in a queue of their own broker.

use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::commands::MessagingRig;
use crate::harness::broker::{TestBroker, persistent};
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait::eventually;
use crate::rig::{SOON, word};
use crate::signed_webhooks::call_at;

/// The queue of the provider's answers.
const ANSWERS: &str = "shop.answers";

/// Answers name their command by the property `correlation_id`, or in the body.
const INBOUND: &str = r#"
[inbound]
queue = "shop.answers"
trusted = true
event = "{{ headers.type | default('answer') }}"

[[inbound.on]]
when = "body.status == 'shipped'"
as = "completed"
result = { tracking = "{{ body.tracking }}" }

[[inbound.on]]
when = "body.status == 'refused'"
as = "declined"
code = "{{ body.reason }}"
"#;

/// A rig whose provider answers by messages; `inbound` is the table that says so.
async fn answering(inbound: &str) -> MessagingRig {
    let MessagingRig { rig, receiver, way, vhost } = MessagingRig::new().await;
    declare_answers(&receiver).await;
    let table = format!("{inbound}\n[operations.ship]");
    MessagingRig {
        rig: rig.changed("warehouse", "[operations.ship]", &table),
        receiver,
        way,
        vhost,
    }
}

async fn declare_answers(broker: &TestBroker) {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let channel = broker.channel().await;
    channel.queue_declare(ANSWERS.into(), options, FieldTable::default()).await.unwrap();
}

fn order(id: &str) -> Value {
    json!({"id": id, "type": "shipping", "provider": "warehouse", "operation": "order", "payload": {}})
}

fn shipped(tracking: &str) -> Value {
    json!({"status": "shipped", "tracking": tracking})
}

impl MessagingRig {
    /// Publishes a command and waits until it waits for the provider.
    async fn accept(&self, id: &str) {
        self.rig.publish(&order(id)).await;
        self.rig.events.state(id, "waiting", SOON).await;
    }

    /// Writes an answer to the message of a command.
    async fn answer(&self, message_id: &str, command: &str, body: &Value) {
        let properties = persistent()
            .with_message_id(message_id.into())
            .with_correlation_id(command.into())
            .with_content_type("application/json".into());
        self.write(properties, body.to_string().as_bytes()).await;
    }

    async fn write(&self, properties: BasicProperties, body: &[u8]) {
        self.receiver.publish("", ANSWERS, body, properties).await;
    }

    /// Waits until no answer is left in the provider's queue, neither ready nor unacked.
    async fn await_taken(&self) {
        eventually(SOON, "all answers are acked", async || {
            let ready = self.receiver.depth(ANSWERS).await?;
            (ready == 0 && self.vhost.unacked(ANSWERS).await == 0).then_some(())
        })
        .await;
    }

    /// Waits until ferryd consumes the queue of answers.
    async fn await_consumer(&self) {
        eventually(SOON, "the answers are consumed", async || {
            (self.receiver.consumers(ANSWERS).await == 1).then_some(())
        })
        .await;
    }

    /// Returns the events of a command that end it.
    async fn ends(&self, id: &str) -> Vec<Value> {
        self.rig.events.catch_up().await;
        let mut events = self.rig.events.of(id);
        events.retain(|event| ["completed", "failed"].contains(&word(event, "data.state")));
        events
    }

    /// Returns the ids of the events about notices.
    async fn notices(&self) -> Vec<String> {
        self.rig.events.catch_up().await;
        let mut events = self.rig.events.all();
        events.retain(|event| event["type"] == "ferry.webhook.received");
        events.iter().map(|event| word(event, "id").to_owned()).collect()
    }
}

#[tokio::test]
async fn an_accepted_command_is_completed_by_an_answer_in_one_event() {
    let messaging = answering(INBOUND).await;
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    assert_eq!(event["data"]["result"], json!({"tracking": "T-1"}));
    messaging.await_taken().await;
    assert_eq!(messaging.ends("o1").await.len(), 1);
    assert_eq!(messaging.notices().await, ["webhook/warehouse/default/m1-0"]);
    messaging.rig.end(&daemon).await;
}

#[tokio::test]
async fn an_answer_may_name_the_command_in_its_body_and_declines_it() {
    let by_body = INBOUND.replace("event =", "command = \"{{ body.command }}\"\nevent =");
    let messaging = answering(&by_body).await;
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    let body = json!({"status": "refused", "reason": "sold_out", "command": "o1"});
    messaging.write(persistent(), body.to_string().as_bytes()).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "failed", "{event:#}");
    assert_eq!(word(&event, "data.error.kind"), "declined", "{event:#}");
    assert_eq!(word(&event, "data.error.code"), "sold_out", "{event:#}");
    messaging.await_taken().await;
    assert_eq!(messaging.ends("o1").await.len(), 1);
    messaging.rig.end(&daemon).await;
}

/// Copies of an answer, and of the event about it, have the same id.
#[tokio::test]
async fn the_same_answer_twice_changes_nothing_twice() {
    let messaging = answering(INBOUND).await;
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    messaging.rig.terminal("o1").await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    messaging.accept("o2").await;
    messaging.answer("m2", "o2", &shipped("T-2")).await;
    messaging.rig.terminal("o2").await;
    messaging.await_taken().await;
    messaging.rig.broker.await_depth("ferry.webhooks.warehouse", 0).await;
    messaging.rig.end(&daemon).await;
    let ends = messaging.ends("o1").await;
    assert!(ends.iter().all(|event| event["id"] == ends[0]["id"]), "{ends:#?}");
    let mut notices = messaging.notices().await;
    notices.sort_unstable();
    notices.dedup();
    assert_eq!(notices, ["webhook/warehouse/default/m1-0", "webhook/warehouse/default/m2-0"]);
    assert_eq!(messaging.rig.broker.depth("ferry.dead.warehouse").await, Some(0));
}

/// An answer that names a command is about no other one, though both have a reference in common.
#[tokio::test]
async fn an_answer_is_matched_by_its_reference_only_where_it_names_no_command() {
    let keys = "command = \"{{ body.command }}\"\nreference = \"{{ body.order }}\"\nevent =";
    let mut messaging = answering(&INBOUND.replace("event =", keys)).await;
    let reference = "response = { reference = \"order-{{ command.id }}\", accepted";
    messaging.rig = messaging.rig.changed("warehouse", "response = { accepted", reference);
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    let refused = json!({"status": "refused", "command": "o9", "order": "order-o1"});
    messaging.answer("m1", "o9", &refused).await;
    let received = |event: &Value| event["type"] == "ferry.webhook.received";
    let event = messaging.rig.events.first(SOON, received).await;
    assert_eq!(event["subject"], Value::Null, "{event:#}");
    assert_eq!(messaging.ends("o1").await, Vec::<Value>::new());
    let body = json!({"status": "shipped", "tracking": "T-1", "order": "order-o1"});
    messaging.answer("m2", "other", &body).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

/// An answer to the message of an earlier generation decides nothing about the replay.
#[tokio::test]
async fn an_answer_to_another_message_of_the_command_decides_nothing() {
    let messaging = answering(INBOUND).await;
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    messaging.answer("m1", "o1~1", &json!({"status": "refused", "reason": "late"})).await;
    daemon
        .wait_for_log(SOON, |line| {
            line["message"].as_str().unwrap_or_default().contains("an earlier call of its command")
        })
        .await;
    assert_eq!(messaging.ends("o1").await, Vec::<Value>::new());
    messaging.answer("m2", "o1", &shipped("T-1")).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn a_daemon_killed_between_keeping_and_acking_loses_no_answer_and_completes_once() {
    use std::os::unix::process::ExitStatusExt as _;

    let messaging = answering(INBOUND).await;
    messaging.rig.declare().await;
    let killed = messaging.rig.setup.start_armed("kept=kill");
    messaging.accept("o1").await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    assert_eq!(killed.wait(SOON).await.signal(), Some(9), "{}", killed.log_text());
    let daemon = messaging.rig.start().await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.await_taken().await;
    messaging.rig.broker.await_depth("ferry.webhooks.warehouse", 0).await;
    messaging.rig.end(&daemon).await;
    let ends = messaging.ends("o1").await;
    assert!(ends.iter().all(|event| event["id"] == ends[0]["id"]), "{ends:#?}");
    assert_eq!(messaging.rig.broker.depth("ferry.dead.warehouse").await, Some(0));
}

#[tokio::test]
async fn answers_stay_in_their_queue_while_ferryds_own_broker_is_away() {
    let mut messaging = answering(INBOUND).await;
    let way = TcpProxy::to(messaging.rig.vhost.address());
    let uri = messaging.rig.vhost.uri_at(way.address());
    messaging.rig = messaging.rig.env("FERRYD_AMQP__URI", &uri);
    let daemon = messaging.rig.start().await;
    let ids: Vec<String> = (0..40).map(|number| format!("o{number}")).collect();
    for id in &ids {
        messaging.accept(id).await;
    }
    way.refuse().await;
    for id in &ids {
        messaging.answer(&format!("m-{id}"), id, &shipped(id)).await;
    }
    eventually(SOON, "ferryd holds answers", async || {
        (messaging.vhost.unacked(ANSWERS).await > 0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = messaging.receiver.depth(ANSWERS).await.unwrap();
    assert_eq!(left + messaging.vhost.unacked(ANSWERS).await, 40, "nothing is acked");
    way.resume();
    for id in &ids {
        let event = messaging.rig.terminal(id).await;
        assert_eq!(event["data"]["result"], json!({"tracking": id}));
    }
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

#[tokio::test]
async fn answers_are_consumed_again_after_the_providers_broker_was_away() {
    let messaging = answering(INBOUND).await;
    let daemon = messaging.rig.start().await;
    messaging.await_consumer().await;
    messaging.accept("o1").await;
    messaging.way.refuse().await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    let warned = |line: &Value| {
        line["message"].as_str().unwrap_or_default().starts_with("the provider's answers cannot")
    };
    daemon.wait_for_log(SOON, warned).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(daemon.logs(warned).len(), 1, "one line for each outage");
    assert_eq!(messaging.ends("o1").await, Vec::<Value>::new());
    messaging.way.resume();
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.accept("o2").await;
    messaging.way.cut().await;
    messaging.answer("m2", "o2", &shipped("T-2")).await;
    let event = messaging.rig.terminal("o2").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

#[tokio::test]
async fn a_missing_queue_is_waited_for_and_stops_no_command() {
    let messaging = answering(INBOUND).await;
    messaging.receiver.delete_queue(ANSWERS).await;
    let daemon = messaging.rig.start().await;
    let missing = |line: &Value| line["code"] == "no_queue" && line["level"] == "WARN";
    daemon.wait_for_log(SOON, missing).await;
    messaging.accept("o1").await;
    declare_answers(&messaging.receiver).await;
    messaging.answer("m1", "o1", &shipped("T-1")).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.receiver.delete_queue(ANSWERS).await;
    daemon.wait_for_log(SOON, |line: &Value| line["code"] == "consumer_cancelled").await;
    messaging.rig.end(&daemon).await;
}

#[tokio::test]
async fn an_unreadable_answer_is_kept_and_does_not_loop() {
    let each = INBOUND.replace("event =", "each = \"{{ body.items }}\"\nevent =");
    let messaging = answering(&each).await;
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    messaging.write(persistent().with_message_id("m1".into()), b"no JSON").await;
    messaging.rig.broker.await_depth("ferry.webhooks.dead", 1).await;
    messaging.answer("m2", "o1", &json!({"items": [shipped("T-1")]})).await;
    messaging.rig.terminal("o1").await;
    messaging.await_taken().await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    let dead = messaging.rig.broker.peek("ferry.webhooks.dead").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].body, b"no JSON");
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_rejected_and_blocks_no_other() {
    let mut messaging = answering(INBOUND).await;
    messaging.rig = messaging
        .rig
        .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com")
        .env("FERRYD_WEBHOOKS__MAX_BODY_SIZE", "1KiB");
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    let large = json!({"status": "refused", "reason": "x".repeat(2_000)});
    messaging.answer("m1", "o1", &large).await;
    messaging.answer("m2", "o1", &shipped("T-1")).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    let logged = |line: &Value| line["level"] == "ERROR" && line["message.id"] == "m1";
    daemon.wait_for_log(SOON, logged).await;
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

/// A call to the endpoint is read by `[webhook]`, whatever it says: what the queue is trusted with
/// proves nothing about a caller.
#[tokio::test]
async fn a_caller_of_the_endpoint_is_not_trusted_like_the_queue() {
    let by_body = INBOUND.replace("event =", "command = \"{{ body.command }}\"\nevent =");
    let webhook = by_body.replace("inbound", "webhook");
    let webhook = webhook.replace("queue = \"shop.answers\"\ntrusted = true", "verify = \"none\"");
    let mut messaging = answering(&(by_body + &webhook)).await;
    messaging.rig = messaging
        .rig
        .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com");
    let daemon = messaging.rig.start().await;
    messaging.accept("o1").await;
    let refused =
        json!({"status": "refused", "reason": "forged", "command": "o1", "order": "order-7"});
    assert_eq!(call_at(&daemon, "warehouse", "any", &refused).await, Some(200));
    let received = |event: &Value| event["type"] == "ferry.webhook.received";
    let event = messaging.rig.events.first(SOON, received).await;
    assert_eq!(event["data"]["verified"], false, "{event:#}");
    messaging.rig.broker.await_depth("ferry.webhooks.warehouse", 0).await;
    assert_eq!(messaging.ends("o1").await, Vec::<Value>::new());
    let body = json!({"status": "shipped", "tracking": "T-1", "command": "o1"});
    messaging.answer("m1", "other", &body).await;
    let event = messaging.rig.terminal("o1").await;
    assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
    messaging.await_taken().await;
    messaging.rig.end(&daemon).await;
}

/// Without `[webhook]` there is no endpoint to call.
#[tokio::test]
async fn a_provider_that_answers_by_messages_alone_has_no_endpoint() {
    let mut messaging = answering(INBOUND).await;
    messaging.rig = messaging
        .rig
        .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com");
    let daemon = messaging.rig.start().await;
    assert_eq!(call_at(&daemon, "warehouse", "any", &shipped("T-1")).await, Some(404));
    messaging.rig.finish(&daemon).await;
}

#[tokio::test]
async fn check_refuses_a_queue_that_nobody_calls_trusted() {
    let messaging = answering(&INBOUND.replace("trusted = true\n", "")).await;
    let mut check = messaging.rig.setup.command(&["check"]);
    let output = tokio::task::spawn_blocking(move || check.output()).await.unwrap().unwrap();
    assert!(!output.status.success());
    let shown = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        shown.contains("inbound.trusted") && shown.contains("write `trusted = true`"),
        "{shown}"
    );
}
