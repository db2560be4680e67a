//! The commands that ask the ledger: beside a daemon on the same host, and without one.

use std::process::Stdio;
use std::time::Instant;

use ferryd::operator::OperatorContext;
use ferryd_broker::message::OutgoingMessage;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::record::Record;
use ferryd_ledger::index::LedgerIndex;
use ferryd_ledger::record_encoder::RecordEncoder;
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use super::operator_bench::{CommandResult, settings};
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, send, word};

/// Runs ferryd to its end.
pub(crate) async fn ferryd(rig: &TestRig, arguments: &[&str]) -> CommandResult {
    let mut command = rig.setup.command(arguments);
    let run = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
    });
    CommandResult::from(run.await.unwrap())
}

/// Runs ferryd to its end, where it has to succeed, and returns its JSON.
pub(crate) async fn ferryd_json(rig: &TestRig, arguments: &[&str]) -> Value {
    let ended = ferryd(rig, &[arguments, &["--json"]].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.json()
}

pub(crate) fn operator(rig: &TestRig) -> OperatorContext {
    OperatorContext {
        amqp: settings(&rig.vhost.uri()),
        names: TopologyNames::new("ferry".parse().unwrap()),
    }
}

/// The index of the daemon on this host, as it has saved it.
pub(crate) fn index(rig: &TestRig) -> LedgerIndex {
    let operator = operator(rig);
    let key = operator.names.ledger_key(&operator.amqp.first_address());
    LedgerIndex::open_read_only(&rig.setup.path().join("state"), &key).unwrap()
}

/// Writes a record, as another instance does.
pub(crate) async fn write_record(rig: &TestRig, record: &Record) {
    let (_, message) =
        RecordEncoder::new(&TopologyNames::new("ferry".parse().unwrap())).encode_record(record);
    let OutgoingMessage { exchange, routing_key, properties, body } = message;
    rig.broker.publish(exchange.as_str(), routing_key.as_str(), &body, properties).await;
}

/// A rig on which three commands ended and one waits for its time.
async fn rig_with_commands() -> (TestRig, RunningDaemon) {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    assert_eq!(
        rig.carry(&and(charge("paid", json!({})), json!({"reference": "order-1"}))).await["data"]["state"],
        "completed"
    );
    rig.carry(&charge("refused", json!({"status": 402, "error_code": "card_declined"}))).await;
    rig.carry(&send("dead", json!({"status": 500}))).await;
    rig.publish(&and(send("early", json!({})), json!({"not_before": "2126-01-01T00:00:00Z"})))
        .await;
    eventually(SOON, "it waits", async || {
        let ended = ferryd(&rig, &["status", "early"]).await;
        (ended.code == Some(0)).then_some(())
    })
    .await;
    (rig, daemon)
}

async fn check_status_and_lists(rig: &TestRig) {
    let paid = ferryd(rig, &["status", "paid"]).await;
    assert_eq!((paid.code, paid.err.as_str()), (Some(0), ""), "{paid:?}");
    for part in ["completed", "acme.charge", "order-1", "started", "nothing, this is its end"] {
        assert!(paid.out.contains(part), "{part}: {}", paid.out);
    }
    let dead = ferryd_json(rig, &["status", "dead"]).await;
    assert_eq!(
        (&dead["state"], &dead["kind"], &dead["dead"]),
        (&json!("failed"), &json!("unresolved"), &json!(true))
    );
    assert_eq!(dead["event"]["data"]["state"], "failed");
    assert_eq!(dead["timeline"][0]["reason"], "started");
    let early = ferryd(rig, &["status", "early"]).await;
    assert!(early.out.contains("next: call #1 at 2126-01-01 00:00:00.000Z"), "{}", early.out);

    let listed = ferryd_json(rig, &["commands"]).await;
    let ids = |listed: &Value| {
        let rows = listed["commands"].as_array().unwrap().iter();
        rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&listed), ["early", "dead", "refused", "paid"]);
    let failed =
        ferryd_json(rig, &["commands", "--state", "failed", "--limit", "1", "--newer-than", "1h"])
            .await;
    assert_eq!(ids(&failed), ["dead"]);
    let next = failed["next"].as_str().unwrap();
    let rest = ferryd_json(rig, &["commands", "--state", "failed", "--cursor", next]).await;
    assert_eq!((ids(&rest), &rest["next"]), (vec!["refused".to_owned()], &Value::Null));
    let cut = ferryd(rig, &["commands", "--limit", "1"]).await;
    assert!(cut.out.contains("\nmore: --cursor "), "{}", cut.out);
    assert_eq!(ids(&ferryd_json(rig, &["commands", "--reference", "order-1"]).await), ["paid"]);

    let unknown = ferryd(rig, &["status", "nobody"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("knows no command `nobody`"), "{}", unknown.err);
}

/// Returns the reason for which a job ended, and how many dead letters were acted on, closed,
/// refused and not found.
pub(super) fn job_counts(job: &Value) -> (&str, Value) {
    let progress = &job["progress"];
    let counts = [&job["done"], &progress["closed"], &progress["refused"], &progress["not_found"]];
    (word(job, "end.reason"), json!(counts))
}

#[tokio::test]
async fn a_daemon_shows_what_is_in_the_ledger_also_by_a_rebuilt_index() {
    let (rig, daemon) = rig_with_commands().await;
    check_status_and_lists(&rig).await;
    daemon.kill9();
    std::fs::remove_dir_all(rig.setup.path().join("state")).unwrap();
    let daemon = rig.start().await;
    check_status_and_lists(&rig).await;
    daemon.kill9();
}

#[tokio::test]
async fn what_was_recorded_before_is_known_at_once() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    for number in 0..20 {
        let id = format!("order-{number}");
        rig.carry(&charge(&id, json!({}))).await;
        assert_eq!(ferryd_json(&rig, &["status", &id]).await["state"], "completed");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_not_waited_for_for_ever() {
    let (rig, daemon) = rig_with_commands().await;
    kill(daemon.pid(), Signal::SIGSTOP).unwrap();
    let behind = ferryd(&rig, &["status", "paid"]).await;
    kill(daemon.pid(), Signal::SIGCONT).unwrap();
    assert_eq!((behind.code, behind.out.as_str()), (Some(5), ""), "{behind:?}");
    assert!(behind.err.contains("did not answer within 15 s"), "{behind:?}");
    assert_eq!(ferryd_json(&rig, &["status", "paid"]).await["state"], "completed");
}

#[tokio::test]
async fn a_cancel_is_decided_by_a_daemon_and_not_without_one() {
    let (rig, daemon) = rig_with_commands().await;
    let cancelled =
        ferryd(&rig, &["cancel", "early", "--by", "ann", "--reason", "order withdrawn"]).await;
    assert_eq!(
        (cancelled.code, cancelled.out.as_str()),
        (Some(0), "early is cancelled\n"),
        "{cancelled:?}"
    );
    let status = ferryd_json(&rig, &["status", "early"]).await;
    assert_eq!(status["kind"], "cancelled");
    assert!(status.to_string().contains("by ann via api:host: order withdrawn"), "{status}");
    assert_eq!(
        ferryd_json(&rig, &["cancel", "later"]).await,
        json!({"id": "later", "outcome": "noted"})
    );
    let noted = ferryd(&rig, &["status", "later"]).await;
    assert!(noted.out.contains("when it comes, it is cancelled by "), "{noted:?}");
    let late = ferryd(&rig, &["cancel", "paid"]).await;
    assert_eq!(late.code, Some(1));
    assert!(late.err.contains("too late to cancel `paid`: it has completed"), "{late:?}");
    let late = ferryd(&rig, &["cancel", "paid", "--json"]).await;
    assert_eq!(
        (late.code, late.json()),
        (Some(1), json!({"id": "paid", "outcome": "too_late", "reason": "completed"}))
    );
    daemon.kill9();
    let alone = ferryd(&rig, &["cancel", "paid"]).await;
    assert!(
        alone.code == Some(4) && alone.err.contains("no ferryd answers at") && alone.out.is_empty(),
        "{alone:?}"
    );
}

#[tokio::test]
async fn without_a_broker_it_is_said_so() {
    let rig = TestRig::new("").await.env("FERRYD_AMQP__URI", "amqp://127.0.0.1:1");
    for command in [
        &["status", "a"][..],
        &["commands"],
        &["cancel", "a"],
        &["ledger", "tail"],
        &["ledger", "verify"],
    ] {
        assert_eq!(ferryd(&rig, command).await.code, Some(4), "{command:?}");
    }
}

#[tokio::test]
#[ignore = "prints what commands say and how long they take; for a person"]
async fn measure_asking() {
    let (rig, daemon) = rig_with_commands().await;
    for number in 0..2_000 {
        rig.publish(&charge(&format!("order-{number}"), json!({}))).await;
    }
    rig.terminal("order-1999").await;
    for (who, alone) in [("beside a daemon", false), ("without one", true)] {
        if alone {
            daemon.kill9();
        }
        for command in [&["status", "paid"][..], &["status", "dead"], &["commands", "--limit", "3"]]
        {
            let start = Instant::now();
            let ended = ferryd(&rig, command).await;
            println!("{who}: {} took {:?}\n{}", command.join(" "), start.elapsed(), ended.out);
        }
    }
    for command in [
        &["ledger", "verify"][..],
        &["ledger", "rebuild"],
        &["ledger", "tail", "--from", "first", "--command", "dead", "--count", "3"],
        &["status", "nobody"],
        &["cancel", "paid"],
    ] {
        let start = Instant::now();
        let CommandResult { code, out, err } = ferryd(&rig, command).await;
        println!("{} took {:?}, code {code:?}\n{out}{err}", command.join(" "), start.elapsed());
    }
}
