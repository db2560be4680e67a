//! Replays of a dead letter that is in its queue twice.

use std::collections::BTreeSet;

use serde_json::json;

use super::recorded::{ferryd_json, job_counts};
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, charge, dead};

#[tokio::test]
async fn two_replays_of_one_dead_letter_start_one_generation() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.carry(&charge("again", json!({"decline": "blocked"}))).await;
    let letter = rig.dead_letters("acme", 1).await.remove(0);
    rig.broker.publish("ferry.dead", "acme", &letter.body, letter.properties.clone()).await;
    rig.broker.await_depth("ferry.dead.acme", 2).await;
    // One job meets both: the second is the replay that it has begun with the first.
    let replayed = ferryd_json(&rig, &["dead-letters", "replay", "--provider", "acme"]).await;
    assert_eq!(job_counts(&replayed), ("finished", json!([1, 0, 0, 0])), "{replayed}");
    eventually(SOON, "the replay ends", async || {
        let generations =
            rig.events.of("again").iter().filter(|event| event["data"]["generation"] == 1).count();
        (generations > 0).then_some(())
    })
    .await;
    // The copy of the continuation that came second waits for the first, or finds that it has
    // ended.
    rig.broker.await_depth("ferry.commands.acme", 0).await;
    let status = ferryd_json(&rig, &["status", "again"]).await;
    assert_eq!(status["generation"], 1, "{status:#}");
    rig.broker.await_depth("ferry.retry.5s", 0).await;
    let letter = rig.dead_letters("acme", 1).await.remove(0);
    assert_eq!(dead(&letter)["generation"], 1, "both of the first generation are gone");
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("again").calls, 2, "one call of each generation");
}

#[tokio::test]
async fn a_replay_that_names_a_command_leaves_the_copy_of_its_dead_letter_for_the_next_job_to_close()
 {
    let rig = TestRig::new("").await.env("FERRYD_JOB_ROUND_PAUSE", "1");
    let daemon = rig.start().await;
    rig.carry(&charge("again", json!({"decline": "blocked"}))).await;
    let letter = rig.dead_letters("acme", 1).await.remove(0);
    rig.broker.publish("ferry.dead", "acme", &letter.body, letter.properties.clone()).await;
    rig.broker.await_depth("ferry.dead.acme", 2).await;
    let replayed = ferryd_json(&rig, &["dead-letters", "replay", "again"]).await;
    assert_eq!(job_counts(&replayed), ("finished", json!([1, 0, 0, 0])), "{replayed}");
    // The copy, and the dead letter of the replay, which failed again.
    let letters = rig.dead_letters("acme", 2).await;
    let generations: BTreeSet<_> =
        letters.iter().map(|letter| dead(letter)["generation"].as_u64()).collect();
    assert_eq!(generations, BTreeSet::from([Some(0), Some(1)]));
    // The copy comes first; the job goes through the queue once more for the one that it lacks.
    let replayed = ferryd_json(&rig, &["dead-letters", "replay", "again"]).await;
    assert_eq!(job_counts(&replayed), ("finished", json!([1, 1, 0, 0])), "{replayed}");
    assert_eq!(replayed["progress"]["rounds"], 2, "{replayed}");
    let letter = rig.dead_letters("acme", 1).await.remove(0);
    assert_eq!(dead(&letter)["generation"], 2);
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("again").calls, 3, "one call of each generation");
}
