//! Tests that the trouble of one provider affects no other.

use std::time::Duration;

use serde_json::json;

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, word};

/// Starts two providers, of which one takes `most` calls at a time. That many calls hang at it, and
/// `more` commands wait.
async fn hanging(most: u64, more: u64) -> (TestRig, RunningDaemon) {
    let keys = format!("max_in_flight = {most}");
    let slow = SandboxFile { keys: &keys, unhurried: true, ..SandboxFile::default() };
    let rig = TestRig::with(
        "[shutdown]\ngrace_period = \"1s\"",
        &[("slow", slow), ("acme", SandboxFile::default())],
    )
    .await;
    let daemon = rig.start().await;
    let commands: Vec<_> = (0..most + more)
        .map(|number| {
            command("slow", "send", &format!("slow-{number}"), json!({"hang": "before_answer"}))
        })
        .collect();
    assert_eq!(rig.broker.publish_commands(&commands).await.len(), commands.len());
    let what = format!("{most} calls hang");
    eventually(SOON, &what, async || (rig.sandbox.calls().concurrent >= most).then_some(())).await;
    (rig, daemon)
}

/// Carries commands to the healthy provider, with retries for some of them.
async fn carry_others(rig: &TestRig) {
    let others: Vec<_> = (0..30)
        .map(|number| {
            let behaviour =
                if number % 10 == 0 { json!({"status": 429, "fail_times": 1}) } else { json!({}) };
            command("acme", "charge", &format!("other-{number}"), behaviour)
        })
        .collect();
    rig.broker.publish_commands(&others).await;
    for other in &others {
        assert_eq!(word(&rig.terminal(word(other, "id")).await, "data.state"), "completed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_provider_holds_up_nobody_else_and_gets_no_more_calls_than_it_may() {
    let (rig, daemon) = hanging(3, 40).await;
    carry_others(&rig).await;
    let calls = rig.sandbox.calls();
    assert_eq!((calls.paths["/slow/messages"], calls.concurrent), (3, 3));
    // The daemon holds as many commands as it may call next.
    assert_eq!(
        rig.broker.depth("ferry.commands.slow").await,
        Some(37),
        "the rest waits at the broker"
    );
    // Hanging calls are given back at the end of the grace period, and the process ends all the
    // same.
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    rig.broker.await_depth("ferry.commands.slow", 43).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_can_hang_at_one_provider_while_another_is_served() {
    const MANY: u64 = 1_000;
    let (rig, daemon) = hanging(MANY, 0).await;
    carry_others(&rig).await;
    assert_eq!(rig.sandbox.calls().paths["/slow/messages"], MANY);
    // The provider breaks down: the outcome of its calls is unknown, and none is repeated.
    let TestRig { sandbox, broker, events, vhost: _vhost, setup: _setup, .. } = rig;
    sandbox.shutdown().await;
    broker.await_depth("ferry.dead.slow", u32::try_from(MANY).unwrap()).await;
    eventually(Duration::from_secs(30), "every command has its event", async || {
        let failed = events
            .all()
            .iter()
            .filter(|event| word(event, "data.error.kind") == "unresolved")
            .count();
        (failed == usize::try_from(MANY).unwrap()).then_some(())
    })
    .await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}
