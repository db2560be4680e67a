//! Tests cancelling commands through `ferry.control`: a command that was not sent is not sent; for
//! others it is too late.

use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::time::timeout;

use ferryd::domain::event::{Event, Happening, Moment, Trace};
use ferryd::domain::ledger::effects::RecordedEffects;
use ferryd::domain::ledger::record::{By, CancelWished, Fact, Finished, Person, Record};
use ferryd::domain::ledger::ruling::Ruling;
use ferryd::domain::lifecycle::Kind;
use ferryd::operator::register::Register;
use ferryd::pipeline::follow_ruling::cancelled;

use crate::harness::broker::persistent;
use crate::harness::wait::eventually;
use crate::operator::recorded::{asked, operator, place};
use crate::rig::{Rig, SOON, and, charge, send, word};

/// Sends a request to ferryd and waits for the answer.
async fn say(rig: &Rig, body: &[u8]) -> Value {
    let channel = rig.broker.channel().await;
    let pseudo = "amq.rabbitmq.reply-to";
    let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut replies = channel.basic_consume(pseudo.into(), "".into(), no_ack, FieldTable::default()).await.unwrap();
    let asking = persistent().with_reply_to(pseudo.into()).with_correlation_id("word-1".into());
    channel
        .basic_publish("ferry.control".into(), "".into(), BasicPublishOptions::default(), body, asking)
        .await
        .unwrap();
    let reply = timeout(SOON, replies.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(reply.properties.correlation_id().as_ref().unwrap().as_str(), "word-1");
    serde_json::from_slice(&reply.data).unwrap()
}

async fn cancel(rig: &Rig, id: &str) -> Value {
    let word = json!({"word": "cancel", "id": id, "by": "shop", "reason": "order withdrawn"});
    say(rig, word.to_string().as_bytes()).await
}

fn in_a_moment(command: Value, moment: SignedDuration) -> Value {
    and(command, json!({"not_before": (Timestamp::now() + moment).to_string()}))
}

fn assert_cancelled(event: &Value) {
    assert_eq!((word(event, "data.state"), word(event, "data.error.kind")), ("failed", "cancelled"), "{event:#}");
    assert_eq!(event["data"]["final"], true);
    assert_eq!(word(event, "data.error.message"), "cancelled by shop: order withdrawn");
}

#[tokio::test]
async fn a_command_whose_time_has_not_come_is_cancelled_for_good() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&in_a_moment(send("early", json!({})), SignedDuration::from_secs(4))).await;
    rig.broker.await_depth("ferry.retry.2s", 1).await;
    assert_eq!(cancel(&rig, "early").await, json!({"id": "early", "outcome": "cancelled"}));
    assert_cancelled(&rig.terminal("early").await);
    assert_eq!(cancel(&rig, "early").await["outcome"], "cancelled", "asked again, the answer is the same");
    rig.dropped(&daemon, "early", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("early").calls, 0);
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn a_command_that_is_not_known_yet_is_cancelled_when_it_comes() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    assert_eq!(cancel(&rig, "later").await["outcome"], "noted");
    assert_cancelled(&rig.carry(&send("later", json!({}))).await);
    assert_eq!(rig.calls("later").calls, 0);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn what_was_asked_to_be_cancelled_and_has_not_come_is_listed_apart_and_ends_after_a_day() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    assert_eq!(cancel(&rig, "today").await["outcome"], "noted");
    let ids = async |more: &[&str]| {
        let list = asked(&rig, &[&["commands"], more].concat()).await;
        let rows = list["commands"].as_array().unwrap().iter();
        rows.map(|row| word(row, "id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--cancel-requested"]).await, ["today"]);
    assert_eq!((ids(&[]).await, ids(&["--state", "pending"]).await), (vec![], vec![]));

    let mut register = Register::open(&operator(&rig), &place(&rig), |_| {}).await.unwrap();
    let person = Person { by: "shop".to_owned(), reason: Some("order withdrawn".to_owned()) };
    let at = Timestamp::now() - SignedDuration::from_hours(25);
    let fact = Fact::CancelWished(CancelWished { person });
    register.put_down(Record { at, command: "yesterday".parse().unwrap(), fact }).await.unwrap();
    register.close().await;
    assert_cancelled(&rig.terminal("yesterday").await);
    assert_eq!(cancel(&rig, "yesterday").await["outcome"], "cancelled", "it is so for good");
    assert_eq!(ids(&["--cancel-requested"]).await, ["today"]);
    assert_eq!(ids(&["--state", "failed", "--kind", "cancelled"]).await, ["yesterday"]);

    // The command comes after all: its publisher gets the terminal event, with the publisher's own
    // names.
    rig.publish(&send("yesterday", json!({}))).await;
    let named = |event: &Value| event["subject"] == "yesterday" && event["data"]["command"]["provider"] == "acme";
    let event = rig.events.first(SOON, named).await;
    assert_cancelled(&event);
    assert_eq!(word(&event, "source"), "/ferryd/acme");
    assert_eq!(rig.calls("yesterday").calls, 0);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_that_waits_for_its_next_attempt_is_cancelled_where_it_certainly_did_not_act() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&send("refused", json!({"status": 429, "retry_after": "5"}))).await;
    rig.publish(&charge("perhaps", json!({"status": 500, "fail_times": 1}))).await;
    eventually(SOON, "both were called", async || {
        (rig.calls("refused").calls == 1 && rig.calls("perhaps").calls >= 1).then_some(())
    })
    .await;
    eventually(SOON, "it can be cancelled", async || {
        (cancel(&rig, "refused").await["outcome"] == "cancelled").then_some(())
    })
    .await;
    assert_cancelled(&rig.terminal("refused").await);
    let late = cancel(&rig, "perhaps").await;
    assert_eq!(late["outcome"], "too_late", "{late}");
    assert_eq!(word(&rig.terminal("perhaps").await, "data.state"), "completed");
    rig.dropped(&daemon, "refused", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("refused").calls, 1);
}

