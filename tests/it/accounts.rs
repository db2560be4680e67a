//! Tests accounts of one provider: each with its own credentials, limits and endpoint, on one
//! queue.

use serde_json::{Value, json};

use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, and, charge, command, dead, word};
use crate::signed_webhooks::{
    KEYS, TOKEN_KEY, TOKEN_KEYS, account_notice_body, call_at, notice_body,
};

/// Makes a rig whose provider `acme` has the accounts `default` and `us`, each called at a path of
/// its own.
async fn rig(keys: &str) -> TestRig {
    let keys = format!("accounts_dir = \"accounts\"\n{keys}");
    let file = SandboxFile { keys: &keys, operations: KEYS, unhurried: true };
    let rig = TestRig::with("[shutdown]\ngrace_period = \"1s\"", &[("acme", file)]).await;
    let mut rig = rig
        .changed("acme", "secrets = { api_key", "account = { path = \"eu\" }\nsecrets = { spare")
        .changed("acme", "\"\nca_file", "/{{ account.path }}\"\nca_file")
        .env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com")
        .env(TOKEN_KEYS, TOKEN_KEY);
    for (name, account) in [("default", ""), ("us", "[account]\npath = \"us\"\n")] {
        let secrets = format!(
            "[secrets]\napi_key = \"sk-{name}-77\"\nwebhook = \"whsec-0123456789-{name}\"\n"
        );
        rig.setup =
            rig.setup.file(&format!("providers/accounts/{name}.toml"), &(secrets + account));
    }
    rig
}

fn of_us(command: Value) -> Value {
    and(command, json!({"account": "us"}))
}

#[tokio::test]
async fn a_command_is_carried_out_by_its_account_and_no_other() {
    let rig = rig("").await;
    let daemon = rig.start().await;
    for (command, account) in
        [(charge("a", json!({})), "default"), (of_us(charge("b", json!({}))), "us")]
    {
        let event = rig.carry(&command).await;
        assert_eq!(
            (word(&event, "data.state"), word(&event, "data.command.account")),
            ("completed", account)
        );
    }
    let paths = rig.sandbox.calls().paths;
    assert_eq!((paths["/eu/acme/charges"], paths["/us/acme/charges"], paths.len()), (1, 1, 2));
    let event = rig.carry(&and(charge("c", json!({})), json!({"account": "mars"}))).await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("invalid", "unknown_account")
    );
    let dead = dead(&rig.dead_letters("acme", 1).await[0]);
    assert_eq!(word(&dead, "code"), "unknown_account");
    let log = daemon.log_text();
    assert!(!log.contains("sk-us-77") && !log.contains("sk-default-77"));
    rig.finish(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_whose_calls_hang_holds_up_no_other() {
    let rig = rig("max_in_flight = 2").await;
    let daemon = rig.start().await;
    let hang = |number| {
        of_us(command("acme", "send", &format!("slow-{number}"), json!({"hang": "before_answer"})))
    };
    // More than the whole provider may hold at a time.
    let hanging: Vec<_> = (0..40).map(hang).collect();
    rig.broker.publish_commands(&hanging).await;
    eventually(SOON, "two calls hang", async || {
        (rig.sandbox.calls().concurrent >= 2).then_some(())
    })
    .await;
    for number in 0..5 {
        let event = rig.carry(&charge(&format!("swift-{number}"), json!({}))).await;
        assert_eq!(word(&event, "data.state"), "completed");
    }
    let calls = rig.sandbox.calls();
    assert_eq!(
        (calls.paths["/us/acme/messages"], calls.concurrent),
        (2, 2),
        "no more than it may get"
    );
    // Commands that wait for their turn have spent no attempt, and come back.
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    rig.broker.await_depth("ferry.commands.acme", 40).await;
}

#[tokio::test]
async fn a_call_of_one_account_says_nothing_about_the_commands_of_another() {
    let rig = rig("").await;
    let daemon = rig.start().await;
    for (id, us) in [("eu-1", false), ("us-1", true)] {
        let accepted = charge(id, json!({"accepted": true}));
        rig.publish(&if us { of_us(accepted) } else { accepted }).await;
        rig.events
            .first(SOON, |event| event["subject"] == id && word(event, "data.state") == "waiting")
            .await;
    }
    let ends_us = account_notice_body("us", "e-1", "charge.succeeded", json!({"command": "us-1"}));
    // The secret of one account is invalid at the endpoint of the other, and an unknown account
    // gets the same answer.
    for (endpoint, secret, status) in [
        ("acme/us", "whsec-0123456789-default", 401),
        ("acme", "whsec-0123456789-us", 401),
        ("acme/mars", "whsec-0123456789-us", 401),
    ] {
        assert_eq!(call_at(&daemon, endpoint, secret, &ends_us).await, Some(status), "{endpoint}");
    }
    // Signed by the default account, the call is published as an event, and belongs to no command
    // of that account.
    assert_eq!(call_at(&daemon, "acme", "whsec-0123456789-default", &ends_us).await, Some(200));
    let event = rig.events.first(SOON, |event| event["id"] == "webhook/acme/default/e-1").await;
    assert_eq!(event["data"].get("command"), None);
    assert_eq!(call_at(&daemon, "acme/us", "whsec-0123456789-us", &ends_us).await, Some(200));
    assert_eq!(word(&rig.terminal("us-1").await, "data.state"), "completed");
    let event = rig.events.first(SOON, |event| event["id"] == "webhook/acme/us/e-1").await;
    assert_eq!(word(&event, "data.command.id"), "us-1");
    let ends_eu = notice_body("e-2", "charge.succeeded", json!({"command": "eu-1"}));
    assert_eq!(
        call_at(&daemon, "acme/default", "whsec-0123456789-default", &ends_eu).await,
        Some(200)
    );
    assert_eq!(word(&rig.terminal("eu-1").await, "data.state"), "completed");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn what_waits_for_an_account_that_is_removed_is_left_to_a_person() {
    let rig = rig("").await;
    let daemon = rig.start().await;
    let doubtful = of_us(charge("doubtful", json!({"status": 500})));
    let refused = of_us(charge("refused", json!({"status": 429})));
    for (number, command) in [(1, doubtful), (2, refused)] {
        rig.publish(&command).await;
        rig.broker.await_depth("ferry.retry.1s", number).await;
    }
    rig.end(&daemon).await;
    std::fs::remove_file(rig.setup.path().join("providers/accounts/us.toml")).unwrap();
    let daemon = rig.start().await;
    for (id, kind) in [("doubtful", "unresolved"), ("refused", "unavailable")] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            (kind, "unknown_account")
        );
        assert_eq!(event["data"]["error"]["dead_lettered"], true);
    }
    rig.finish(&daemon).await;
}
