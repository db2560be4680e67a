//! Erasing messages that were refused: each has a record, a place in the index and a dead letter
//! under an id of its own.

use std::path::Path;

use serde_json::{Value, json};

use super::erase::{BY, REFERENCE, TOKENS, erase, lies_in, of_jane, outcomes, saved, secret};
use super::operator_bench::CommandResult;
use super::recorded::{ferryd, ferryd_json};
use crate::harness::broker::persistent;
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, dead, word};

/// A message that is refused, with a person's data in what is wrong with it too.
fn invalid(id: &str) -> Value {
    of_jane(
        id,
        and(charge(id, json!({})), json!({"payload": {"amount": format!("for {}", secret(id))}})),
    )
}

/// The ids of the dead letters.
async fn dead_ids(rig: &TestRig, count: u32) -> Vec<String> {
    let letters = rig.dead_letters("acme", count).await;
    letters.iter().map(|letter| word(&dead(letter), "command.id").to_owned()).collect()
}

/// Erases, again and again until nothing stays.
async fn erase_all(rig: &TestRig, which: &[&str]) -> CommandResult {
    eventually(SOON, "all is erased", async || {
        let ended = erase(rig, which).await;
        (ended.code == Some(0)).then_some(ended)
    })
    .await
}

/// Discards dead letters.
async fn discard(rig: &TestRig, which: &[&str]) {
    let ended = ferryd(rig, &[&["dead-letters", "discard"], which, &BY].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Makes the index anew, and waits until it holds what was not erased.
async fn made_anew(rig: &TestRig, daemon: &RunningDaemon, folder: &Path) -> RunningDaemon {
    daemon.kill9();
    std::fs::remove_dir_all(folder).unwrap();
    let daemon = rig.start().await;
    saved(folder, "other").await;
    daemon
}

/// Fails where a refused message still shows anything of the person.
async fn assert_erased(rig: &TestRig, folder: &Path, refused: &[String]) {
    for id in refused {
        let status = ferryd_json(rig, &["status", id]).await;
        assert_eq!(status["removal"]["erased"]["actor"]["by"], "ann via api:privacy", "{status:#}");
        assert!(!status.to_string().contains("jane"), "{status:#}");
        assert!(!lies_in(folder, &secret(id.split('/').next().unwrap())), "{id}");
    }
    let listed = ferryd_json(rig, &["commands"]).await;
    for row in listed["commands"].as_array().unwrap().iter().filter(|row| row["id"] != "other") {
        assert!(!row.to_string().contains("jane"), "{row}");
    }
}

#[tokio::test]
async fn by_an_id_what_was_refused_under_it_is_erased_once_its_dead_letter_is_gone() {
    let rig = TestRig::new(TOKENS).await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    rig.carry(&and(
        of_jane("other", charge("other", json!({}))),
        json!({"reference": "customer-jim"}),
    ))
    .await;
    // Under an id of its own, and under one of a command that is known.
    let event = rig.carry(&invalid("wrong")).await;
    assert_eq!(word(&event, "data.error.kind"), "invalid");
    rig.carry(&of_jane("paid", charge("paid", json!({})))).await;
    rig.publish(&invalid("paid")).await;
    rig.events.first(SOON, |event| event["type"] == "ferry.command.conflict").await;
    let refused = dead_ids(&rig, 2).await;
    assert!(
        refused[0].starts_with("wrong/refused/") && refused[1].starts_with("paid/refused/"),
        "{refused:?}"
    );
    for id in ["wrong", "paid", "other"] {
        saved(&folder, id).await;
    }

    let of = |ended: &CommandResult| -> Vec<_> {
        outcomes(ended).into_iter().map(|(id, outcome, _)| (id, outcome)).collect()
    };
    let both = |paid: &str, others: &str| {
        let all = [(&refused[0][..], others), ("paid", paid), (&refused[1][..], others)];
        all.map(|(id, outcome)| (id.to_owned(), outcome.to_owned())).to_vec()
    };
    let first = eventually(SOON, "the command is erased", async || {
        let ended = erase(&rig, &["--id", "wrong", "--id", "paid"]).await;
        (of(&ended)[1].1 == "erased").then_some(ended)
    })
    .await;
    assert_eq!((first.code, of(&first)), (Some(1), both("erased", "kept")));
    for (id, outcome, reason) in outcomes(&first) {
        assert!(
            outcome == "erased" || reason.contains(&format!("`ferryd dead-letters discard {id}`")),
            "{id}: {reason}"
        );
    }
    discard(&rig, &[&refused[0], &refused[1]]).await;
    rig.broker.await_depth("ferry.dead.acme", 0).await;
    let second = erase_all(&rig, &["--id", "wrong", "--id", "paid"]).await;
    assert_eq!(of(&second).len(), 3, "{second:?}");

    assert_erased(&rig, &folder, &refused).await;
    let named = ferryd(&rig, &["status", "paid"]).await;
    assert!(named.out.contains(&refused[1]) && !named.out.contains("jane"), "{named:?}");
    let daemon = made_anew(&rig, &daemon, &folder).await;
    assert_erased(&rig, &folder, &refused).await;
    // The id was never claimed.
    assert_eq!(
        word(&rig.events.state("wrong", "failed", SOON).await, "data.error.kind"),
        "invalid"
    );
    rig.publish(&charge("wrong", json!({}))).await;
    rig.events.state("wrong", "completed", SOON).await;
    rig.finish(&daemon).await;
    assert!(!lies_in(&folder, &secret("wrong")) && !lies_in(&folder, &secret("paid")));
}

#[tokio::test]
async fn by_a_reference_every_message_is_erased_that_was_refused_with_it() {
    let rig = TestRig::new(TOKENS).await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    rig.carry(&and(
        of_jane("other", charge("other", json!({}))),
        json!({"reference": "customer-jim"}),
    ))
    .await;
    rig.carry(&invalid("wrong")).await;
    // No JSON: its id is made up, and its reference a property.
    let properties = persistent().with_correlation_id(REFERENCE.into());
    rig.broker
        .publish("ferry.commands", "payment.acme.charge", secret("broken").as_bytes(), properties)
        .await;
    let refused = dead_ids(&rig, 2).await;
    saved(&folder, "wrong").await;

    let which = ["--reference", REFERENCE];
    let listed = eventually(SOON, "both are known", async || {
        let ended = erase(&rig, &[&which[..], &["--dry-run"]].concat()).await;
        (outcomes(&ended).len() == 2).then_some(ended)
    })
    .await;
    assert!(
        outcomes(&listed).iter().all(|(id, outcome, _)| refused.contains(id) && outcome == "kept"),
        "{listed:?}"
    );
    assert_eq!(erase(&rig, &which).await.code, Some(1));
    discard(&rig, &which).await;
    rig.broker.await_depth("ferry.dead.acme", 0).await;
    let whole = erase_all(&rig, &which).await;
    assert!(outcomes(&whole).iter().all(|(_, outcome, _)| outcome == "erased"), "{whole:?}");
    assert_eq!(outcomes(&whole).len(), 2);

    assert_erased(&rig, &folder, &refused).await;
    let nobody = erase(&rig, &which).await;
    assert!(
        nobody.code == Some(1) && nobody.err.contains("knows no command with the reference"),
        "{nobody:?}"
    );
    let daemon = made_anew(&rig, &daemon, &folder).await;
    assert_erased(&rig, &folder, &refused).await;
    assert!(!lies_in(&folder, REFERENCE));
    rig.finish(&daemon).await;
}
