//! Tests messages that ferryd had sent on, and that come out of `ferry.poison`, or back without
//! headers that say how far they had come: each ends its command by its state, and none vanishes.

use std::collections::BTreeMap;

use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicRejectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, TestBroker, persistent};
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, charge, command, dead, send, word};
use crate::signed_webhooks::{call, notice_body, signed_rig};

const QUEUE: &str = "ferry.commands.acme";

/// Operations whose call is repeated, polled or looked up, each a while later.
const OPERATIONS: &str = r#"
[operations.again]
request = { method = "POST", path = "/acme/again" }
idempotency = { header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }
retry = { schedule = ["5s"], jitter = false }
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }

[operations.slow]
request = { method = "POST", path = "/acme/slow" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.slow.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "5s"
[operations.slow.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"

[operations.ask]
request = { method = "POST", path = "/acme/ask" }
timeout = "2s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.ask.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "5s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.ask.response]
success = "body.status == 'succeeded'"
"#;

fn acme(operation: &str, id: &str, sandbox: Value) -> Value {
    command("acme", operation, id, sandbox)
}

/// Makes a rig in which these commands were called once, and wait in their queue for more; its
/// daemon has ended.
async fn waiting_rig(commands: &[Value]) -> TestRig {
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: OPERATIONS, ..SandboxFile::default() })],
    )
    .await;
    let daemon = rig.start().await;
    leave_waiting(&rig, &daemon, commands).await;
    rig
}

/// Has these commands called once, and ends the daemon.
async fn leave_waiting(rig: &TestRig, daemon: &RunningDaemon, commands: &[Value]) {
    for command in commands {
        rig.publish(command).await;
    }
    for command in commands {
        let id = word(command, "id");
        eventually(SOON, "it is called", async || (rig.calls(id).calls == 1).then_some(())).await;
    }
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

/// Replays a dead letter, and returns the message of the replay, which nobody else has seen.
pub(crate) async fn replay_unseen(rig: &TestRig, arguments: &[&str]) -> QueuedMessage {
    let (channel, redeliver) = (rig.broker.channel().await, "ferry.redeliver");
    let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default);
    channel.queue_declare("inspected".into(), durable, none()).await.unwrap();
    let (bind, key) = (QueueBindOptions::default(), "*.acme");
    channel
        .queue_bind("inspected".into(), redeliver.into(), key.into(), bind, none())
        .await
        .unwrap();
    channel.queue_unbind(QUEUE.into(), redeliver.into(), key.into(), none()).await.unwrap();
    ferryd(rig, &[&["dead-letters", "replay"], arguments].concat()).await;
    channel.queue_bind(QUEUE.into(), redeliver.into(), key.into(), bind, none()).await.unwrap();
    let message = rig.broker.peek("inspected").await.remove(0);
    rig.broker.delete_queue("inspected").await;
    message
}

/// Runs `ferryd`. Returns its output.
async fn ferryd(rig: &TestRig, arguments: &[&str]) -> String {
    let mut command = rig.setup.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Takes the messages of a queue, each held by the channel.
async fn hold(
    channel: &Channel,
    broker: &TestBroker,
    queue: &str,
    count: u32,
) -> Vec<BasicGetMessage> {
    broker.await_depth(queue, count).await;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap().unwrap(),
        );
    }
    held
}

/// Requeues the messages of a queue until the broker takes them out of it.
pub(crate) async fn poison(broker: &TestBroker, queue: &str, count: u32, to: &str) {
    let channel = broker.channel().await;
    broker.await_depth(queue, count).await;
    eventually(SOON, "they are poison", async || {
        while let Some(got) =
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap()
        {
            got.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        }
        (broker.depth(to).await == Some(count)).then_some(())
    })
    .await;
}

/// Takes the messages of these commands out of the provider's queue.
async fn take_out(
    broker: &TestBroker,
    count: u32,
    ids: &[&str],
) -> BTreeMap<String, QueuedMessage> {
    let channel = broker.channel().await;
    let mut taken = BTreeMap::new();
    for got in hold(&channel, broker, QUEUE, count).await {
        let delivery = got.delivery;
        let body: Value = serde_json::from_slice(&delivery.data).unwrap();
        let id = word(&body, "id").to_owned();
        if !ids.contains(&id.as_str()) {
            delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
            continue;
        }
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
        let (exchange, routing_key) =
            (delivery.exchange.to_string(), delivery.routing_key.to_string());
        taken.insert(
            id,
            QueuedMessage {
                exchange,
                routing_key,
                properties: delivery.properties,
                body: delivery.data,
            },
        );
    }
    taken
}

