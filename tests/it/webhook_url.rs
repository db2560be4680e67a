//! Tests webhook URLs: a webhook names its command by the URL that was called, and by nothing
//! else.

use ferryd_domain::name::Name;
use ferryd_domain::webhook_token::{self, TokenKey, TokenScope};
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, call_records, command, word};
use crate::signed_webhooks::{call_at as call_endpoint, notice_body};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const NEXT_KEY: &str = "fedcba9876543210fedcba9876543210";
const KEYS: &str = "FERRYD_WEBHOOKS__SIGNING_KEYS";

/// A provider file with a webhook URL. The provider reports neither an id of its own nor the
/// command's.
const FILE: &str = r#"
[webhook]
event = "{{ body.type }}"
id = "{{ body.id }}"
verify = VERIFY
[[webhook.on]]
when = "body.type == 'done'"
as = "completed"
result = { done = true }

[operations.pay]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["5s", "5s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", notify = "{{ webhook_url }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.response]
result = { url = "{{ body.request.notify }}", start = "{{ body.request.notify[:70] }}", end = "{{ body.request.notify[70:] }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"

[operations.order]
request = { method = "POST", path = "/acme/order" }
retry = { schedule = ["1s"], jitter = false }
body = { id = "{{ command.id }}", notify = "{{ webhook_url }}", sandbox = "{{ payload.sandbox }}" }
[operations.order.response]
result = { url = "{{ body.request.notify }}", start = "{{ body.request.notify[:70] }}", end = "{{ body.request.notify[70:] }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

const SIGNED: &str = r#"{ algorithm = "hmac_sha256", keys = [{ secret = "{{ secrets.webhook }}" }], signature = { header = "x-signature", encoding = "hex" }, signed = "{{ body }}" }"#;

async fn rig(verify: &str) -> TestRig {
    let operations = FILE.replace("VERIFY", verify);
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await;
    rig.signed_by(SECRET, "https://hooks.example.com").env(KEYS, KEY)
}

const SECRET: &str = "whsec-acme-0123456789";

/// Calls a path with a query, signed.
async fn call_at(daemon: &RunningDaemon, target: &str, body: &Value) -> Option<u16> {
    call_endpoint(daemon, target.strip_prefix("/webhooks/").unwrap(), SECRET, body).await
}

fn pay(id: &str, sandbox: &Value) -> Value {
    command("acme", "pay", id, sandbox.clone())
}

/// Returns path and query of the webhook URL that the provider was given for a command that waits.
async fn target(rig: &TestRig, id: &str) -> String {
    let event = rig.events.state(id, "waiting", SOON).await;
    assert_eq!(
        word(&event, "data.result.url"),
        "https://hooks.example.com/webhooks/acme?ferry=***",
        "{event:#}"
    );
    // The provider's file has split the URL, because an unsplit one would be masked.
    let url = ["data.result.start", "data.result.end"].map(|part| word(&event, part)).concat();
    url.strip_prefix("https://hooks.example.com").unwrap_or_else(|| panic!("{event:#}")).to_owned()
}

fn done(id: &str) -> Value {
    notice_body(id, "done", json!({}))
}

/// Returns the same URL with one character of the token changed.
fn altered(target: &str) -> String {
    let (path, token) = target.split_once("ferry=").unwrap();
    let other = if token.as_bytes()[20] == b'A' { 'B' } else { 'A' };
    format!("{path}ferry={}{other}{}", &token[..20], &token[21..])
}

/// Makes a token that has expired.
fn expired(id: &str) -> String {
    let long_ago = Timestamp::now() - (24 * 61).hours();
    of_generation(id, 0, long_ago)
}

/// Makes the path and query of a webhook URL.
fn of_generation(id: &str, generation: u32, first_sent: Timestamp) -> String {
    let (provider, account) = acme();
    let scope = TokenScope { provider: &provider, account: &account };
    let token = TokenKey::new(KEY).make_token(scope, &id.parse().unwrap(), generation, first_sent);
    format!("/webhooks/acme?ferry={token}")
}

fn acme() -> (Name, Name) {
    ("acme".parse().unwrap(), Name::default_account())
}

fn is_signed_with(key: &str, target: &str) -> bool {
    let (keys, token) = ([TokenKey::new(key)], target.split_once("ferry=").unwrap().1);
    let (provider, account) = acme();
    let scope = TokenScope { provider: &provider, account: &account };
    webhook_token::read(&keys, scope, token, Timestamp::now(), SOON * 60 * 24 * 2).is_ok()
}

async fn restart(rig: &TestRig, daemon: &RunningDaemon) -> RunningDaemon {
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
    rig.start().await
}

#[tokio::test]
async fn a_call_ends_the_command_that_its_url_names_and_no_token_that_is_not_good_does() {
    let rig = rig(SIGNED).await;
    let daemon = rig.start().await;
    for id in ["one", "two"] {
        rig.publish(&pay(id, &json!({"accepted": true}))).await;
    }
    let (one, two) = (target(&rig, "one").await, target(&rig, "two").await);
    assert!(one.starts_with("/webhooks/acme?ferry=") && one != two, "{one} {two}");
    let shown = call_records(&daemon, "one")[0].clone();
    for field in ["request.body", "response.body"] {
        assert!(log_text(&shown, field).contains("/webhooks/acme?ferry=***\""), "{shown:#}");
    }
    let token = one.split_once('=').unwrap().1.to_owned();
    assert!(daemon.logs(|line| line.to_string().contains(&token)).is_empty());

    let daemon = restart(&rig, &daemon).await;
    for (id, target) in
        [("none", "/webhooks/acme"), ("altered", &altered(&one)), ("expired", &expired("one"))]
    {
        assert_eq!(call_at(&daemon, target, &done(id)).await, Some(200), "{id}");
        let event = received(&rig, id).await;
        assert!(event.get("subject").is_none(), "{event:#}");
    }
    let logged = |line: &Value| line["message"] == "a webhook names no command by its URL";
    daemon.wait_for_logs(2, SOON, logged).await;
    assert_eq!(daemon.logs(logged).len(), 2);
    assert_eq!(call_at(&daemon, &one, &done("good")).await, Some(200));
    let end = rig.terminal("one").await;
    assert_eq!(
        (word(&end, "data.state"), &end["data"]["result"]),
        ("completed", &json!({"done": true}))
    );
    assert_eq!(word(&received(&rig, "good").await, "subject"), "one");
    assert!(!rig.events.of("two").iter().any(|event| event["data"]["final"] == true));
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_request_that_is_made_again_has_its_token_also_after_a_change_of_keys() {
    let rig = rig(SIGNED).await;
    let daemon = rig.start().await;
    rig.publish(&pay("again", &json!({"accepted": true, "fail_times": 1}))).await;
    let tried = async || (rig.calls("again").calls == 1).then_some(());
    eventually(SOON, "the first call", tried).await;
    let rig = rig.env(KEYS, &format!("{NEXT_KEY},{KEY}"));
    let daemon = restart(&rig, &daemon).await;
    // The provider accepts no other request under the same key.
    let again = target(&rig, "again").await;
    assert_eq!(rig.calls("again").calls, 2);
    rig.publish(&pay("later", &json!({"accepted": true}))).await;
    let later = target(&rig, "later").await;
    for (id, target, key) in [("again", again, KEY), ("later", later, NEXT_KEY)] {
        assert!(is_signed_with(key, &target), "{id}");
        assert_eq!(call_at(&daemon, &target, &done(id)).await, Some(200));
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_late_webhook_about_a_call_that_was_given_up_decides_nothing_about_its_replay() {
    let rig = rig("\"token\"").await;
    let daemon = rig.start().await;
    rig.publish(&command(
        "acme",
        "order",
        "two",
        json!({"accepted": true, "fail_times": 2, "status": 429}),
    ))
    .await;
    assert_eq!(word(&rig.terminal("two").await, "data.error.kind"), "unavailable");
    let mut replay = rig.setup.command(&["dead-letters", "replay", "two"]);
    assert!(tokio::task::spawn_blocking(move || replay.status()).await.unwrap().unwrap().success());
    let second = target(&rig, "two").await;
    let first = of_generation("two", 0, Timestamp::now());
    assert_eq!(call_at(&daemon, &first, &done("late")).await, Some(200));
    assert_eq!(word(&received(&rig, "late").await, "subject"), "two");
    let earlier =
        |line: &Value| word(line, "message").starts_with("a webhook is about an earlier call");
    daemon.wait_for_log(SOON, earlier).await;
    assert!(!rig.events.of("two").iter().any(|event| word(event, "data.state") == "completed"));
    assert_eq!(call_at(&daemon, &second, &done("good")).await, Some(200));
    rig.events.state("two", "completed", SOON).await;
    rig.end(&daemon).await;
}

#[tokio::test]
async fn where_nobody_signs_a_call_without_a_good_token_is_refused() {
    let rig = rig("\"token\"").await;
    let daemon = rig.start().await;
    rig.publish(&pay("one", &json!({"accepted": true}))).await;
    let one = target(&rig, "one").await;
    for target in
        ["/webhooks/acme", &altered(&one), &expired("one"), &one.replace("ferry", "fairy")]
    {
        assert_eq!(call_at(&daemon, target, &done("bad")).await, Some(401), "{target}");
    }
    assert_eq!(call_at(&daemon, &one, &done("good")).await, Some(200));
    assert_eq!(word(&rig.terminal("one").await, "data.state"), "completed");
    rig.end(&daemon).await;
}

/// Waits for the event about a call.
async fn received(rig: &TestRig, id: &str) -> Value {
    let id = format!("webhook/acme/default/{id}");
    rig.events.first(SOON, |event| event["id"] == id).await
}

/// Returns the text of a field of the log, whose name has dots.
fn log_text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}
