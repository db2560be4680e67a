//! Erasing commands at a person's request: what leaves at once and for good, and that nothing is
//! called again.

use std::path::Path;

use serde_json::{Value, json};

use super::api_client::ferryd_with;
use super::operator_bench::CommandResult;
use super::recorded::{ferryd, ferryd_json};
use crate::copies::{answers, ask, with_replies};
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, send, word};

/// Reference that all commands of one person share.
pub(super) const REFERENCE: &str = "customer-jane";
pub(super) const BY: [&str; 4] = ["--by", "ann", "--reason", "request 4711"];

/// Text that only one command of the person contains.
pub(super) fn secret(id: &str) -> String {
    format!("{id}@jane.example.com")
}

pub(super) fn of_jane(id: &str, command: Value) -> Value {
    and(command, json!({"reference": REFERENCE, "metadata": {"mail": secret(id)}}))
}

/// Returns true if a file in the folder of an index contains the text.
pub(super) fn lies_in(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let bytes: Vec<u8> =
        files.filter(|path| path.is_file()).flat_map(|path| std::fs::read(path).unwrap()).collect();
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The tokens of which one may erase.
pub(super) const TOKENS: &str =
    "[[api.tokens]]\nname = 'privacy'\nrole = 'erase'\ntoken = 'privacy-0123456789abcdef'\n";

/// Erases with that token.
pub(super) async fn erase(rig: &TestRig, more: &[&str]) -> CommandResult {
    let token = [("FERRYD_TOKEN", "privacy-0123456789abcdef")];
    ferryd_with(rig, &token, &[&["erase"], more, &BY, &["--json"]].concat()).await
}

/// The outcome of each command, and why it stays.
pub(super) fn outcomes(ended: &CommandResult) -> Vec<(String, String, String)> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let commands = ended.json()["commands"].as_array().unwrap().clone();
    commands
        .iter()
        .map(|one| (text(one, "id"), text(one, "outcome"), text(one, "reason")))
        .collect()
}

/// Waits until the index of a host holds what was said of a command.
pub(super) async fn saved(folder: &Path, id: &str) {
    let text = secret(id);
    eventually(SOON, "the index holds it", async || lies_in(folder, &text).then_some(())).await;
}

#[tokio::test]
async fn erased_data_is_shown_nowhere_and_what_cannot_be_erased_is_named() {
    let rig = TestRig::new(TOKENS).await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    rig.carry(&of_jane("paid", charge("paid", json!({})))).await;
    rig.carry(&of_jane("refused", charge("refused", json!({"decline": "card_declined"})))).await;
    rig.carry(&of_jane("dead", send("dead", json!({"status": 500})))).await;
    rig.publish(&and(
        of_jane("early", charge("early", json!({}))),
        json!({"not_before": "2126-01-01T00:00:00Z"}),
    ))
    .await;
    rig.carry(&charge("of-john", json!({}))).await;
    for id in ["paid", "refused", "dead", "early"] {
        saved(&folder, id).await;
    }
    assert_eq!(ferryd(&rig, &["calls", "paid"]).await.code, Some(0));

    let dry = erase(&rig, &["--reference", REFERENCE, "--dry-run"]).await;
    assert_eq!(
        (dry.code, ferryd_json(&rig, &["status", "paid"]).await["reference"].as_str()),
        (Some(1), Some(REFERENCE))
    );
    let first = erase(&rig, &["--reference", REFERENCE]).await;
    assert_eq!((first.code, outcomes(&first)), (Some(1), outcomes(&dry)), "{first:?}");
    let reported = outcomes(&first);
    let of = |id: &str| reported.iter().find(|(named, ..)| named == id).unwrap();
    assert_eq!(
        (of("paid").1.as_str(), of("refused").1.as_str(), reported.len()),
        ("erased", "erased", 4)
    );
    assert!(
        of("dead").1 == "kept" && of("dead").2.contains("`ferryd dead-letters discard dead`"),
        "{reported:?}"
    );
    assert!(
        of("early").1 == "kept" && of("early").2.contains("`ferryd cancel early`"),
        "{reported:?}"
    );

    for id in ["paid", "refused"] {
        assert!(!lies_in(&folder, &secret(id)), "{id}");
        let status = ferryd_json(&rig, &["status", id]).await;
        assert_eq!(
            status["removal"]["erased"]["actor"],
            json!({"by": "ann via api:privacy", "reason": "request 4711"})
        );
        assert!(!status.to_string().contains("jane"), "{status:#}");
        for more in [&[][..], &["--since", "1h"]] {
            let shown = ferryd(&rig, &[&["calls", id], more].concat()).await;
            assert!(
                shown.code == Some(1) && shown.err.contains("were erased") && shown.out.is_empty(),
                "{shown:?}"
            );
        }
    }
    let listed = ferryd_json(&rig, &["commands", "--reference", REFERENCE]).await;
    assert_eq!(listed["commands"].as_array().unwrap().len(), 2);
    assert!(ferryd_json(&rig, &["status", "of-john"]).await.get("removal").is_none());
    let again = erase(&rig, &["--id", "paid"]).await;
    assert_eq!((again.code, outcomes(&again)[0].1.as_str()), (Some(0), "already_erased"));

    assert_eq!(
        ferryd(&rig, &[&["dead-letters", "discard", "dead"], &BY[..]].concat()).await.code,
        Some(0)
    );
    assert_eq!(ferryd(&rig, &["cancel", "early", "--by", "ann"]).await.code, Some(0));
    let whole = eventually(SOON, "all is erased", async || {
        let ended = erase(&rig, &["--reference", REFERENCE]).await;
        (ended.code == Some(0)).then_some(ended)
    })
    .await;
    assert!(outcomes(&whole).iter().all(|(_, outcome, _)| outcome == "erased"), "{whole:?}");
    assert!(!lies_in(&folder, "jane"));
    let nobody = erase(&rig, &["--reference", REFERENCE]).await;
    assert!(
        nobody.code == Some(1) && nobody.err.contains("knows no command with the reference"),
        "{nobody:?}"
    );
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    assert!(!lies_in(&folder, "jane"));
}

