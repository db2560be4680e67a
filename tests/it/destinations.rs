//! Tests that a queue which takes no messages holds up those that have to go there, and no others.

use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use crate::harness::broker::persistent;
use crate::harness::daemon::RunningDaemon;
use crate::harness::queue_trouble::QueueTrouble;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, word};

/// The number of commands of the provider whose queue is in trouble: fewer than are prefetched, so
/// that all of them are held.
const HELD: u32 = 20;
/// The number of commands of the other provider: more than are prefetched, so that they get through
/// only where their lane moves.
const OTHERS: usize = 200;

async fn rig() -> TestRig {
    let others = SandboxFile { keys: "max_in_flight = 8", ..SandboxFile::default() };
    TestRig::with("", &[("acme", SandboxFile::default()), ("bravo", others)]).await
}

/// Declares a quorum queue of a subscriber.
async fn subscribe(rig: &TestRig, queue: &str, key: &str) {
    let channel = rig.broker.channel().await;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), quorum).await.unwrap();
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.into(), "ferry.events".into(), key.into(), options, FieldTable::default())
        .await
        .unwrap();
}

async fn is_down(daemon: &RunningDaemon, destination: &str) {
    let down = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("the destination is down") && line["destination"] == destination
    };
    daemon.wait_for_log(SOON, down).await;
}

pub(crate) async fn await_unacked(rig: &TestRig, queue: &str, count: u32) {
    let what = format!("{count} deliveries of {queue} are held");
    eventually(SOON, &what, async || (rig.vhost.unacked(queue).await == count).then_some(())).await;
}

/// Carries the other provider's commands: successes, retries and dead letters.
async fn carry_others(rig: &TestRig) {
    let others: Vec<_> = (0..OTHERS)
        .map(|number| {
            let behaviour = match number % 10 {
                0 => json!({"status": 429, "fail_times": 1}),
                1 => json!({"status": 400}),
                _ => json!({}),
            };
            command("bravo", "charge", &format!("other-{number}"), behaviour)
        })
        .collect();
    assert_eq!(rig.broker.publish_commands(&others).await.len(), OTHERS);
    for (number, other) in others.iter().enumerate() {
        let state = if number % 10 == 1 { "failed" } else { "completed" };
        assert_eq!(word(&rig.terminal(word(other, "id")).await, "data.state"), state);
    }
    await_unacked(rig, "ferry.commands.bravo", 0).await;
}

/// Publishes commands of `acme`. Returns their ids.
async fn publish_held(rig: &TestRig, behaviour: Value) -> Vec<String> {
    let ids: Vec<_> = (0..HELD).map(|number| format!("held-{number}")).collect();
    let commands: Vec<_> =
        ids.iter().map(|id| command("acme", "charge", id, behaviour.clone())).collect();
    assert_eq!(rig.broker.publish_commands(&commands).await.len(), ids.len());
    ids
}

