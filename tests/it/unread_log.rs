//! Tests that everything goes on where the log is not read.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, and, charge, command, word};

const NOTE: &str = r#"
[operations.note]
request = { method = "POST", path = "/note" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
body = { id = "{{ command.id }}", note = "{{ payload.note }}" }
"#;

/// The number of commands that fill a pipe and all that may wait for it, twice over: each is logged
/// with its body.
const COMMANDS: usize = 60;
const NOTE_BYTES: usize = 200_000;

async fn rig() -> TestRig {
    let keys = "max_in_flight = 4";
    TestRig::with(
        "[log]\nmax_body_size = \"256KiB\"",
        &[("acme", SandboxFile { keys, operations: NOTE, ..SandboxFile::default() })],
    )
    .await
}

fn note(id: &str) -> Value {
    and(
        command("acme", "note", id, json!({})),
        json!({ "payload": { "note": "n".repeat(NOTE_BYTES) } }),
    )
}

/// Carries more commands than the log has room for. Returns those that completed.
async fn overfill(rig: &TestRig, name: &str) -> Vec<String> {
    let ids: Vec<_> = (0..COMMANDS).map(|number| format!("{name}-{number}")).collect();
    for id in &ids {
        rig.publish(&note(id)).await;
    }
    let mut completed = Vec::new();
    for id in ids {
        let event = rig.terminal(&id).await;
        match word(&event, "data.error.code") {
            "" => completed.push(id),
            code => assert_eq!(code, "panic", "{event:#}"),
        }
    }
    completed
}

async fn consuming(rig: &TestRig) {
    let consuming = async || {
        (rig.broker.depth("ferry.commands.acme").await == Some(0)
            && rig.broker.consumers("ferry.commands.acme").await == 1)
            .then_some(())
    };
    eventually(SOON, "the daemon consumes", consuming).await;
}

/// Returns the number of dropped lines that the daemon reports.
fn dropped(daemon: &RunningDaemon) -> u64 {
    let notices =
        daemon.logs(|line| line["message"] == "dropped log lines that nobody read in time");
    notices.iter().map(|line| line["dropped"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn a_full_pipe_stops_no_command_and_no_call_is_missing_from_the_stream_of_calls() {
    // A panic writes to the standard error as well; one of the last commands has it.
    let rig = rig().await.env("FERRYD_FAILPOINT", &format!("decoded=panic:{}", COMMANDS - 2));
    rig.declare().await;
    let daemon = rig.setup.start_unread();
    consuming(&rig).await;
    let ids = overfill(&rig, "unread").await;
    assert_eq!(ids.len(), COMMANDS - 1, "one of them panicked");

    daemon.read_log();
    let has_dropped = async || (dropped(&daemon) > 0).then_some(());
    eventually(SOON, "the daemon says what is missing", has_dropped).await;
    assert_eq!(word(&rig.carry(&charge("read", json!({}))).await, "data.state"), "completed");
    rig.end(&daemon).await;
    let logged = |id: &str| {
        daemon.logs(|line| line["target"] == "ferryd::call" && line["command.id"] == id).len()
    };
    let logged_calls: usize = ids.iter().map(|id| logged(id)).sum();
    assert!(logged_calls < ids.len() && logged("read") == 1, "{logged_calls}");
    assert!(dropped(&daemon) >= u64::try_from(ids.len() - logged_calls).unwrap());
    // The first daemon publishes all calls before it ends. The log has lost those in the middle.
    let _daemon = rig.start().await;
    for id in ids.iter().step_by(8) {
        let mut calls = rig.setup.command(&["calls", id, "--json"]);
        let output = tokio::task::spawn_blocking(move || calls.output()).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1, "{id}");
    }
}

#[tokio::test]
async fn a_full_pipe_does_not_keep_a_daemon_from_ending() {
    let rig = rig().await;
    rig.declare().await;
    let daemon = rig.setup.start_unread();
    consuming(&rig).await;
    overfill(&rig, "unread").await;
    daemon.sigterm();
    assert_eq!(daemon.wait(Duration::from_secs(15)).await.code(), Some(0));
}