#[tokio::test]
async fn a_duplicate_of_an_erased_command_calls_nobody_also_by_an_index_that_is_made_anew() {
    for command in [charge("paid", json!({})), send("paid", json!({}))] {
        let rig = with_replies(TestRig::new(TOKENS).await).await;
        let folder = rig.setup.path().join("state");
        let daemon = rig.start().await;
        let command = of_jane("paid", command);
        ask(&rig, &command, 1).await;
        rig.terminal("paid").await;
        saved(&folder, "paid").await;
        eventually(SOON, "it is erased", async || {
            (erase(&rig, &["--id", "paid"]).await.code == Some(0)).then_some(())
        })
        .await;
        check_duplicates(&rig, &command, 2).await;
        daemon.kill9();
        std::fs::remove_dir_all(&folder).unwrap();
        let daemon = rig.start().await;
        check_duplicates(&rig, &command, 3).await;
        assert!(!lies_in(&folder, &secret("paid")));
        assert_eq!(
            ferryd_json(&rig, &["status", "paid"]).await["removal"]["erased"]["actor"]["by"],
            "ann via api:privacy"
        );
        rig.finish(&daemon).await;
    }
}

/// Publishes an erased command again, and another under its id.
pub(super) async fn check_duplicates(rig: &TestRig, command: &Value, call: u32) {
    ask(rig, command, call).await;
    let answers = answers(rig, call.try_into().unwrap()).await;
    let answer = &answers[&format!("call-{call}")];
    assert_eq!(word(answer, "data.state"), "completed");
    assert!(
        word(answer, "data.warnings").is_empty()
            && answer["data"]["warnings"][0].as_str().unwrap().starts_with("erased")
    );
    assert!(
        answer["data"].get("result").is_none() && !answer.to_string().contains("jane"),
        "{answer:#}"
    );
    let mut other = command.clone();
    other["payload"]["amount"] = json!(call);
    rig.publish(&other).await;
    let is_conflict = |event: &Value| event["type"] == "ferry.command.conflict";
    eventually(SOON, "the conflict is published", async || {
        let conflicts = rig.events.of("paid").iter().filter(|event| is_conflict(event)).count();
        (conflicts + 1 == usize::try_from(call).unwrap()).then_some(())
    })
    .await;
    assert_eq!(rig.calls("paid").calls, 1);
}

#[tokio::test]
async fn an_instance_that_died_before_it_read_of_an_erasure_applies_it_at_its_next_start() {
    let rig = TestRig::new(TOKENS).await;
    let folder = rig.setup.path().join("state");
    let daemon = rig.start().await;
    rig.carry(&of_jane("paid", charge("paid", json!({})))).await;
    rig.carry(&of_jane("other", charge("other", json!({})))).await;
    eventually(SOON, "its end is known to be published", async || {
        let known = ferryd(&rig, &["status", "paid"]).await.out;
        (known.contains("completed") && !known.contains("not known to be published")).then_some(())
    })
    .await;
    saved(&folder, "paid").await;
    daemon.kill9();
    // As a daemon on another host, which has an index of its own.
    let rig = rig.env("FERRYD_LEDGER__DIR", "elsewhere");
    let elsewhere = rig.start().await;
    let ended = erase(&rig, &["--id", "paid"]).await;
    assert_eq!((ended.code, outcomes(&ended)[0].1.as_str()), (Some(0), "erased"));
    elsewhere.kill9();
    let rig = rig.env("FERRYD_LEDGER__DIR", "state");
    assert!(lies_in(&folder, &secret("paid")), "nobody has read of it here");
    assert!(!lies_in(&rig.setup.path().join("elsewhere"), &secret("paid")));
    let daemon = rig.start().await;
    eventually(SOON, "it is gone", async || (!lies_in(&folder, &secret("paid"))).then_some(()))
        .await;
    assert!(lies_in(&folder, &secret("other")));
    rig.finish(&daemon).await;
}
