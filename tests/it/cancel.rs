//! Tests cancelling commands: a command that was not sent is not sent; for others it is too late.

use std::time::Duration;

use ferryd::pipeline::follow_ruling::cancelled_failure;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::record::{
    Actor, CancelRequested, DecidedBy, FinishedRecord, Record, RecordBody, Step,
};
use ferryd_domain::lifecycle::FailureKind;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::api_client::TestClient;
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::operator::recorded::{ferryd_json, write_record};
use crate::rig::{SOON, TestRig, and, charge, send, word};

/// Requests a cancel from a daemon, and returns the outcome.
async fn cancel(client: &TestClient, id: &str) -> Value {
    let path = format!("/v1/commands/{id}?by=shop&reason=order%20withdrawn");
    let body = client.ask("DELETE", &path, "").await.body;
    match word(&body, "type") {
        "urn:ferryd:problem:too-late" => {
            json!({"id": id, "outcome": "too_late", "reason": body["reason"]})
        }
        _ => body,
    }
}

async fn ready_client(daemon: &RunningDaemon) -> TestClient {
    let client = TestClient::of(daemon).await;
    client.wait_ready().await;
    client
}

fn in_a_moment(command: Value, moment: SignedDuration) -> Value {
    and(command, json!({"not_before": (Timestamp::now() + moment).to_string()}))
}

fn shop() -> Actor {
    Actor { by: "shop via api:host".to_owned(), reason: Some("order withdrawn".to_owned()) }
}

fn assert_cancelled(event: &Value) {
    assert_eq!(
        (word(event, "data.state"), word(event, "data.error.kind")),
        ("failed", "cancelled"),
        "{event:#}"
    );
    assert_eq!(event["data"]["final"], true);
    assert_eq!(
        word(event, "data.error.message"),
        "cancelled by shop via api:host: order withdrawn"
    );
}

#[tokio::test]
async fn a_command_whose_time_has_not_come_is_cancelled_for_good() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = ready_client(&daemon).await;
    rig.publish(&in_a_moment(send("early", json!({})), SignedDuration::from_secs(4))).await;
    rig.broker.await_depth("ferry.retry.2s", 1).await;
    assert_eq!(cancel(&client, "early").await, json!({"id": "early", "outcome": "cancelled"}));
    assert_cancelled(&rig.terminal("early").await);
    assert_eq!(
        cancel(&client, "early").await["outcome"],
        "cancelled",
        "requested again, the answer is the same"
    );
    rig.dropped(&daemon, "early", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("early").calls, 0);
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn a_command_that_is_not_known_yet_is_cancelled_when_it_comes() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = ready_client(&daemon).await;
    assert_eq!(cancel(&client, "later").await["outcome"], "noted");
    assert_cancelled(&rig.carry(&send("later", json!({}))).await);
    assert_eq!(rig.calls("later").calls, 0);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_cancelled_command_that_has_not_come_is_listed_apart_and_ends_after_a_day() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = ready_client(&daemon).await;
    assert_eq!(cancel(&client, "today").await["outcome"], "noted");
    let ids = async |more: &[&str]| {
        let list = ferryd_json(&rig, &[&["commands"], more].concat()).await;
        let rows = list["commands"].as_array().unwrap().iter();
        rows.map(|row| word(row, "id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--cancel-requested"]).await, ["today"]);
    assert_eq!((ids(&[]).await, ids(&["--state", "pending"]).await), (vec![], vec![]));

    let person = shop();
    let at = Timestamp::now() - SignedDuration::from_hours(25);
    let fact = RecordBody::CancelRequested(CancelRequested { actor: person });
    write_record(&rig, &Record { at, command: "yesterday".parse().unwrap(), fact }).await;
    assert_cancelled(&rig.terminal("yesterday").await);
    assert_eq!(cancel(&client, "yesterday").await["outcome"], "cancelled", "it is so for good");
    assert_eq!(ids(&["--cancel-requested"]).await, ["today"]);
    assert_eq!(ids(&["--state", "failed", "--kind", "cancelled"]).await, ["yesterday"]);

    // The command comes after all: its publisher gets the terminal event, with the publisher's own
    // names.
    rig.publish(&send("yesterday", json!({}))).await;
    let named = |event: &Value| {
        event["subject"] == "yesterday" && event["data"]["command"]["provider"] == "acme"
    };
    let event = rig.events.first(SOON, named).await;
    assert_cancelled(&event);
    assert_eq!(word(&event, "source"), "/ferryd/acme");
    assert_eq!(rig.calls("yesterday").calls, 0);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_that_waits_for_its_next_attempt_is_cancelled_where_it_certainly_did_not_act() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = ready_client(&daemon).await;
    rig.publish(&send("refused", json!({"status": 429, "retry_after": "5"}))).await;
    rig.publish(&charge("perhaps", json!({"status": 500, "fail_times": 1}))).await;
    eventually(SOON, "both were called", async || {
        (rig.calls("refused").calls == 1 && rig.calls("perhaps").calls >= 1).then_some(())
    })
    .await;
    eventually(SOON, "it can be cancelled", async || {
        (cancel(&client, "refused").await["outcome"] == "cancelled").then_some(())
    })
    .await;
    assert_cancelled(&rig.terminal("refused").await);
    let late = cancel(&client, "perhaps").await;
    assert_eq!(late["outcome"], "too_late", "{late}");
    assert_eq!(word(&rig.terminal("perhaps").await, "data.state"), "completed");
    rig.dropped(&daemon, "refused", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("refused").calls, 1);
}

