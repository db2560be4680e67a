//! Tests lookups of unknown outcomes at the provider: the action is found, or it certainly was not
//! done, or a person has to look.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, word};

/// Operations without a key, and one with: looked up with and without proof of absence, and by a
/// rule.
const OPERATIONS: &str = r#"
[operations.pay]
request = { method = "POST", path = "/acme/pay" }
retry = { schedule = ["1s", "1s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", amount = "{{ payload.amount }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
not_found = "body.data | length == 0"
[operations.pay.response]
reference = "{{ body.id }}"
result = { id = "{{ body.id }}", status = "{{ body.status }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
error = { code = "{{ body.status | default(body.error.code) }}" }
[operations.pay.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "1s"
[[operations.pay.classify]]
when = "body.status == 'failed'"
as = "declined"
[[operations.pay.classify]]
when = "status == 409"
as = "lookup"

[operations.shy]
request = { method = "POST", path = "/acme/shy" }
retry = { schedule = ["1s", "1s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.shy.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.shy.response]
success = "body.status == 'succeeded'"

[operations.keyed]
request = { method = "POST", path = "/acme/keyed" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["1s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.keyed.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.keyed.response]
success = "body.status == 'succeeded'"
"#;

/// A key, two calls, and a lookup that proves absence some time after the last of them.
const LAST: &str = r#"
[operations.last]
request = { method = "POST", path = "/acme/last" }
idempotency = { header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }
retry = { schedule = ["1s"], jitter = false }
timeout = "6500ms"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.last.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "7s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
not_found = "body.data | length == 0"
[operations.last.response]
success = "body.status == 'succeeded'"
"#;

async fn rig() -> TestRig {
    TestRig::with("", &[("acme", SandboxFile { operations: OPERATIONS, ..SandboxFile::default() })])
        .await
}

fn acme(operation: &str, id: &str, sandbox: Value) -> Value {
    command("acme", operation, id, sandbox)
}

/// Tests commands whose calls end without an answer.
#[tokio::test]
async fn what_a_call_came_to_is_found_out() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let lost = |more: Value| {
        let mut behaviour = json!({"act_then_fail": true});
        behaviour.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        behaviour
    };
    let nothing_done = json!({"hang": "before_answer", "fail_times": 1});
    let never_done = json!({"hang": "before_answer"});
    let table = [
        // operation, id, behaviour, state, code, acts, calls
        ("pay", "acted", lost(json!({})), "completed", "", 1, 1),
        ("pay", "acted-late", lost(json!({"hidden": "1s"})), "completed", "", 1, 1),
        (
            "pay",
            "accepted",
            lost(json!({"accepted": true, "finish_after": "4s"})),
            "completed",
            "",
            1,
            1,
        ),
        ("pay", "failed", lost(json!({"finish": "failed"})), "failed", "failed", 1, 1),
        ("pay", "not-acted", nothing_done.clone(), "completed", "", 1, 2),
        ("pay", "never", never_done.clone(), "failed", "not_found", 0, 3),
        ("pay", "by-rule", json!({"status": 409, "fail_times": 1}), "completed", "", 1, 2),
        ("shy", "no-proof", nothing_done, "failed", "http_200", 0, 1),
        ("shy", "shy-acted", lost(json!({})), "completed", "", 1, 1),
        ("keyed", "keyed-acted", lost(json!({})), "completed", "", 1, 2),
    ];
    for (operation, id, behaviour, ..) in &table {
        rig.publish(&acme(operation, id, behaviour.clone())).await;
    }
    for (_, id, _, state, code, acts, calls) in table {
        let end = rig.terminal(id).await;
        let seen = rig.calls(id);
        assert_eq!(
            (word(&end, "data.state"), word(&end, "data.error.code")),
            (state, code),
            "{id}: {end:#}"
        );
        assert_eq!((seen.acted, seen.calls), (acts, calls), "{id}");
    }
    assert_eq!(word(&rig.terminal("never").await, "data.error.kind"), "unavailable");
    assert_eq!(word(&rig.terminal("no-proof").await, "data.error.kind"), "unresolved");
    assert_eq!(word(&rig.terminal("failed").await, "data.error.kind"), "declined");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_call_that_its_daemon_did_not_outlive_is_looked_up_by_another() {
    let rig = rig().await;
    let killed = rig.start().await;
    rig.publish(&acme("pay", "acted", json!({"latency": "1s"}))).await;
    rig.publish(&acme("pay", "hung", json!({"hang": "before_answer", "fail_times": 1}))).await;
    eventually(SOON, "both are called", async || {
        (rig.sandbox.calls().concurrent == 2).then_some(())
    })
    .await;
    killed.kill9();
    let successor = rig.start().await;
    for (id, calls) in [("acted", 1), ("hung", 2)] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
        let seen = rig.calls(id);
        assert_eq!((seen.acted, seen.calls), (1, calls), "{id}");
    }
    rig.finish(&successor).await;
}

/// The first call fails after 6 s with an unknown outcome. The second is under way for 3 s when its
/// daemon is killed; it acts after 6 s, which a lookup can see 2 s later. Counted from the first
/// call, a lookup would find nothing in between, and take that for a proof.
#[tokio::test]
async fn a_call_that_still_runs_is_not_acquitted_by_a_lookup_that_is_due_for_the_one_before() {
    let file = SandboxFile { operations: LAST, ..SandboxFile::default() };
    let rig = TestRig::with("", &[("acme", file)]).await;
    let killed = rig.start().await;
    let slow = json!({"latency": "6s", "status": 500, "fail_times": 1, "hidden": "2s"});
    rig.publish(&acme("last", "once", slow)).await;
    eventually(SOON, "it is called again", async || (rig.calls("once").calls == 2).then_some(()))
        .await;
    let called = Instant::now();
    killed.kill9();
    eventually(SOON, "the provider works on it", async || {
        (called.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    let successor = rig.start().await;
    let end = rig.terminal("once").await;
    assert_eq!(word(&end, "data.state"), "completed", "{end:#}");
    let queries = rig.count_queries("once");
    assert_eq!((rig.calls("once").acted, queries), (1, 1), "it is queried once it has to be there");
    rig.finish(&successor).await;
}

#[tokio::test]
async fn a_person_has_an_unresolved_command_looked_up_and_its_dead_letter_closes() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let hidden = json!({"act_then_fail": true, "hidden": "15s"});
    let first = rig.carry(&acme("shy", "late", hidden)).await;
    assert_eq!(word(&first, "data.error.kind"), "unresolved");
    let declined = rig.carry(&acme("shy", "no", json!({"decline": true}))).await;
    assert_eq!(word(&declined, "data.error.kind"), "declined");
    eventually(SOON, "what was done can be found", async || {
        let (code, end) = look_up(&rig, &["late", "--wait", "2s"]).await;
        (code == 0).then(|| assert_eq!(word(&end, "data.state"), "completed", "{end:#}"))
    })
    .await;
    assert_eq!(rig.calls("late").calls, 1);
    assert_eq!(look_up(&rig, &["no"]).await.0, 1, "it is no dead letter");
    let (_, cleared) = ferryd(&rig, &["dead-letters", "replay", "late", "--json"]).await;
    assert_eq!(
        (&cleared["done"], &cleared["progress"]["closed"]),
        (&json!(0), &json!(1)),
        "{cleared}"
    );
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("late").calls, 1);
}

#[tokio::test]
async fn a_job_has_every_unresolved_command_looked_up_that_can_be() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let hidden = json!({"act_then_fail": true, "hidden": "15s"});
    for (operation, id) in [("shy", "one"), ("shy", "two"), ("send", "silent")] {
        let command = acme(operation, id, hidden.clone());
        assert_eq!(word(&rig.carry(&command).await, "data.error.kind"), "unresolved", "{id}");
    }
    rig.dead_letters("acme", 3).await;
    let (code, planned) = look_up(&rig, &["--kind", "unresolved", "--dry-run"]).await;
    assert_eq!(
        (code, &planned["done"], &planned["progress"]["refused"]),
        (1, &json!(2), &json!(1)),
        "{planned:#}"
    );
    let (_, job) = look_up(&rig, &["one", "silent"]).await;
    assert_eq!((&job["done"], word(&job, "spec.action")), (&json!(1), "lookup"), "{job:#}");
    let why = word(&job["progress"]["refusals"][0], "reason");
    assert!(why.contains("its operation has no `lookup`"), "{why}");
    // The provider does not show at first what it did.
    eventually(SOON, "the answers end both", async || {
        let (_, job) = look_up(&rig, &["--provider", "acme"]).await;
        assert_eq!(
            (word(&job, "end.reason"), &job["recorded"]),
            ("finished", &json!(0)),
            "{job:#}"
        );
        let is_completed =
            |id| rig.events.of(id).iter().any(|event| event["data"]["state"] == "completed");
        (is_completed("one") && is_completed("two")).then_some(())
    })
    .await;
    for id in ["one", "two", "silent"] {
        assert_eq!(rig.calls(id).calls, 1, "{id} is queried, and not sent again");
    }
    let (code, listed) = ferryd(&rig, &["dead-letters", "list", "--json"]).await;
    let listed: Vec<_> =
        listed.as_array().unwrap().iter().map(|dead| word(dead, "command.id")).collect();
    assert_eq!((code, listed), (0, vec!["silent"]), "the others are closed");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_person_has_a_waiting_command_looked_up_before_its_time() {
    let rig = rig().await.changed("acme", "interval = \"1s\"", "interval = \"12h\"");
    let daemon = rig.start().await;
    for (operation, id) in [("pay", "slow"), ("charge", "mute")] {
        rig.publish(&acme(operation, id, json!({"accepted": true}))).await;
        rig.events.state(id, "waiting", SOON).await;
    }
    let query_count = || rig.count_queries("slow");
    // The provider still works on it, so the command goes on waiting, which the answer shows at
    // once.
    let mut command = rig.setup.command(&["lookup", "slow", "--wait", "2m"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), query_count()), (Some(5), 1));
    assert!(
        error.contains("`slow` has not ended: the provider was queried, and still works on it"),
        "{error}"
    );
    let (code, answer) = look_up(&rig, &["slow", "--wait", "0s"]).await;
    assert_eq!((code, answer), (0, json!({"id": "slow", "asked": true})));
    eventually(SOON, "it is queried again", async || (query_count() == 2).then_some(())).await;
    rig.sandbox.end("slow", "succeeded");
    let (code, end) = look_up(&rig, &["slow"]).await;
    assert_eq!((code, word(&end, "data.state")), (0, "completed"), "{end:#}");
    for (id, why) in [
        ("mute", "had no `lookup` when it began to wait"),
        ("slow", "neither a dead letter nor waiting"),
        ("nobody", "knows no command `nobody`"),
    ] {
        let mut command = rig.setup.command(&["lookup", id]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{id}");
        assert!(error.contains(why), "{error}");
    }
    assert_eq!((rig.calls("slow").calls, rig.calls("slow").acted), (1, 1));
    rig.end(&daemon).await;
}

async fn look_up(rig: &TestRig, arguments: &[&str]) -> (i32, Value) {
    ferryd(rig, &[&["lookup", "--json"], arguments].concat()).await
}

/// Runs a command of ferryd, and parses the JSON that it prints.
async fn ferryd(rig: &TestRig, arguments: &[&str]) -> (i32, Value) {
    let mut command = rig.setup.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap_or_default())
}
