//! Tests `ferryd jobs`, and how a command that follows a job takes signals.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::job_bench::{publish_dead_commands, reason, rig, start};
use super::operator_bench::{CommandResult, numbered};
use super::recorded::ferryd;
use crate::api_client::TestClient;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig};

/// Runs `ferryd jobs` to its end.
async fn jobs(rig: &TestRig, arguments: &[&str]) -> CommandResult {
    ferryd(rig, &[&["jobs"], arguments].concat()).await
}

#[tokio::test]
async fn the_command_line_lists_shows_pauses_and_stops_jobs() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    assert_eq!(jobs(&rig, &["list"]).await.out, "no jobs\n");
    publish_dead_commands(&rig, &numbered("order", 500), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 20 });
    let path = start(&client, &order).await;
    let id = path.rsplit('/').next().unwrap();
    let paused = jobs(&rig, &["pause", id, "--reason", "lunch"]).await;
    assert_eq!((paused.code, paused.out), (Some(0), format!("{id} paused\n")));
    let shown = jobs(&rig, &["show", id, "--json"]).await.json();
    assert_eq!(shown["paused"], json!({ "by": "api:host", "reason": "lunch" }));
    assert_eq!(jobs(&rig, &["resume", id]).await.code, Some(0));
    let listed = jobs(&rig, &["list"]).await;
    assert!(listed.out.contains(id) && listed.out.contains("discard"), "{listed:?}");
    assert_eq!(jobs(&rig, &["stop", id]).await.code, Some(0));
    let followed = jobs(&rig, &["follow", id]).await;
    assert_eq!(followed.code, Some(1), "{followed:?}");
    assert!(
        followed.out.contains("ended: stopped") && followed.out.contains("stopped by api:host"),
        "{followed:?}"
    );
}

/// Starts a command that follows a job, and waits until it listens to signals: one that comes
/// before ends it as it ends any other.
pub(super) async fn start_following(rig: &TestRig, arguments: &[&str]) -> Child {
    let mut command = rig.setup.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let listens = async || {
        let status = std::fs::read_to_string(&status).ok()?;
        let caught =
            status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        // Signal 1, SIGHUP, is the lowest bit.
        (u64::from_str_radix(&caught, 16).ok()? & 1 == 1).then_some(())
    };
    eventually(SOON, "it listens to signals", listens).await;
    child
}

/// Sends a signal to a command, and waits for its end.
pub(super) async fn interrupt(child: Child, signal: Signal) -> CommandResult {
    kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    CommandResult::from(
        tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap(),
    )
}

#[tokio::test]
async fn whoever_follows_a_job_and_is_interrupted_leaves_it_or_stops_it() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    publish_dead_commands(&rig, &numbered("order", 500), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 20 });
    let path = start(&client, &order).await;
    let id = path.rsplit('/').next().unwrap();
    let follow = async |arguments: &[&str], signal: Signal| {
        let child = start_following(&rig, &[&["jobs", "follow", id], arguments].concat()).await;
        interrupt(child, signal).await
    };
    for signal in [Signal::SIGINT, Signal::SIGHUP] {
        let left = follow(&[], signal).await;
        assert_eq!(left.code, Some(1), "{left:?}");
        assert!(
            left.err.contains(&format!("`ferryd jobs follow {id}` comes back to it")),
            "{left:?}"
        );
        assert_eq!(client.get(&path).await.body["end"], Value::Null, "the job goes on");
    }
    let stopped = follow(&["--stop", "--json"], Signal::SIGINT).await;
    assert_eq!((stopped.code, reason(&stopped.json())), (Some(1), "stopped"), "{stopped:?}");
}