#[tokio::test]
async fn for_what_is_under_way_or_has_ended_it_is_too_late() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = ready_client(&daemon).await;
    rig.publish(&send("running", json!({"latency": "1500ms"}))).await;
    eventually(SOON, "the call runs", async || (rig.calls("running").calls == 1).then_some(()))
        .await;
    let late = json!({"id": "running", "outcome": "too_late", "reason": "in_flight"});
    assert_eq!(cancel(&client, "running").await, late);
    assert_eq!(word(&rig.terminal("running").await, "data.state"), "completed");
    rig.carry(&send("declined", json!({"decline": "blocked"}))).await;
    for (id, reason) in [("running", "completed"), ("declined", "failed")] {
        assert_eq!(
            cancel(&client, id).await,
            json!({"id": id, "outcome": "too_late", "reason": reason})
        );
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn of_a_cancel_and_a_call_at_the_same_time_one_holds() {
    let rig = TestRig::new("").await;
    let daemons = [rig.start().await, rig.start().await];
    let client = ready_client(&daemons[0]).await;
    for round in 0..20 {
        let id = format!("race-{round}");
        let command = send(&id, json!({}));
        let (answer, ()) = tokio::join!(cancel(&client, &id), rig.publish(&command));
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
async fn a_cancellation_whose_instance_died_before_publishing_it_is_published_by_another() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let unpublished = in_a_moment(send("unpublished", json!({})), SignedDuration::from_hours(1));
    rig.publish(&unpublished).await;
    rig.broker.await_depth("ferry.retry.30m", 1).await;
    let person = shop();
    let command =
        Command::decode(unpublished.to_string().as_bytes(), CommandEnvelope::default()).unwrap();
    let identity = command.identity(&"acme".parse().unwrap());
    let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::now() };
    let kind = EventKind::Failed(FailureKind::Cancelled, cancelled_failure(&person));
    let event = Event::new(identity, moment, kind, TraceContext::default());
    let finished = FinishedRecord::for_event(
        Step::call(0, 1),
        DecidedBy::Canceller(person),
        event.into(),
        true,
    );
    let fact = RecordBody::Finished(Box::new(finished));
    write_record(
        &rig,
        &Record { at: Timestamp::now(), command: "unpublished".parse().unwrap(), fact },
    )
    .await;
    assert_cancelled(&rig.terminal("unpublished").await);
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}
