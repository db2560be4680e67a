//! Tests commands that still wait when their provider is changed or removed from the configuration.

use std::fs;

use lapin::options::{BasicGetOptions, BasicNackOptions};
use serde_json::json;

use crate::operator::recorded::ferryd_json;
use crate::rig::{SOON, SandboxFile, TestRig, command, dead, word};

/// Operations with a retry so late that the provider file is changed before the next attempt.
const OPERATIONS: &str = r#"
[operations.pay]
request = { method = "POST", path = "/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["5s"], jitter = false }
[operations.pay.body]
id = "{{ command.id }}"
sandbox = "{{ payload.sandbox }}"
"#;

#[tokio::test]
async fn what_waits_for_a_removed_provider_ends_with_its_outcome_so_far() {
    let gone = SandboxFile { operations: OPERATIONS, ..SandboxFile::default() };
    let rig = TestRig::with("", &[("acme", SandboxFile::default()), ("gone", gone)]).await;
    let daemon = rig.start().await;
    rig.publish(&command("gone", "pay", "not-acted", json!({"status": 429}))).await;
    rig.publish(&command("gone", "pay", "perhaps-acted", json!({"status": 500}))).await;
    rig.broker.await_depth("ferry.retry.5s", 2).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    fs::remove_file(rig.setup.path().join("providers/gone.toml")).unwrap();
    rig.broker.delete_queue("ferry.commands.gone").await;

    let daemon = rig.start().await;
    for (id, kind, unknown) in
        [("not-acted", "unavailable", false), ("perhaps-acted", "unresolved", true)]
    {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            (kind, "provider_removed")
        );
        assert_eq!(word(&event, "data.command.provider"), "gone");
        let letters = rig.dead_letters("gone", 2).await;
        let letter =
            letters.iter().map(dead).find(|letter| word(letter, "command.id") == id).unwrap();
        assert_eq!((&letter["unknown"], word(&letter, "key")), (&json!(unknown), id), "{letter:#}");
        assert_eq!(
            (letter["history"].as_array().unwrap().len(), rig.calls(id).calls),
            (1, 1),
            "{letter:#}"
        );
    }
    // A fresh command for it is a publisher's mistake.
    let event = rig.carry(&command("gone", "pay", "too-late", json!({}))).await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("invalid", "unknown_provider")
    );

    // A person finds them all, and resolves them all.
    rig.dead_letters("gone", 3).await;
    assert_eq!(ferryd_json(&rig, &["dead-letters", "list"]).await.as_array().unwrap().len(), 3);
    let listed = ferryd_json(&rig, &["dead-letters", "list", "--queues"]).await;
    let queues: Vec<_> =
        listed.as_array().unwrap().iter().map(|dead| word(dead, "queue")).collect();
    assert_eq!(queues, ["ferry.dead.gone"; 3]);
    assert_eq!(
        ferryd_json(&rig, &["dead-letters", "show", "not-acted", "--message"]).await[0]["queue"],
        "ferry.dead.gone"
    );
    for (more, left) in [(&["--dry-run"][..], 3), (&[], 0)] {
        let discard =
            ["dead-letters", "discard", "--all", "--by", "ann", "--reason", "the provider is gone"];
        assert_eq!(ferryd_json(&rig, &[&discard, more].concat()).await["done"], 3, "{more:?}");
        rig.broker.await_depth("ferry.dead.gone", left).await;
    }
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

/// Rewrites a provider file.
fn edit(rig: &TestRig, provider: &str, change: impl Fn(String) -> String) {
    let path = rig.setup.path().join(format!("providers/{provider}.toml"));
    fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
}

/// Delivers the only message of a queue once, to a consumer that requeues it.
async fn deliver_once(rig: &TestRig, queue: &str) {
    rig.broker.await_depth(queue, 1).await;
    let channel = rig.broker.channel().await;
    let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap().unwrap();
    let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    got.delivery.acker.nack(again).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_a_provider_that_no_longer_fits_it_ends_with_its_outcome_so_far() {
    let providers = ["fewer", "stricter", "broken"];
    let pay = || SandboxFile { operations: OPERATIONS, ..SandboxFile::default() };
    let rig = TestRig::with("", &providers.map(|name| (name, pay()))).await;
    let daemon = rig.start().await;
    for provider in providers {
        rig.publish(&command(
            provider,
            "pay",
            &format!("{provider}-not-acted"),
            json!({"status": 429}),
        ))
        .await;
        rig.publish(&command(
            provider,
            "pay",
            &format!("{provider}-perhaps-acted"),
            json!({"status": 500}),
        ))
        .await;
    }
    rig.broker.await_depth("ferry.retry.5s", 6).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    edit(&rig, "fewer", |text| text.replace("operations.pay", "operations.paid"));
    edit(&rig, "stricter", |text| text + "\n[operations.pay.payload]\nrequired = [\"iban\"]\n");
    edit(&rig, "broken", |text| text.replace("{{ command.id }}", "order {{ payload.number }}"));

    let daemon = rig.start().await;
    for (provider, code) in
        providers.into_iter().zip(["unknown_operation", "invalid_payload", "invalid_request"])
    {
        for (end, kind) in [("not-acted", "unavailable"), ("perhaps-acted", "unresolved")] {
            let event = rig.terminal(&format!("{provider}-{end}")).await;
            assert_eq!(
                (word(&event, "data.error.kind"), word(&event, "data.error.code")),
                (kind, code),
                "{event:#}"
            );
        }
        let event =
            rig.carry(&command(provider, "pay", &format!("{provider}-fresh"), json!({}))).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            ("invalid", code),
            "{event:#}"
        );
    }
    rig.finish(&daemon).await;

    // A process held the message before, perhaps a ferryd that still knew the operation. The ledger
    // knows that no call was begun.
    rig.publish(&command("fewer", "pay", "held-before", json!({}))).await;
    deliver_once(&rig, "ferry.commands.fewer").await;
    let daemon = rig.start().await;
    assert_eq!(word(&rig.terminal("held-before").await, "data.error.kind"), "invalid");
    rig.finish(&daemon).await;
}
