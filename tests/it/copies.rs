//! Tests copies of commands: published twice, delivered twice, to several daemons; answered from
//! the record, called once.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, persistent};
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, send, word};

/// The queue in which a publisher waits for answers.
const REPLIES: &str = "shop.replies";

pub(crate) async fn rig_with_replies() -> TestRig {
    with_replies(TestRig::new("").await).await
}

/// Adds the queue of answers to a rig.
pub(crate) async fn with_replies(rig: TestRig) -> TestRig {
    let channel = rig.broker.channel().await;
    channel
        .queue_declare(REPLIES.into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    rig
}

/// Publishes a command whose publisher waits for the answer to its call number `call`.
pub(crate) async fn ask(rig: &TestRig, command: &Value, call: u32) {
    let key = format!("payment.acme.{}", word(command, "operation"));
    let asking = persistent()
        .with_reply_to(REPLIES.into())
        .with_correlation_id(format!("call-{call}").into());
    rig.broker.publish("ferry.commands", &key, command.to_string().as_bytes(), asking).await;
}

/// Waits for as many answers, by correlation id. An answer may be sent twice, like any event.
pub(crate) async fn answers(rig: &TestRig, count: usize) -> BTreeMap<String, Value> {
    let correlation =
        |message: &QueuedMessage| message.properties.correlation_id().as_ref().unwrap().to_string();
    eventually(SOON, "every answer is there", async || {
        let messages = rig.broker.peek(REPLIES).await;
        let answers: BTreeMap<_, _> =
            messages.iter().map(|message| (correlation(message), message.json())).collect();
        (answers.len() == count).then_some(answers)
    })
    .await
}

#[tokio::test]
async fn a_command_published_again_after_its_end_is_answered_from_the_record_without_a_call() {
    for command in [
        charge("again", json!({})),
        send("again", json!({})),
        charge("again", json!({"decline": "blocked"})),
    ] {
        let rig = rig_with_replies().await;
        let daemon = rig.start().await;
        ask(&rig, &command, 1).await;
        let first = rig.terminal("again").await;
        answers(&rig, 1).await;
        // The same content in another form.
        ask(&rig, &and(command.clone(), json!({"x_note": "sent again"})), 2).await;
        let answers = answers(&rig, 2).await;
        let expected = ["call-1", "call-2"].map(|call| (call.to_owned(), first.clone()));
        assert_eq!(answers, BTreeMap::from(expected));
        rig.events.catch_up().await;
        assert!(rig.events.of("again").iter().all(|event| *event == first));
        assert_eq!(rig.calls("again").calls, 1);
        rig.finish(&daemon).await;
    }
}

#[tokio::test]
async fn a_command_published_again_while_its_call_runs_is_answered_by_that_call() {
    for (operation, command) in [
        ("charge", charge("twice", json!({"latency": "1s"}))),
        ("send", send("twice", json!({"latency": "1s"}))),
    ] {
        let rig = rig_with_replies().await;
        let daemon = rig.start().await;
        ask(&rig, &command, 1).await;
        eventually(SOON, "the call runs", async || (rig.calls("twice").calls == 1).then_some(()))
            .await;
        ask(&rig, &command, 2).await;
        let answers = answers(&rig, 2).await;
        let numbers: Vec<_> = answers.keys().map(String::as_str).collect();
        assert_eq!(numbers, ["call-1", "call-2"], "{operation}");
        assert!(
            answers.values().all(|event| word(event, "data.state") == "completed"),
            "{answers:#?}"
        );
        assert_eq!(rig.calls("twice").calls, 1, "{operation}");
        // The copy waits on the ladder for the duration of the claim, and is then dropped.
        rig.dropped(&daemon, "twice", 1).await;
        rig.finish(&daemon).await;
        assert_eq!(rig.calls("twice").calls, 1, "{operation}");
    }
}

#[tokio::test]
async fn another_content_under_a_known_id_is_a_conflict_and_changes_nothing() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let first = rig.carry(&charge("taken", json!({}))).await;
    let mut other = charge("taken", json!({}));
    other["payload"]["amount"] = json!(2);
    for command in [other.clone(), send("taken", json!({})), other] {
        rig.publish(&command).await;
    }
    let conflict = |event: &Value| event["type"] == "ferry.command.conflict";
    eventually(SOON, "every conflict is published", async || {
        (rig.events.of("taken").iter().filter(|event| conflict(event)).count() == 3).then_some(())
    })
    .await;
    let events = rig.events.of("taken");
    let ids: std::collections::BTreeSet<_> =
        events.iter().filter(|event| conflict(event)).map(|event| word(event, "id")).collect();
    assert_eq!(ids.len(), 2, "one for each content, however often it comes: {ids:?}");
    let one = events.iter().find(|event| conflict(event)).unwrap();
    assert_eq!((word(one, "data.conflict"), word(one, "source")), ("content", "/ferryd/acme"));
    assert_eq!(word(&first, "data.state"), "completed");
    assert_eq!(rig.calls("taken").calls, 1);
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn three_daemons_call_once_for_each_command_that_is_published_two_or_three_times() {
    let rig = TestRig::new("").await;
    let daemons = [rig.start().await, rig.start().await, rig.start().await];
    let commands: Vec<_> = (0..40)
        .map(|number| match number % 4 {
            0 => charge(&format!("copy-{number}"), json!({"latency": "20ms"})),
            1 => send(&format!("copy-{number}"), json!({"latency": "20ms"})),
            2 => send(&format!("copy-{number}"), json!({"status": 429, "fail_times": 1})),
            _ => send(&format!("copy-{number}"), json!({"decline": "blocked"})),
        })
        .collect();
    let copies: Vec<_> = commands
        .iter()
        .enumerate()
        .flat_map(|(number, command)| vec![command.clone(); 2 + number % 2])
        .collect();
    join_all(copies.iter().map(|command| rig.publish(command))).await;
    for command in &commands {
        rig.terminal(word(command, "id")).await;
    }
    // Copies that wait for a claim come back and are dropped.
    rig.broker.await_depth("ferry.retry.5s", 0).await;
    for daemon in &daemons {
        daemon.sigterm();
        assert!(daemon.wait(SOON).await.success());
    }
    for (number, command) in commands.iter().enumerate() {
        let (id, calls) = (word(command, "id"), rig.calls(word(command, "id")));
        let expected = if number % 4 == 2 { 2 } else { 1 };
        assert_eq!(calls.calls, expected, "{id}");
        let ends: std::collections::BTreeSet<_> = rig
            .events
            .of(id)
            .iter()
            .filter(|event| matches!(word(event, "data.state"), "completed" | "failed"))
            .map(|event| event["id"].to_string())
            .collect();
        assert_eq!(ends.len(), 1, "{id}: {ends:?}");
    }
}

#[tokio::test]
async fn a_message_that_was_held_before_but_never_begun_is_carried_out() {
    use lapin::options::{BasicGetOptions, BasicNackOptions};
    let rig = TestRig::new("").await;
    rig.declare().await;
    rig.publish(&send("held", json!({}))).await;
    let channel = rig.broker.channel().await;
    rig.broker.await_depth("ferry.commands.acme", 1).await;
    let got = channel
        .basic_get("ferry.commands.acme".into(), BasicGetOptions::default())
        .await
        .unwrap()
        .unwrap();
    got.delivery
        .acker
        .nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() })
        .await
        .unwrap();
    let daemon = rig.start().await;
    assert_eq!(word(&rig.terminal("held").await, "data.state"), "completed");
    assert_eq!(rig.calls("held").calls, 1);
    rig.finish(&daemon).await;
}
