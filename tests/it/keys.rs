//! Tests the keys under which commands are sent: no two generations of any two commands share one,
//! and none changes on the way.

use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::poisoned::replay_unseen;
use crate::rig::{SOON, TestRig, and, charge, word};

/// Returns the key in the headers of a command that waits on a rung.
async fn key_beside(rig: &TestRig, rung: &str, id: &str) -> String {
    let queue = format!("ferry.retry.{rung}");
    eventually(SOON, "it waits", async || {
        let waiting = rig.broker.peek(&queue).await;
        let message = waiting.iter().find(|message| {
            serde_json::from_slice::<Value>(&message.body).is_ok_and(|command| command["id"] == id)
        })?;
        let headers = message.properties.headers().as_ref();
        Some(ferryd_broker::message::get_text(headers, "ferry-key").unwrap_or_default().to_owned())
    })
    .await
}

/// Dead-letters a command that comes too late, so that it can be replayed with more time.
async fn dead_letter(rig: &TestRig, id: &str) {
    let late = and(charge(id, json!({})), json!({"expires_at": "2026-01-01T00:00:00Z"}));
    assert_eq!(word(&rig.carry(&late).await, "data.error.kind"), "expired");
}

async fn replay(rig: &TestRig, id: &str) {
    let mut replay = rig.setup.command(&["dead-letters", "replay", id, "--extend", "1h"]);
    assert!(tokio::task::spawn_blocking(move || replay.status()).await.unwrap().unwrap().success());
}

/// Lists the keys under which the provider acted.
fn acted(rig: &TestRig) -> Vec<String> {
    let keys = rig.sandbox.calls().keys;
    keys.into_iter().filter(|(_, calls)| calls.acted == 1).map(|(key, _)| key).collect()
}

async fn stop(daemon: &RunningDaemon) {
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

#[tokio::test]
async fn a_replay_shares_its_key_with_no_command_whatever_that_is_called() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    assert_eq!(word(&rig.carry(&charge("a.g1", json!({}))).await, "data.state"), "completed");
    dead_letter(&rig, "a").await;
    replay(&rig, "a").await;
    rig.events.state("a", "completed", SOON).await;
    assert_eq!(acted(&rig), ["a.g1", "a~1"]);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn every_message_of_a_command_names_its_key_also_before_the_first_call() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let later = and(charge("early", json!({})), json!({"not_before": "2200-01-01T00:00:00Z"}));
    rig.publish(&later).await;
    assert_eq!(key_beside(&rig, "12h", "early").await, "early");

    dead_letter(&rig, "again").await;
    rig.dead_letters("acme", 1).await;
    let replay = replay_unseen(&rig, &["again", "--extend", "1h"]).await;
    let headers = replay.properties.headers().as_ref();
    assert_eq!(ferryd_broker::message::get_text(headers, "ferry-key"), Some("again~1"));
    stop(&daemon).await;
}
