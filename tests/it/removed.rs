//! Commands that still wait when their provider is taken out of the configuration.

use std::fs;

use serde_json::json;

use crate::rig::{File, Rig, SOON, command, dead, word};

/// Long enough that the provider is gone before the next attempt.
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
    let gone = File { operations: OPERATIONS, ..File::default() };
    let rig = Rig::with("", &[("acme", File::default()), ("gone", gone)]).await;
    let daemon = rig.start().await;
    rig.publish(&command("gone", "pay", "not-acted", json!({"status": 429}))).await;
    rig.publish(&command("gone", "pay", "perhaps-acted", json!({"status": 500}))).await;
    rig.broker.await_depth("ferry.retry.5s", 2).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    fs::remove_file(rig.setup.path().join("providers/gone.toml")).unwrap();
    rig.broker.delete_queue("ferry.commands.gone").await;

    let daemon = rig.start().await;
    for (id, kind, unknown) in [("not-acted", "unavailable", false), ("perhaps-acted", "unresolved", true)] {
        let event = rig.terminal(id).await;
        assert_eq!((word(&event, "data.error.kind"), word(&event, "data.error.code")), (kind, "provider_removed"));
        assert_eq!(word(&event, "data.command.provider"), "gone");
        let letters = rig.dead_letters("gone", 2).await;
        let letter = letters.iter().map(dead).find(|letter| word(letter, "command.id") == id).unwrap();
        assert_eq!((&letter["unknown"], word(&letter, "key")), (&json!(unknown), id), "{letter:#}");
        assert_eq!((letter["history"].as_array().unwrap().len(), rig.calls(id).calls), (1, 1), "{letter:#}");
    }
    // A fresh command for it is a publisher's mistake.
    let event = rig.carry(&command("gone", "pay", "too-late", json!({}))).await;
    assert_eq!((word(&event, "data.error.kind"), word(&event, "data.error.code")), ("invalid", "unknown_provider"));
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}
