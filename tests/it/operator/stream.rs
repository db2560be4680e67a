//! `ferryd ledger` and `ferryd calls`: the streams themselves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{IndexChanges, LedgerIndex};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::recorded::{ferryd, ferryd_json, operator};
use crate::harness::daemon::RunningDaemon;
use crate::rig::{TestRig, charge, send};

/// A rig on which two commands ended.
async fn rig_with_commands() -> (TestRig, RunningDaemon) {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.carry(&charge("paid", json!({}))).await;
    rig.carry(&send("dead", json!({"status": 500}))).await;
    (rig, daemon)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn records_are_shown_from_the_requested_position() {
    let (rig, _daemon) = rig_with_commands().await;
    let tail = ["ledger", "tail", "--from", "first", "--command", "paid", "--count", "2"];
    let shown = ferryd(&rig, &tail).await;
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{shown:?}");
    let kinds: Vec<_> =
        shown.out.lines().map(|line| line.split_whitespace().nth(3).unwrap()).collect();
    assert_eq!(kinds, ["started", "finished"]);
    let shown = lines(&ferryd(&rig, &[&tail[..], &["--json"]].concat()).await.out);
    assert_eq!(
        (&shown[0]["kind"], &shown[1]["kind"], &shown[1]["command"]),
        (&json!("started"), &json!("finished"), &json!("paid"))
    );
    assert_eq!(shown[1]["data"]["effects"]["event"]["data"]["state"], "completed");
    let offset = shown[1]["offset"].as_u64().unwrap();
    let from = offset.to_string();
    let shown = lines(
        &ferryd(&rig, &["ledger", "tail", "--from", &from, "--count", "1", "--json"]).await.out,
    );
    assert_eq!(shown[0]["offset"], offset);
    let shown = lines(
        &ferryd(
            &rig,
            &["ledger", "tail", "--from", "1h", "--command", "dead", "--count", "1", "--json"],
        )
        .await
        .out,
    );
    assert_eq!(shown[0]["command"], "dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_followed_until_somebody_interrupts_or_reads_no_more() {
    let (rig, _daemon) = rig_with_commands().await;
    let following = |arguments: &[&str]| {
        let mut command = rig.setup.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut tail = following(&["ledger", "tail", "--from", "first", "--json"]);
    let mut out = BufReader::new(tail.stdout.take().unwrap());
    let mut read = move |wanted: &'static str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "it ended before {wanted}");
        }
    };
    // What is old comes first, so it is following when this is read.
    tokio::task::block_in_place(|| read("\"dead\""));
    rig.carry(&charge("new", json!({}))).await;
    tokio::task::block_in_place(|| read("\"new\""));
    kill(Pid::from_raw(i32::try_from(tail.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(tokio::task::block_in_place(|| tail.wait().unwrap()).code(), Some(0));

    let mut tail = following(&["ledger", "tail", "--from", "first"]);
    drop(tail.stdout.take());
    let ended =
        tokio::task::spawn_blocking(move || tail.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap().as_str()),
        (Some(0), "")
    );
}

/// Makes the index say something else than the stream.
fn falsify(rig: &TestRig) {
    let (operator, dir) = (operator(rig), rig.setup.path().join("state"));
    let key = TopologyNames::new("ferry".parse().unwrap()).ledger_key(&operator.amqp.address());
    let index = LedgerIndex::open_first(&dir, &key).unwrap().unwrap();
    let id = "paid".parse().unwrap();
    let case = index.command_state(&id).unwrap().unwrap();
    let case =
        CommandState { published_sequence: case.published_sequence + 1, ending: None, ..case };
    let invented = ("invented".parse().unwrap(), case.clone().into());
    let checkpoint = index.checkpoint().unwrap().unwrap();
    let cases = vec![(id, case.into()), invented];
    let changes = IndexChanges {
        cases,
        writers: Vec::new(),
        jobs: Vec::new(),
        unreadable: Vec::new(),
        checkpoint,
    };
    index.save(&changes, Timestamp::now()).unwrap();
    assert_eq!(index.list(&CommandFilter::default(), None, 10).unwrap().rows.len(), 3);
}

#[tokio::test]
async fn an_index_is_compared_with_the_stream_and_made_anew() {
    let (rig, daemon) = rig_with_commands().await;
    let report = ferryd_json(&rig, &["ledger", "verify"]).await;
    assert_eq!(
        report,
        json!({"commands": 2, "older": 0, "forgotten": 0, "different": [], "more": 0})
    );
    let refused = ferryd(&rig, &["ledger", "rebuild"]).await;
    assert_eq!(refused.code, Some(1));
    let holder = format!("another ferryd on this host, process {} has the index in ", daemon.pid());
    assert!(refused.err.contains(&holder), "{refused:?}");
    daemon.kill9();

    falsify(&rig);
    let report = ferryd(&rig, &["ledger", "verify"]).await;
    assert_eq!((report.code, report.err.as_str()), (Some(1), ""), "{report:?}");
    assert!(
        report.out.starts_with("2 commands in the stream, 2 differ in the index\n"),
        "{}",
        report.out
    );
    for line in [["invented", "command"], ["paid", "ending"], ["paid", "published_sequence"]] {
        let is_listed = report.out.lines().any(|row| row.split_whitespace().take(2).eq(line));
        assert!(is_listed, "{line:?}: {}", report.out);
    }
    assert_eq!(
        std::fs::read_dir(rig.setup.path().join("state"))
            .unwrap()
            .flatten()
            .filter(|file| file.file_type().unwrap().is_dir())
            .count(),
        0
    );

    let rebuilt = ferryd_json(&rig, &["ledger", "rebuild"]).await;
    assert_eq!((&rebuilt["commands"], &rebuilt["unreadable"]), (&json!(2), &json!(0)), "{rebuilt}");
    let report = ferryd_json(&rig, &["ledger", "verify"]).await;
    assert_eq!(report["different"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_compared_while_commands_go_on() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let busy = async {
        for number in 0..300 {
            rig.publish(&charge(&format!("order-{number}"), json!({}))).await;
        }
        rig.terminal("order-299").await;
    };
    let verifying = async {
        for _ in 0..3 {
            let report = ferryd_json(&rig, &["ledger", "verify"]).await;
            assert_eq!(report["different"], json!([]), "{report}");
        }
    };
    futures_util::future::join(busy, verifying).await;
    assert_eq!(ferryd_json(&rig, &["ledger", "verify"]).await["commands"], 300);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn calls_are_found_by_what_the_ledger_knows() {
    let (rig, daemon) = rig_with_commands().await;
    let found = async || {
        let shown = ferryd(&rig, &["calls", "paid", "--json"]).await;
        (shown.code == Some(0)).then_some(shown)
    };
    let shown =
        crate::harness::wait::eventually(crate::rig::SOON, "its call is written", found).await;
    let calls = lines(&shown.out);
    assert_eq!((calls.len(), &calls[0]["response"]["status"]), (1, &json!(200)), "{calls:?}");
    assert_eq!(shown.err, "");
    let cancelled = ferryd(&rig, &["cancel", "later"]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    let none = ferryd(&rig, &["calls", "later"]).await;
    assert!(none.err.contains("no call was made of command `later` yet"), "{none:?}");
    drop(daemon);
}
