//! Tests unsigned webhooks: they end nothing, and at most cause a lookup of their command.

use serde_json::{Value, json};

use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, word};
use crate::signed_webhooks::{TOKEN_KEY, TOKEN_KEYS, call, ends, notice_body};

/// A webhook table for unsigned calls that name their command and its token.
pub(crate) const BY_COMMAND: &str = r#"
[webhook]
trust = "lookup"
verify = "none"
event = "{{ body.type }}"
command = "{{ body.command }}"
token = "{{ body.token }}"
[[webhook.on]]
when = "body.type == 'charge.succeeded'"
as = "lookup"
"#;

/// A webhook table for unsigned calls that name the provider's own reference.
const BY_REFERENCE: &str = r#"
[webhook]
verify = "none"
event = "{{ body.type }}"
id = "{{ body.id }}"
reference = "{{ body.about }}"
[[webhook.on]]
when = "body.type == 'charge.succeeded'"
as = "completed"
"#;

/// The operation `pay`, which can be looked up by the id of its command.
const PAY: &str = r#"
[operations.pay]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["1s", "1s"], jitter = false }
deadline = "2d"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.pay.response]
reference = "{{ body.id }}"
result = { id = "{{ body.id }}", status = "{{ body.status }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

/// Makes a rig with an endpoint for unsigned calls of `acme`, about its operation `pay`; `more` is
/// added to the operation.
pub(crate) async fn unsigned_rig(webhook: &str, more: &str) -> TestRig {
    let operations = format!("{webhook}{PAY}{more}");
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await;
    rig.env("FERRYD_WEBHOOKS__BIND", "127.0.0.1:0")
        .env("FERRYD_WEBHOOKS__PUBLIC_URL", "https://hooks.example.com")
        .env(TOKEN_KEYS, TOKEN_KEY)
}

/// Builds a command for the operation `pay`.
pub(crate) fn pay(id: &str, sandbox: Value) -> Value {
    command("acme", "pay", id, sandbox)
}

#[tokio::test]
async fn a_call_that_is_not_verified_only_has_its_command_looked_up() {
    let rig = unsigned_rig(BY_COMMAND, "").await;
    let daemon = rig.start().await;
    rig.publish(&pay("late", json!({"accepted": true}))).await;
    rig.events.state("late", "waiting", SOON).await;
    let says_so = |id: &str| notice_body(id, "charge.succeeded", json!({"command": "late"}));
    let query_count = || rig.count_queries("late");
    // The notice is not true yet: the provider's answer counts.
    assert_eq!(call(&daemon, &says_so("evt-1")).await, Some(200));
    eventually(SOON, "it is queried", async || (query_count() == 1).then_some(())).await;
    rig.broker.await_depth("ferry.commands.acme", 0).await;
    assert_eq!(
        rig.events
            .of("late")
            .iter()
            .filter(|event| word(event, "data.state") == "completed")
            .count(),
        0
    );
    rig.sandbox.end("late", "succeeded");
    eventually(SOON, "it has ended", async || {
        assert_eq!(call(&daemon, &says_so("evt-2")).await, Some(200));
        let ended =
            rig.events.of("late").iter().any(|event| word(event, "data.state") == "completed");
        ended.then_some(())
    })
    .await;
    assert_eq!((rig.calls("late").calls, rig.calls("late").acted), (1, 1));
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_call_that_is_not_verified_and_overtakes_the_answer_has_its_command_looked_up_after_it() {
    let rig = unsigned_rig(BY_COMMAND, "").await;
    let daemon = rig.start().await;
    rig.publish(&pay("quick", json!({"accepted": true, "latency": "1500ms"}))).await;
    eventually(SOON, "it is called", async || (rig.sandbox.calls().concurrent == 1).then_some(()))
        .await;
    let body = notice_body("evt-1", "charge.succeeded", json!({"command": "quick"}));
    assert_eq!(call(&daemon, &body).await, Some(200));
    rig.events.state("quick", "waiting", SOON).await;
    rig.sandbox.end("quick", "succeeded");
    assert_eq!(word(&rig.terminal("quick").await, "data.state"), "completed");
    assert_eq!((rig.calls("quick").calls, rig.calls("quick").acted), (1, 1));
    rig.end(&daemon).await;
}

#[tokio::test]
async fn an_unsigned_webhook_is_published_as_unverified_ends_nothing_and_causes_a_limited_number_of_lookups()
 {
    let rig = unsigned_rig(BY_REFERENCE, "").await;
    let daemon = rig.start().await;
    rig.publish(&pay("forged", json!({"accepted": true}))).await;
    let waiting = rig.events.state("forged", "waiting", SOON).await;
    let reference = word(&waiting, "data.provider_reference").to_owned();
    let paid = |id: &str| json!({"type": "charge.succeeded", "id": id, "about": reference, "card": "4111 1111 1111 1111"});
    assert_eq!(call(&daemon, &paid("evt-1")).await, Some(200));
    let is_received = |event: &Value| event["type"] == "ferry.webhook.received";
    let event = rig.events.first(SOON, is_received).await;
    assert!(word(&event, "id").starts_with("unverified/acme/default/"), "{event:#}");
    assert_eq!(
        (&event["data"]["verified"], &event["data"]["body"]),
        (&json!(false), &Value::Null),
        "{event:#}"
    );
    assert_eq!((word(&event, "data.meaning"), word(&event, "subject")), ("lookup", "forged"));
    let query_count = || rig.count_queries("forged");
    eventually(SOON, "it is queried", async || (query_count() >= 1).then_some(())).await;
    // Forged by the dozen, one after the other, each under an id of its own.
    for number in 2..30 {
        assert_eq!(call(&daemon, &paid(&format!("evt-{number}"))).await, Some(200));
        tokio::task::yield_now().await;
    }
    rig.broker.await_depth("ferry.webhooks.acme", 0).await;
    let refused = |line: &Value| {
        word(line, "message").starts_with("unverified webhooks request lookups too often")
    };
    daemon.wait_for_log(SOON, refused).await;
    assert!(ends(&rig, "forged").is_empty(), "nothing ends by what anybody can say");
    rig.sandbox.end("forged", "succeeded");
    rig.publish(&pay("other", json!({}))).await;
    assert_eq!(word(&rig.terminal("other").await, "data.state"), "completed");
    let most = 3;
    assert!(query_count() <= most, "{} lookups", query_count());
    rig.end(&daemon).await;
}