#[tokio::test]
async fn for_what_is_under_way_or_has_ended_it_is_too_late() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&send("running", json!({"latency": "1500ms"}))).await;
    eventually(SOON, "the call runs", async || (rig.calls("running").calls == 1).then_some(())).await;
    let late = json!({"id": "running", "outcome": "too_late", "reason": "in_flight"});
    assert_eq!(cancel(&rig, "running").await, late);
    assert_eq!(word(&rig.terminal("running").await, "data.state"), "completed");
    rig.carry(&send("declined", json!({"decline": "blocked"}))).await;
    for (id, reason) in [("running", "completed"), ("declined", "failed")] {
        assert_eq!(cancel(&rig, id).await, json!({"id": id, "outcome": "too_late", "reason": reason}));
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_word_that_is_not_understood_is_answered_and_kept() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    let answer = say(&rig, b"{\"word\":\"dance\"}").await;
    assert!(word(&answer, "error").contains("dance"), "{answer}");
    rig.broker.await_depth("ferry.dead.other", 1).await;
    assert_eq!(rig.broker.peek("ferry.dead.other").await[0].body, b"{\"word\":\"dance\"}");
    assert_eq!(rig.broker.depth("ferry.control").await, Some(0));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn of_a_cancel_and_a_call_at_the_same_time_one_holds() {
    let rig = Rig::new("").await;
    let daemons = [rig.start().await, rig.start().await];
    for round in 0..20 {
        let id = format!("race-{round}");
        let command = send(&id, json!({}));
        let (answer, ()) = tokio::join!(cancel(&rig, &id), rig.publish(&command));
        let event = rig.terminal(&id).await;
        let cancelled = word(&event, "data.error.kind") == "cancelled";
        assert_eq!(cancelled, answer["outcome"] != "too_late", "{answer} {event:#}");
        assert_eq!(rig.calls(&id).calls, u64::from(!cancelled), "{answer}");
    }
    for daemon in &daemons {
        daemon.sigterm();
        assert!(daemon.wait(Duration::from_mins(1)).await.success());
    }
}

#[tokio::test]
async fn a_cancel_whose_instance_died_before_it_was_told_is_told_by_another() {
    let rig = Rig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&in_a_moment(send("untold", json!({})), SignedDuration::from_hours(1))).await;
    rig.broker.await_depth("ferry.retry.30m", 1).await;
    let mut register = Register::open(&operator(&rig), &place(&rig), |_| {}).await.unwrap();
    let case = register.case(&"untold".parse().unwrap()).unwrap().unwrap();
    let person = Person { by: "shop".to_owned(), reason: Some("order withdrawn".to_owned()) };
    let identity = case.opening.clone().unwrap().identity;
    let moment = Moment { generation: 0, attempt: 1, at: Timestamp::now() };
    let happening = Happening::Failed(Kind::Cancelled, cancelled(&person));
    let finished = Finished {
        query: None,
        step: case.step,
        opening: None,
        fresh: false,
        call: None,
        unknown: false,
        absent: false,
        kept: None,
        by: By::Canceller(person),
        effects: RecordedEffects {
            event: Event::new(identity, moment, happening, Trace::default()),
            told: true,
            carried: None,
        },
    };
    let fact = Fact::Finished(Box::new(finished));
    let record = Record { at: Timestamp::now(), command: "untold".parse().unwrap(), fact };
    assert!(matches!(register.append(record).await.unwrap().1, Ruling::Counts(_)));
    register.close().await;
    assert_cancelled(&rig.terminal("untold").await);
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}
