//! Tests of echoes by providers: an id proves its command only with ferryd's token beside it.

use serde_json::{Value, json};

use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, call_records, command, word};
use crate::signed_webhooks::{TOKEN_KEY, bare_notice_body, call, notice_body, token_of};

const SECRET: &str = "whsec-acme-0123456789";
const KEYS: &str = "FERRYD_WEBHOOKS__SIGNING_KEYS";

/// A provider file whose calls echo an id, which any customer of the provider can write, and a
/// token, which no payload can hold.
const FILE: &str = r#"
[operations.pay]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["5s", "5s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", token = "{{ command_token }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.response]
reference = "{{ body.id }}"
result = { token = "{{ body.request.token }}", end = "{{ body.request.token[20:] }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

async fn rig() -> TestRig {
    let operations = format!("{FILE}\n{}", crate::signed_webhooks::KEYS);
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await;
    rig.signed_by(SECRET, "https://hooks.example.com")
}

fn pay(id: &str, sandbox: Value) -> Value {
    command("acme", "pay", id, sandbox)
}

fn paid(id: &str, more: Value) -> Value {
    bare_notice_body(id, "charge.succeeded", more)
}

/// Waits for the event about a call.
async fn received(rig: &TestRig, id: &str) -> Value {
    let id = format!("webhook/acme/default/{id}");
    rig.events.first(SOON, |event| event["id"] == id).await
}

/// Returns the masked token that the provider echoes, and the end of it, which the provider's file
/// has cut off.
fn shown_token(event: &Value) -> (&str, &str) {
    (word(event, "data.result.token"), word(event, "data.result.end"))
}

fn has_ended(rig: &TestRig, id: &str) -> bool {
    rig.events
        .of(id)
        .iter()
        .any(|event| matches!(word(event, "data.state"), "completed" | "failed"))
}

#[tokio::test]
async fn the_id_of_another_command_ends_it_with_the_token_that_only_ferryd_can_make() {
    let rig = rig().await.env(KEYS, TOKEN_KEY);
    let daemon = rig.start().await;
    for id in ["victim", "thief"] {
        rig.publish(&pay(id, json!({"accepted": true}))).await;
    }
    let waiting = rig.events.state("victim", "waiting", SOON).await;
    rig.events.state("thief", "waiting", SOON).await;
    let (token, of_thief) = (token_of("default", "victim"), token_of("default", "thief"));
    assert_eq!(shown_token(&waiting), ("***", &token[20..]));
    for (id, token) in [
        ("none", json!(null)),
        ("bad", json!("AVE0AAM")),
        ("others", json!(of_thief)),
        ("empty", json!("")),
    ] {
        let forged = paid(id, json!({"command": "victim", "token": token, "about": "sb_thief"}));
        assert_eq!(call(&daemon, &forged).await, Some(200));
        let event = received(&rig, id).await;
        assert!(event.get("subject").is_none(), "{event:#}");
    }
    let says = |line: &Value| line["message"] == "a webhook does not prove its command";
    daemon.wait_for_logs(2, SOON, |line| says(line) && line["command.id"] == "victim").await;
    rig.events.catch_up().await;
    assert!(!has_ended(&rig, "victim"));

    assert_eq!(
        call(&daemon, &paid("good", json!({"command": "victim", "token": token}))).await,
        Some(200)
    );
    assert_eq!(word(&rig.terminal("victim").await, "data.state"), "completed");
    let event = received(&rig, "good").await;
    assert_eq!((word(&event, "subject"), word(&event, "data.body.token")), ("victim", "***"));
    assert!(!has_ended(&rig, "thief"));
    let shown = call_records(&daemon, "victim")[0].to_string();
    assert!(shown.contains("***") && !shown.contains(&token), "{shown}");
    assert!(daemon.logs(|line| line.to_string().contains(&token)).is_empty());
    rig.end(&daemon).await;
}

#[tokio::test]
async fn without_a_key_for_tokens_only_the_providers_own_reference_is_verified() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&pay("bare", json!({"accepted": true}))).await;
    let waiting = rig.events.state("bare", "waiting", SOON).await;
    assert_eq!(waiting["data"]["result"].get("token").unwrap_or(&Value::Null), &Value::Null);
    for (id, token) in [("none", json!(null)), ("made-up", json!(token_of("default", "bare")))] {
        let forged = paid(id, json!({"command": "bare", "token": token}));
        assert_eq!(call(&daemon, &forged).await, Some(200));
        assert!(received(&rig, id).await.get("subject").is_none());
    }
    rig.events.catch_up().await;
    assert!(!has_ended(&rig, "bare"));
    let known = json!({"about": word(&waiting, "data.provider_reference")});
    assert_eq!(call(&daemon, &paid("known", known)).await, Some(200));
    assert_eq!(word(&rig.terminal("bare").await, "data.state"), "completed");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn what_was_sent_without_a_token_is_sent_again_as_it_was_once_there_is_a_key_for_one() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&pay("again", json!({"accepted": true, "fail_times": 1}))).await;
    eventually(SOON, "it is to be tried again", async || {
        rig.broker.peek("ferry.retry.5s").await.into_iter().next()
    })
    .await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    let rig = rig.env(KEYS, TOKEN_KEY);
    let daemon = rig.start().await;
    // The provider accepts no other request under the same key.
    let waiting = rig.events.state("again", "waiting", SOON).await;
    assert_eq!(
        waiting["data"]["result"].get("token").unwrap_or(&Value::Null),
        &Value::Null,
        "{waiting:#}"
    );
    assert_eq!((rig.calls("again").calls, rig.calls("again").acted), (2, 1));
    rig.publish(&pay("new", json!({"accepted": true}))).await;
    let waiting = rig.events.state("new", "waiting", SOON).await;
    assert_eq!(shown_token(&waiting), ("***", &token_of("default", "new")[20..]));
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_request_that_is_made_again_has_its_token_also_after_a_change_of_keys() {
    let rig = rig().await.env(KEYS, TOKEN_KEY);
    let daemon = rig.start().await;
    rig.publish(&pay("kept", json!({"accepted": true, "fail_times": 1}))).await;
    eventually(SOON, "the first call", async || (rig.calls("kept").calls == 1).then_some(())).await;
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    let rig = rig.env(KEYS, &format!("fedcba9876543210fedcba9876543210,{TOKEN_KEY}"));
    let daemon = rig.start().await;
    let waiting = rig.events.state("kept", "waiting", SOON).await;
    assert_eq!(shown_token(&waiting), ("***", &token_of("default", "kept")[20..]));
    assert_eq!(
        call(&daemon, &notice_body("evt-1", "charge.succeeded", json!({"command": "kept"}))).await,
        Some(200)
    );
    assert_eq!(word(&rig.terminal("kept").await, "data.state"), "completed");
    rig.end(&daemon).await;
}