/// Publishes a message to a return queue of ferryd's own, with headers that do not say how far it
/// has come.
async fn garble(broker: &TestBroker, message: &QueuedMessage, key: &str) {
    let mut headers = message.properties.headers().clone().unwrap();
    headers.insert("ferry-attempt".into(), text("two"));
    broker
        .publish(
            "ferry.redeliver",
            key,
            &message.body,
            message.properties.clone().with_headers(headers),
        )
        .await;
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

#[tokio::test]
async fn a_continuation_that_cannot_be_carried_out_ends_its_command_as_unresolved() {
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: OPERATIONS, ..SandboxFile::default() })],
    )
    .await;
    let daemon = rig.start().await;
    rig.carry(&charge("replay", json!({"status": 400}))).await;
    rig.dead_letters("acme", 1).await;
    let replay = replay_unseen(&rig, &["replay"]).await;
    let commands = [
        acme("again", "retry", json!({"status": 429})),
        acme("again", "doubt", json!({"status": 500})),
        acme("slow", "poll", json!({"accepted": true})),
        acme("ask", "lookup", json!({"act_then_fail": true})),
        acme("again", "garbled", json!({"status": 429})),
        acme("again", "lane", json!({"status": 500})),
        acme("again", "unrouted", json!({"status": 429})),
    ];
    leave_waiting(&rig, &daemon, &commands).await;
    rig.broker.publish("", QUEUE, &replay.body, replay.properties).await;
    let mut taken = take_out(&rig.broker, 8, &["garbled", "lane", "unrouted"]).await;
    garble(&rig.broker, &taken.remove("garbled").unwrap(), "5s.acme").await;
    let retry = take_out(&rig.broker, 6, &["retry"]).await.remove("retry").unwrap();
    rig.broker.publish("ferry.redeliver", "5s.acme", &retry.body, retry.properties.clone()).await;
    poison(&rig.broker, QUEUE, 6, "ferry.poison").await;
    garble(&rig.broker, &taken.remove("lane").unwrap(), "5s.acme").await;
    garble(&rig.broker, &taken.remove("unrouted").unwrap(), "5s.gone").await;
    let calls = rig.sandbox.calls().total;

    let daemon = rig.start().await;
    let table = [
        ("retry", "retry/0/2/failed", "delivery_limit", "retry"),
        ("doubt", "doubt/0/2/failed", "delivery_limit", "doubt"),
        ("poll", "poll/0/1/failed", "delivery_limit", "poll"),
        ("lookup", "lookup/0/1/failed", "delivery_limit", ""),
        ("replay", "replay/1/1/failed", "delivery_limit", "replay~1"),
        ("garbled", "garbled/0/2/failed", "delivery_limit", "garbled"),
        ("lane", "lane/0/2/failed", "unreadable_headers", "lane"),
        ("unrouted", "unrouted/0/2/failed", "unreadable_headers", "unrouted"),
    ];
    for (id, event_id, code, _) in table {
        let end = async || {
            let events = rig.events.of(id);
            events.into_iter().find(|event| word(event, "id") == event_id)
        };
        let event = eventually(SOON, event_id, end).await;
        let error = &event["data"]["error"];
        assert_eq!((word(error, "kind"), word(error, "code")), ("unresolved", code), "{event:#}");
        assert_eq!(
            (&error["dead_lettered"], &event["data"]["final"]),
            (&json!(true), &json!(false)),
            "{event:#}"
        );
        let status: Value =
            serde_json::from_str(&ferryd(&rig, &["status", id, "--json"]).await).unwrap();
        assert_eq!(
            (word(&status, "state"), word(&status, "kind")),
            ("failed", "unresolved"),
            "{status:#}"
        );
    }
    let letters = rig.dead_letters("acme", 8).await;
    for (id, event_id, _, key) in table {
        let letter =
            letters.iter().map(dead).find(|letter| word(letter, "command.id") == id).unwrap();
        assert_eq!(
            (word(&letter, "kind"), &letter["unknown"]),
            ("unresolved", &json!(true)),
            "{letter:#}"
        );
        let place = format!("{id}/{}/{}/failed", letter["generation"], letter["attempt"]);
        assert_eq!((word(&letter, "key"), place.as_str()), (key, event_id), "{letter:#}");
    }

    // A copy of a step that is over does nothing more.
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    rig.broker.publish("ferry.redeliver", "5s.acme", &retry.body, retry.properties).await;
    poison(&rig.broker, QUEUE, 1, "ferry.poison").await;
    let daemon = rig.start().await;
    rig.dropped(&daemon, "retry", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(8));
    assert_eq!(rig.sandbox.calls().total, calls);
}