async fn a_dead_letter_queue_holds_its_provider(trouble: QueueTrouble) {
    const QUEUE: &str = "ferry.dead.acme";
    let rig = rig().await.env("FERRYD_AMQP__PUBLISH_TIMEOUT", "5s");
    let daemon = rig.start().await;
    trouble.begin(&rig.vhost, &rig.broker, QUEUE).await;
    let before =
        if trouble == QueueTrouble::Refuses { rig.broker.depth(QUEUE).await.unwrap() } else { 0 };
    let ids = publish_held(&rig, json!({"status": 400})).await;
    is_down(&daemon, QUEUE).await;
    carry_others(&rig).await;
    // No event is published before its dead letter, and no delivery is acked.
    await_unacked(&rig, "ferry.commands.acme", HELD).await;
    rig.events.catch_up().await;
    for id in &ids {
        assert_eq!(rig.events.of(id), Vec::<Value>::new());
    }
    // Messages for other destinations go on, also for the same provider.
    let completed = rig
        .carry(&command("acme", "charge", "goes-on", json!({"status": 429, "fail_times": 1})))
        .await;
    assert_eq!(word(&completed, "data.state"), "completed");
    trouble.end(&rig.vhost, QUEUE).await;
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.error.kind"), "rejected");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    await_unacked(&rig, "ferry.commands.acme", 0).await;
    let letters = rig.broker.depth(QUEUE).await.unwrap() - before;
    // A message that was sent to a silent queue more than once may be there more than once.
    assert!(letters == HELD || trouble == QueueTrouble::Silent && letters > HELD, "{letters}");
    assert_eq!(daemon.logs(|line| line["message"] == "connected").len(), 1, "no session ended");
    rig.finish(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_queue_that_refuses_holds_its_providers_dead_letters_and_nobody_else() {
    a_dead_letter_queue_holds_its_provider(QueueTrouble::Refuses).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_queue_that_does_not_answer_holds_its_providers_dead_letters_and_nobody_else()
{
    a_dead_letter_queue_holds_its_provider(QueueTrouble::Silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_of_one_provider_that_takes_nothing_holds_that_provider_and_nobody_else() {
    const QUEUE: &str = "shop.events";
    let rig = rig().await.env("FERRYD_AMQP__PUBLISH_TIMEOUT", "5s");
    let daemon = rig.start().await;
    subscribe(&rig, QUEUE, "*.acme.#").await;
    QueueTrouble::Silent.begin(&rig.vhost, &rig.broker, QUEUE).await;
    let ids = publish_held(&rig, json!({})).await;
    is_down(&daemon, "ferry.events acme").await;
    carry_others(&rig).await;
    await_unacked(&rig, "ferry.commands.acme", HELD).await;
    QueueTrouble::Silent.end(&rig.vhost, QUEUE).await;
    await_unacked(&rig, "ferry.commands.acme", 0).await;
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_of_everything_that_takes_nothing_holds_everybody_and_loses_nothing() {
    const QUEUE: &str = "audit.events";
    let rig = rig().await.env("FERRYD_AMQP__PUBLISH_TIMEOUT", "5s");
    let daemon = rig.start().await;
    subscribe(&rig, QUEUE, "#").await;
    QueueTrouble::Refuses.begin(&rig.vhost, &rig.broker, QUEUE).await;
    let ids = publish_held(&rig, json!({})).await;
    rig.publish(&command("bravo", "charge", "other", json!({}))).await;
    is_down(&daemon, "ferry.events acme").await;
    is_down(&daemon, "ferry.events bravo").await;
    await_unacked(&rig, "ferry.commands.acme", HELD).await;
    await_unacked(&rig, "ferry.commands.bravo", 1).await;
    // Unbound, the queue holds up nothing any more.
    let channel = rig.broker.channel().await;
    channel
        .queue_unbind(QUEUE.into(), "ferry.events".into(), "#".into(), FieldTable::default())
        .await
        .unwrap();
    await_unacked(&rig, "ferry.commands.acme", 0).await;
    await_unacked(&rig, "ferry.commands.bravo", 0).await;
    for id in ids.iter().map(String::as_str).chain(["other"]) {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    rig.finish(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_group_keeps_retries_apart_from_those_of_a_queue_that_stops_the_shared_rungs() {
    const QUEUE: &str = "ferry.commands.acme";
    /// More messages than the broker has under way from one rung
    /// (`dead_letter_worker_consumer_prefetch`): the rung stands still until the queue is back. One
    /// such message would stop it for 64 s, which is more than this test waits for an event.
    const STUCK: usize = 600;
    let apart = SandboxFile { keys: "retry_group = \"apart\"", ..SandboxFile::default() };
    let rig = TestRig::with("", &[("acme", SandboxFile::default()), ("bravo", apart)]).await;
    let daemon = rig.start().await;
    QueueTrouble::Silent.begin(&rig.vhost, &rig.broker, QUEUE).await;
    for _ in 0..STUCK {
        rig.broker.publish("ferry.retry", "1s.acme", b"{}", persistent()).await;
    }
    let others: Vec<_> = (0..30)
        .map(|number| {
            command(
                "bravo",
                "charge",
                &format!("apart-{number}"),
                json!({"status": 429, "fail_times": 2}),
            )
        })
        .collect();
    assert_eq!(rig.broker.publish_commands(&others).await.len(), others.len());
    for other in &others {
        let id = word(other, "id");
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed");
        assert_eq!(rig.calls(id).calls, 3, "{id}");
    }
    assert_eq!(rig.broker.depth("ferry.retry.apart.1s").await, Some(0));
    QueueTrouble::Silent.end(&rig.vhost, QUEUE).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}
