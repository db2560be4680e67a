//! Kills the daemon at every step of a command's way, and while a provider works.

use std::os::unix::process::ExitStatusExt as _;

use ferryd::failpoint::Failpoint;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::harness::wait::eventually;
use crate::load::{CommandLoad, file, notify};
use crate::rig::{SOON, TestRig, word};

/// The number of commands that can be in flight, and so become unresolved, when a daemon dies.
const IN_FLIGHT: usize = 6;

/// The number of virtual hosts that are used at the same time.
const SIDE_BY_SIDE: usize = 3;

async fn rig() -> TestRig {
    let rig = TestRig::with("", &file("max_in_flight = 6")).await;
    rig.declare().await;
    rig
}

/// Kills a daemon at its `nth` pass of a failpoint while twenty commands wait, and lets another
/// carry on.
async fn die_at(point: Failpoint, nth: usize) {
    let rig = rig().await;
    let mut load = CommandLoad::new(point.name(), 2, "20ms");
    load.publish(&rig.broker).await;
    assert_eq!(load.len(), 20);
    let killed = rig.setup.start_armed(&format!("{}=kill:{nth}", point.name()));
    assert_eq!(killed.wait(SOON).await.signal(), Some(9), "{point:?}: {}", killed.log_text());
    let successor = rig.setup.start();
    let unresolved = load.verify(&rig).await;
    assert!(unresolved.len() <= IN_FLIGHT, "{point:?}: {unresolved:?}");
    rig.finish(&successor).await;
}

#[tokio::test]
async fn a_daemon_that_dies_at_any_step_loses_nothing_and_nothing_is_acted_upon_twice() {
    let deaths = Failpoint::ALL.into_iter().flat_map(|point| [(point, 1), (point, 5)]);
    let deaths: Vec<()> = stream::iter(deaths)
        .map(|(point, nth)| die_at(point, nth))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    assert_eq!(deaths.len(), 2 * Failpoint::ALL.len());
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_the_provider_works_loses_nothing() {
    let rig = rig().await;
    let mut load = CommandLoad::new("held", 2, "2s");
    load.publish(&rig.broker).await;
    let killed = rig.setup.start();
    let working =
        async || Some(rig.sandbox.calls()).filter(|calls| calls.concurrent == IN_FLIGHT as u64);
    let calls = eventually(SOON, "the provider works", working).await;
    killed.kill9();
    let successor = rig.setup.start();
    let unresolved = load.verify(&rig).await;
    assert_eq!(unresolved, load.called_without_key(&calls));
    rig.finish(&successor).await;
}

#[tokio::test]
async fn what_may_have_been_sent_before_a_crash_becomes_a_dead_letter_for_a_person() {
    let rig = rig().await;
    rig.publish(&notify("sent", json!({}))).await;
    let killed = rig.setup.start_armed("answered=kill");
    assert_eq!(killed.wait(SOON).await.signal(), Some(9));
    let successor = rig.setup.start();
    let event = rig.terminal("sent").await;
    assert_eq!(word(&event, "data.error.kind"), "unresolved", "{event:#}");
    assert_eq!(rig.calls("sent").calls, 1);
    rig.dead_letters("acme", 1).await;
    rig.finish(&successor).await;
}