/// Builds the deaths that a broker records of a message that has waited on a rung.
fn deaths() -> FieldTable {
    let mut death = FieldTable::default();
    for (name, value) in
        [("queue", "ferry.retry.5s"), ("reason", "expired"), ("exchange", "ferry.retry")]
    {
        death.insert(name.into(), text(value));
    }
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(death));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    headers.insert("x-first-death-exchange".into(), text("ferry.retry"));
    headers.insert("x-first-death-queue".into(), text("ferry.retry.5s"));
    headers.insert("x-first-death-reason".into(), text("expired"));
    headers
}

#[tokio::test]
async fn a_publisher_cannot_say_how_far_its_command_has_come_by_letting_it_die() {
    let rig =
        waiting_rig(&[acme("again", "victim", json!({"status": 429, "fail_times": 1}))]).await;
    let victim = take_out(&rig.broker, 1, &["victim"]).await.remove("victim").unwrap();
    let mut headers = deaths();
    for (name, value) in victim.properties.headers().as_ref().unwrap().inner() {
        if name.as_str().starts_with("ferry-") {
            headers.insert(name.clone(), value.clone());
        }
    }
    let as_the_victim = headers.clone();
    headers.insert("ferry-generation".into(), AMQPValue::LongLongInt(7));
    let table = [(send("forged", json!({})), headers), (send("victim", json!({})), as_the_victim)];
    for (command, headers) in &table {
        let properties = persistent().with_expiration("100".into()).with_headers(headers.clone());
        rig.broker
            .publish(
                "ferry.commands",
                "payment.acme.send",
                command.to_string().as_bytes(),
                properties,
            )
            .await;
    }
    rig.broker.await_depth("ferry.poison", 2).await;
    let daemon = rig.start().await;
    let event = rig.terminal("forged").await;
    assert_eq!(
        (word(&event, "id"), word(&event, "data.error.kind")),
        ("forged/0/1/failed", "unresolved")
    );
    let conflict = rig.events.first(SOON, |event| event["type"] == "ferry.command.conflict").await;
    assert_eq!(
        (word(&conflict, "subject"), word(&conflict, "data.conflict")),
        ("victim", "content")
    );
    rig.broker.publish("ferry.redeliver", "5s.acme", &victim.body, victim.properties).await;
    let event = rig.terminal("victim").await;
    assert_eq!(word(&event, "id"), "victim/0/2/completed", "{event:#}");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_notice_that_waits_and_is_delivered_too_often_is_kept_and_ends_nothing() {
    let rig = signed_rig("").await;
    let daemon = rig.start().await;
    let early = notice_body(
        "early-1",
        "charge.succeeded",
        json!({"command": "early", "about": "sb_1", "amount": 1099}),
    );
    assert_eq!(call(&daemon, &early).await, Some(200));
    daemon.wait_for_log(SOON, |line| line["message"] == "the endpoint for webhooks listens").await;
    // On a rung by now, or back from one.
    rig.broker.await_depth("ferry.retry.2s", 1).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    poison(&rig.broker, "ferry.webhooks.acme", 1, "ferry.webhooks.dead").await;
    let daemon = rig.start().await;
    rig.publish(&charge("early", json!({"accepted": true}))).await;
    rig.events.state("early", "waiting", SOON).await;
    let kept = rig.broker.peek("ferry.webhooks.dead").await.remove(0);
    assert_eq!(kept.json(), early);
    assert_eq!(rig.broker.depth("ferry.poison").await, Some(0));
    // Requeued by a person, the webhook counts.
    rig.broker.publish("ferry.webhooks", "acme.default", &kept.body, kept.properties).await;
    assert_eq!(word(&rig.terminal("early").await, "data.state"), "completed");
    rig.broker.purge("ferry.webhooks.dead").await;
    rig.end(&daemon).await;
}
