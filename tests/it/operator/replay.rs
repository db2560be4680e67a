//! Replaying dead letters at the command line, by a daemon.

use std::time::Duration;

use ferryd_broker::headers::MessageState;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::lifecycle::FailureKind;
use jiff::Timestamp;
use lapin::options::{QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::job_bench::{DEAD, body_of, letter, publish_dead_commands, publish_dead_letters, rig};
use super::jobs_command::{interrupt, start_following};
use super::operator_bench::{letter_of, numbered};
use super::recorded::{ferryd, ferryd_json};
use crate::harness::broker::{QueuedMessage, persistent};
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, dead, word};

/// Has copies of replays come to a queue of their own.
async fn copy_replays(rig: &TestRig) {
    let (channel, durable) = (rig.broker.channel().await, QueueDeclareOptions::durable());
    channel.queue_declare("copies".into(), durable, FieldTable::default()).await.unwrap();
    let (call, key) = ("ferry.redeliver".into(), "replay.*".into());
    channel
        .queue_bind("copies".into(), call, key, QueueBindOptions::default(), FieldTable::default())
        .await
        .unwrap();
}

fn travel(message: &QueuedMessage) -> MessageState {
    MessageState::read(message.properties.headers().as_ref()).unwrap()
}

/// The ids of the dead letters in a queue, in their order.
pub(super) async fn ids_in(rig: &TestRig, queue: &str) -> Vec<String> {
    rig.broker
        .peek(queue)
        .await
        .iter()
        .map(|letter| word(&dead(letter), "command.id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_replay_starts_the_next_generation_of_the_original_message() {
    let rig = rig().await;
    let daemon = rig.start().await;
    copy_replays(&rig).await;
    publish_dead_letters(&rig, &[DeadLetter { generation: 1, ..letter("order-1") }], &json!({}))
        .await;
    let ended = ferryd(&rig, &["dead-letters", "replay", "order-1"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.starts_with("replay ") && ended.out.contains("\n  done            1"),
        "{ended:?}"
    );
    let copy = rig.broker.peek("copies").await.remove(0);
    assert_eq!(
        (copy.exchange.as_str(), copy.routing_key.as_str()),
        ("ferry.redeliver", "replay.acme")
    );
    assert_eq!(copy.body, body_of(&letter("order-1"), &json!({})).into_bytes());
    assert_eq!(copy.properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
    let headers = copy.properties.headers().as_ref().unwrap().inner();
    assert!(headers.contains_key("tenant") && !headers.contains_key("ferry-dead-letter"));
    let travel = travel(&copy);
    assert_eq!((travel.progress.generation, travel.progress.attempt), (2, 1));
    assert_eq!(travel.routing_key.as_deref(), Some("payment.acme.charge"));
    assert_eq!(word(&rig.terminal("order-1").await, "data.state"), "completed");
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth(DEAD).await, Some(0));
}

#[tokio::test]
async fn a_replay_is_cut_off_at_its_start() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let (ids, bad) = (numbered("order", 40), json!({ "status": 402, "error_code": "blocked" }));
    publish_dead_commands(&rig, &ids, &bad).await;
    let later = Timestamp::now() + Duration::from_mins(1);
    publish_dead_letters(&rig, &[DeadLetter { dead_lettered_at: later, ..letter("later") }], &bad)
        .await;
    // Whatever is replayed fails at once and comes back.
    let job = ferryd_json(&rig, &["dead-letters", "replay", "--all", "--rate", "100"]).await;
    assert_eq!((&job["done"], word(&job, "end.reason")), (&json!(40), "finished"), "{job}");
    rig.broker.await_depth(DEAD, 41).await;
    for id in &ids {
        assert_eq!(rig.calls(id).calls, 1, "{id} is replayed once");
    }
    assert_eq!(rig.calls("later").calls, 0);
    assert_eq!(ids_in(&rig, DEAD).await[0], "later");
    // An earlier cut-off leaves what was given up by the replay.
    let job =
        ferryd_json(&rig, &["dead-letters", "replay", "--all", "--cut-off", "30m", "--dry-run"])
            .await;
    assert_eq!(job["done"], 0, "{job}");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn only_what_is_meant_is_replayed_and_the_rest_keeps_its_order() {
    let rig =
        TestRig::with("", &[("acme", SandboxFile::default()), ("bank", SandboxFile::default())])
            .await;
    let daemon = rig.start().await;
    let send = |id: &str| letter_of(id, "payment", "acme", "send", FailureKind::Unavailable);
    let of_bank = letter_of("e", "payment", "bank", "send", FailureKind::Unavailable);
    publish_dead_letters(
        &rig,
        &[letter("a"), send("b"), letter("c"), send("d"), of_bank],
        &json!({}),
    )
    .await;
    let none = ferryd(&rig, &["dead-letters", "replay"]).await;
    assert_eq!(none.code, Some(2), "without a filter: {none:?}");
    let dry =
        ferryd_json(&rig, &["dead-letters", "replay", "--operation", "send", "--dry-run"]).await;
    assert_eq!((&dry["done"], &dry["recorded"]), (&json!(3), &json!(0)), "{dry}");
    let job =
        ferryd_json(&rig, &["dead-letters", "replay", "--operation", "send", "--provider", "acme"])
            .await;
    assert_eq!(job["done"], 2, "{job}");
    for id in ["b", "d"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    for (queue, left) in [(DEAD, &["a", "c"][..]), ("ferry.dead.bank", &["e"])] {
        rig.broker.await_depth(queue, u32::try_from(left.len()).unwrap()).await;
        assert_eq!(ids_in(&rig, queue).await, left);
    }
    rig.finish(&daemon).await;
}

/// The reason why a job refused a dead letter.
fn refusal<'j>(job: &'j Value, id: &str) -> &'j str {
    let refusals = job["progress"]["refusals"].as_array().unwrap();
    word(refusals.iter().find(|refusal| refusal["id"] == id).unwrap(), "reason")
}

#[tokio::test]
async fn what_cannot_be_replayed_stays_and_says_why() {
    let rig = rig().await;
    let daemon = rig.start().await;
    copy_replays(&rig).await;
    let past = Timestamp::now() - Duration::from_mins(1);
    let letters = [
        DeadLetter { expires_at: Some(past), ..letter("expired") },
        DeadLetter { unknown: true, ..letter("acted") },
        DeadLetter { routing_key: Some("payment.twilio.charge".to_owned()), ..letter("other-key") },
        letter_of("removed", "payment", "gone", "charge", FailureKind::Unavailable),
    ];
    publish_dead_letters(&rig, &letters, &json!({})).await;
    rig.broker.publish("ferry.dead", "acme", b"{}", persistent()).await;
    let ended = ferryd(&rig, &["dead-letters", "replay", "--all", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let job = ended.json();
    assert_eq!((&job["done"], &job["progress"]["refused"]), (&json!(0), &json!(5)), "{job}");
    for (id, part) in [
        ("expired", "give it more time with --extend"),
        ("acted", "use --force-new-key"),
        ("other-key", "published under `payment.twilio.charge`"),
        ("removed", "provider `gone` is not configured"),
    ] {
        assert!(refusal(&job, id).contains(part), "{id}: {}", refusal(&job, id));
    }
    rig.broker.await_depth(DEAD, 4).await;

    assert_eq!(
        ferryd_json(&rig, &["dead-letters", "replay", "expired", "--extend", "1h"]).await["done"],
        1
    );
    let forced = ["dead-letters", "replay", "acted", "--force-new-key"];
    assert_eq!(ferryd(&rig, &forced).await.code, Some(2), "a name and a reason are needed");
    let forced = [&forced[..], &["--by", "ann", "--reason", "not there"]].concat();
    assert_eq!(ferryd_json(&rig, &forced).await["done"], 1);
    let replayed = rig.broker.peek("copies").await;
    assert!(travel(&replayed[0]).extended_to.unwrap() > Timestamp::now());
    let forced = travel(&replayed[1]).progress;
    assert_eq!((forced.unknown, forced.key.unwrap().as_str()), (false, "acted~1"));
    let headers = replayed[1].properties.headers().as_ref().unwrap().inner();
    assert!(headers.contains_key("ferry-by") && headers.contains_key("ferry-reason"));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_for_a_provider_that_was_added_later_can_be_replayed() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let late = letter_of("late", "payment", "acme", "charge", FailureKind::Invalid);
    let body = body_of(&late, &json!({}));
    rig.broker
        .publish(
            "ferry.dead",
            "not-there-yet",
            body.as_bytes(),
            super::operator_bench::dead_lettered(&late),
        )
        .await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "replay", "late"]).await["done"], 1);
    assert_eq!(word(&rig.terminal("late").await, "data.state"), "completed");
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.other").await, Some(0));
}

#[tokio::test]
async fn a_long_replay_that_gives_back_what_it_holds_goes_on_where_it_was() {
    let rig = rig().await.env("FERRYD_JOB_HOLD", "0");
    let daemon = rig.start().await;
    let unknown = |id: &str| DeadLetter { unknown: true, ..letter(id) };
    let letters = [unknown("a"), letter("b"), letter("c"), unknown("d"), letter("e"), unknown("f")];
    publish_dead_letters(&rig, &letters, &json!({})).await;
    let ended = ferryd(&rig, &["dead-letters", "replay", "--all", "--json"]).await;
    let job = ended.json();
    let mut refused: Vec<_> =
        job["progress"]["refusals"].as_array().unwrap().iter().map(|r| word(r, "id")).collect();
    // Many are acted on at a time.
    refused.sort_unstable();
    assert_eq!((&job["done"], refused), (&json!(3), vec!["a", "d", "f"]), "{job}");
    for id in ["b", "c", "e"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    rig.broker.await_depth(DEAD, 3).await;
    assert_eq!(ids_in(&rig, DEAD).await, ["a", "d", "f"]);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_stopped_replay_leaves_the_rest_untouched_and_in_order() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let ids = numbered("order", 1_000);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    let slow = ["dead-letters", "replay", "--all", "--rate", "50", "--stop", "--json"];
    let child = start_following(&rig, &slow).await;
    eventually(SOON, "some are replayed", async || {
        (rig.calls("order-20").calls == 1).then_some(())
    })
    .await;
    let ended = interrupt(child, Signal::SIGTERM).await;
    let job = ended.json();
    assert_eq!((ended.code, word(&job, "end.reason")), (Some(1), "stopped"), "{job}");
    let done = usize::try_from(job["done"].as_u64().unwrap()).unwrap();
    assert!((20..1_000).contains(&done), "{done}");
    rig.broker.await_depth(DEAD, u32::try_from(1_000 - done).unwrap()).await;
    assert!(ids_in(&rig, DEAD).await == ids[done..], "the rest is as it was");
    for id in &ids[..done] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
        assert_eq!(rig.calls(id).calls, 1, "{id} was replayed once");
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_replay_goes_on_whose_follower_is_killed() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let ids = numbered("order", 200);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    let mut child =
        start_following(&rig, &["dead-letters", "replay", "--all", "--rate", "100"]).await;
    eventually(SOON, "some are replayed", async || {
        (rig.calls("order-20").calls == 1).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
        assert_eq!(rig.calls(id).calls, 1, "{id} is done once");
    }
    rig.broker.await_depth(DEAD, 0).await;
    rig.finish(&daemon).await;
}
