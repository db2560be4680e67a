//! Replaying dead letters.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use ferryd::domain::dead_letter::DeadLetter;
use ferryd::domain::event::Happening;
use ferryd::domain::lifecycle::Kind;
use ferryd::domain::outcome::{Failure, Success};
use ferryd::ledger::command_filter::CommandFilter;
use ferryd::operator::clear::{Job, Tally};
use ferryd::operator::replay::Replay;
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

use super::bench::{Bench, body, buried, id, letter, letter_of, numbered, travel};
use crate::harness::broker::persistent;
use crate::harness::wait::eventually;

const DEAD: &str = "ferry.dead.stripe";
const COMMANDS: &str = "ferry.commands.stripe";
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_replay_starts_the_next_generation_of_the_original_message() {
    let bench = Bench::new().await;
    bench.bury([DeadLetter { generation: 1, ..letter("order-1") }]).await;
    let ended = bench.ferryd(&["dead", "replay", "order-1"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "1 replayed, 0 refused, 0 not meant, 0 newer than this job\n");
    let delivery = bench.drain(COMMANDS).await.swap_remove(0);
    assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("ferry.redeliver", "replay.stripe"));
    assert_eq!(delivery.data, body(&letter("order-1")).into_bytes());
    assert_eq!(delivery.properties.correlation_id().as_ref().unwrap().as_str(), "c-1");
    let headers = delivery.properties.headers().as_ref().unwrap().inner();
    assert!(headers.contains_key("tenant") && !headers.contains_key("ferry-dead"));
    let travel = travel(&delivery);
    assert_eq!((travel.progress.generation, travel.progress.attempt), (2, 1));
    assert_eq!(travel.routing_key.as_deref(), Some("payment.stripe.charge"));
    assert_eq!(bench.broker.depth(DEAD).await, Some(0));
}

#[tokio::test]
async fn a_replay_is_cut_off_at_its_start() {
    let bench = Bench::new().await;
    let ids = numbered("order", 40);
    bench.bury(ids.iter().map(|id| letter(id))).await;
    let later = Timestamp::now() + Duration::from_mins(1);
    bench.bury([DeadLetter { dead_lettered_at: later, ..letter("later") }]).await;
    // A provider that is still down: whatever is replayed fails at once and comes back.
    let daemon = async {
        let mut failed = Vec::new();
        while failed.len() < 40 {
            for delivery in bench.drain(COMMANDS).await {
                let generation = travel(&delivery).progress.generation;
                let again = DeadLetter { generation, dead_lettered_at: Timestamp::now(), ..letter(&id(&delivery)) };
                failed.push(id(&delivery));
                bench.bury([again]).await;
            }
        }
        failed
    };
    let (ended, failed) = tokio::join!(bench.ferryd(&["dead", "replay", "--all", "--rate", "100", "--json"]), daemon);
    assert_eq!((ended.code, &ended.json()["done"], &ended.json()["later"]), (Some(0), &40.into(), &1.into()));
    assert_eq!(failed, ids);
    assert_eq!(bench.ids(COMMANDS).await, Vec::<String>::new(), "each is replayed once");
    assert_eq!(bench.ids(DEAD).await, [vec!["later".to_owned()], ids].concat());
}

#[tokio::test]
async fn only_what_is_meant_is_replayed_and_the_rest_keeps_its_order() {
    let bench = Bench::new().await;
    let refund = |id: &str| letter_of(id, "payment", "stripe", "refund", Kind::Unavailable);
    let sms = letter_of("e", "notification", "twilio", "send_sms", Kind::Unavailable);
    bench.bury([letter("a"), refund("b"), letter("c"), refund("d"), sms]).await;
    let none = bench.ferryd(&["dead", "replay"]).await;
    assert_eq!(none.code, Some(2), "without a filter: {none:?}");
    let dry = bench.ferryd(&["dead", "replay", "--operation", "refund", "--dry-run"]).await;
    assert!(dry.out.starts_with("2 would be replayed, 0 refused, 3 not meant"), "{dry:?}");
    let ended = bench.ferryd(&["dead", "replay", "--operation", "refund", "--provider", "stripe"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.ids(COMMANDS).await, ["b", "d"]);
    assert_eq!(bench.ids(DEAD).await, ["a", "c"]);
    assert_eq!(bench.ids("ferry.dead.twilio").await, ["e"]);
}

#[tokio::test]
async fn what_cannot_be_replayed_stays_and_says_why() {
    let bench = Bench::new().await;
    let past = Timestamp::now() - Duration::from_mins(1);
    bench
        .bury([
            DeadLetter { expires_at: Some(past), ..letter("expired") },
            DeadLetter { unknown: true, ..letter("acted") },
            DeadLetter { routing_key: Some("payment.twilio.charge".to_owned()), ..letter("other-key") },
            letter_of("removed", "payment", "gone", "charge", Kind::Unavailable),
        ])
        .await;
    bench.broker.publish("ferry.dead", "stripe", b"{}", persistent()).await;
    let ended = bench.ferryd(&["dead", "replay", "--all", "--json"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let json = ended.json();
    assert_eq!(json["done"], 0);
    let reason = |id: &str| {
        let refused = json["refused"].as_array().unwrap().iter().find(|refused| refused["id"] == id);
        refused.unwrap()["reason"].as_str().unwrap()
    };
    for (id, part) in [
        ("expired", "give it more time with --extend"),
        ("acted", "use --force-new-key"),
        ("other-key", "published under `payment.twilio.charge`"),
        ("removed", "provider `gone` has no queue"),
    ] {
        assert!(reason(id).contains(part), "{id}: {}", reason(id));
    }
    assert_eq!(json["refused"].as_array().unwrap().len(), 5);
    bench.broker.await_depth(DEAD, 4).await;

    let extended = bench.ferryd(&["dead", "replay", "expired", "--extend", "1h"]).await;
    assert_eq!(extended.code, Some(0), "{extended:?}");
    let forced = ["dead", "replay", "acted", "--force-new-key"];
    assert_eq!(bench.ferryd(&forced).await.code, Some(2), "a name and a reason are needed");
    let forced = bench.ferryd(&[&forced[..], &["--by", "ann", "--reason", "not there"]].concat()).await;
    assert_eq!(forced.code, Some(0), "{forced:?}");
    let replayed = bench.drain(COMMANDS).await;
    assert!(travel(&replayed[0]).extended_to.unwrap() > Timestamp::now());
    let forced = travel(&replayed[1]).progress;
    assert_eq!((forced.unknown, forced.key.unwrap().as_str()), (false, "acted~1"));
    let headers = replayed[1].properties.headers().as_ref().unwrap().inner();
    assert!(headers.contains_key("ferry-by") && headers.contains_key("ferry-reason"));
}

#[tokio::test]
async fn a_command_for_a_provider_that_was_added_later_can_be_replayed() {
    let bench = Bench::new().await;
    let unknown = letter_of("late", "payment", "twilio", "charge", Kind::Invalid);
    bench.broker.publish("ferry.dead", "not-there-yet", body(&unknown).as_bytes(), buried(&unknown)).await;
    let ended = bench.ferryd(&["dead", "replay", "late"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(bench.ids("ferry.commands.twilio").await, ["late"]);
    assert_eq!(bench.broker.depth("ferry.dead.other").await, Some(0));
}

/// Replays three with a canary while a daemon stands in that ends the first one so.
async fn canary(end: Happening) -> (super::bench::Ended, Vec<String>, Vec<String>) {
    let bench = Bench::new().await;
    bench.bury(["a", "b", "c"].map(letter)).await;
    let daemon = async {
        bench.broker.await_depth(COMMANDS, 1).await;
        assert_eq!(bench.broker.depth(DEAD).await, Some(0), "the rest is held");
        bench.tell(&super::bench::event(&letter("a"), 0, Happening::Completed(Success::default()))).await;
        bench.tell(&super::bench::event(&letter("a"), 1, end)).await;
    };
    let (ended, ()) = tokio::join!(bench.ferryd(&["dead", "replay", "--all", "--canary", "--json"]), daemon);
    (ended, bench.ids(COMMANDS).await, bench.ids(DEAD).await)
}

#[tokio::test]
async fn a_canary_that_fails_again_stops_the_replay() {
    let failed = Happening::Failed(Kind::Unavailable, Failure::new("timeout", "still no answer"));
    let (ended, replayed, dead) = canary(failed).await;
    assert_eq!((ended.code, &ended.json()["done"]), (Some(1), &1.into()), "{ended:?}");
    let stopped = ended.json()["stopped"].as_str().unwrap().to_owned();
    assert!(stopped.contains("`a`, failed again (unavailable): still no answer"), "{stopped}");
    assert_eq!((replayed, dead), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
}

#[tokio::test]
async fn a_canary_that_completes_lets_the_rest_go() {
    let (ended, replayed, dead) = canary(Happening::Completed(Success::default())).await;
    assert_eq!((ended.code, &ended.json()["done"]), (Some(0), &3.into()), "{ended:?}");
    assert_eq!((replayed.join(""), dead.len()), ("abc".to_owned(), 0));
}

#[tokio::test]
async fn a_long_replay_that_gives_back_what_it_holds_goes_on_where_it_was() {
    let bench = Bench::new().await;
    let unknown = |id: &str| DeadLetter { unknown: true, ..letter(id) };
    bench.bury([unknown("a"), letter("b"), letter("c"), unknown("d"), letter("e"), unknown("f")]).await;
    let job = Job {
        queues: vec![DEAD.to_owned()],
        filter: CommandFilter::default(),
        start: Timestamp::now(),
        rate: None,
        dry_run: false,
        longest_hold: Duration::ZERO,
        stop: CancellationToken::new(),
    };
    let mut replaying = Replay::default().begin(&bench.operator, None).await.unwrap();
    let mut tally = Tally::default();
    job.run(&bench.operator, &mut replaying, &mut tally, |_| {}).await.unwrap();
    let refused: Vec<_> = tally.refused.iter().map(|refused| refused.id.as_str()).collect();
    assert_eq!((tally.done, refused), (3, vec!["a", "d", "f"]));
    assert_eq!(bench.ids(COMMANDS).await, ["b", "c", "e"]);
    assert_eq!(bench.ids(DEAD).await, ["a", "d", "f"]);
}

/// A slow replay of everything.
fn start_slow(bench: &Bench) -> Child {
    let mut command = bench.setup.command(&["dead", "replay", "--all", "--rate", "200", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn until_some_are_replayed(bench: &Bench, least: u32) {
    let some = async || bench.broker.depth(COMMANDS).await.filter(|depth| *depth >= least);
    eventually(PATIENCE, "some are replayed", some).await;
}

#[tokio::test]
async fn a_replay_that_is_told_to_stop_leaves_the_rest_untouched_and_in_order() {
    let bench = Bench::new().await;
    let ids = numbered("order", 2_000);
    bench.bury(ids.iter().map(|id| letter(id))).await;
    let child = start_slow(&bench);
    until_some_are_replayed(&bench, 50).await;
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let ended = super::bench::Ended::from(ended);
    assert_eq!((ended.code, &ended.json()["stopped"]), (Some(1), &"interrupted".into()), "{ended:?}");
    let done = usize::try_from(ended.json()["done"].as_u64().unwrap()).unwrap();
    assert!((50..2_000).contains(&done), "{done}");
    bench.broker.await_depth(DEAD, u32::try_from(2_000 - done).unwrap()).await;
    assert!(bench.ids(COMMANDS).await == ids[..done], "each was replayed once");
    assert!(bench.ids(DEAD).await == ids[done..], "the rest is as it was");
}

#[tokio::test]
async fn a_replay_that_is_killed_loses_nothing() {
    let bench = Bench::new().await;
    let ids = numbered("order", 300);
    bench.bury(ids.iter().map(|id| letter(id))).await;
    for replayed in [20, 60, 100] {
        let mut child = start_slow(&bench);
        until_some_are_replayed(&bench, replayed).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // The broker takes back what the last one held as soon as it finds the connection closed.
    let back = async || {
        let [dead, replayed] = [bench.broker.depth(DEAD).await?, bench.broker.depth(COMMANDS).await?];
        (dead + replayed >= 300).then_some(())
    };
    eventually(PATIENCE, "everything is somewhere", back).await;
    let (replayed, dead) = (bench.drain(COMMANDS).await, bench.ids(DEAD).await);
    assert!(replayed.iter().all(|delivery| travel(delivery).progress.generation == 1));
    let twice = replayed.len() + dead.len() - 300;
    assert!(twice <= 3, "at most the one under way at each kill is in both places: {twice}");
    let everywhere: BTreeSet<_> = replayed.iter().map(id).chain(dead).collect();
    assert_eq!(everywhere, ids.into_iter().collect());
}
