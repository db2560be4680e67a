//! Tests operations that the provider accepts and finishes later: polled until they end, or until
//! their deadline.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::broker::TestBroker;
use crate::harness::node::BrokerNode;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, dead, word};

/// Operations that are accepted: polled each second, looked up at the deadline, or neither.
const OPERATIONS: &str = r#"
[operations.pay]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h", in_progress = "status == 409" }
retry = { schedule = ["1s", "1s", "1s"], jitter = false }
deadline = "{DEADLINE}"
body = { id = "{{ command.id }}", amount = "{{ payload.amount }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "1s"
max_interval = "1s"
failed = "body.status == 'failed'"
[operations.pay.response]
reference = "{{ body.id }}"
result = { id = "{{ body.id }}", status = "{{ body.status }}", amount = "{{ body.amount }}" }
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
error = { code = "{{ body.status }}", message = "it was {{ body.status }}" }

[operations.trust]
request = { method = "POST", path = "/acme/trust" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
deadline = "{DEADLINE}"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.trust.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"

[operations.check]
request = { method = "POST", path = "/acme/check" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
deadline = "{DEADLINE}"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.check.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "1s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.check.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

async fn rig(deadline: &str) -> TestRig {
    let operations = OPERATIONS.replace("{DEADLINE}", deadline);
    TestRig::with(
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await
}

fn pay(id: &str, sandbox: Value) -> Value {
    command("acme", "pay", id, sandbox)
}

#[tokio::test]
async fn an_accepted_command_is_polled_until_it_ends() {
    let rig = rig("1h").await;
    let daemon = rig.start().await;
    rig.publish(&pay("late", json!({"accepted": true}))).await;
    let waiting = rig.events.state("late", "waiting", SOON).await;
    assert_eq!(
        (word(&waiting, "data.waiting_for"), word(&waiting, "data.provider_reference")),
        ("provider", "sb_1")
    );
    eventually(SOON, "it is queried twice", async || {
        (rig.count_queries("sb_1") >= 2).then_some(())
    })
    .await;
    rig.sandbox.end("late", "succeeded");
    let done = rig.terminal("late").await;
    assert_eq!(
        (word(&done, "data.state"), word(&done, "data.result.status")),
        ("completed", "succeeded")
    );
    assert_eq!(word(&done, "data.provider_reference"), "sb_1");
    assert_eq!(rig.calls("late").calls, 1);
    rig.finish(&daemon).await;
    let states: Vec<_> =
        rig.events.of("late").iter().map(|event| word(event, "data.state").to_owned()).collect();
    assert_eq!(states, ["waiting", "completed"]);
}

#[tokio::test]
async fn an_accepted_command_that_fails_is_declined() {
    let rig = rig("1h").await;
    let daemon = rig.start().await;
    let end = rig
        .carry(&pay("bad", json!({"accepted": true, "finish": "failed", "finish_after": "1s"})))
        .await;
    assert_eq!(
        (word(&end, "data.error.kind"), word(&end, "data.error.code")),
        ("declined", "failed")
    );
    assert_eq!(end["data"]["final"], true);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn what_is_not_finished_by_the_deadline_is_looked_up_or_left_to_a_person() {
    let rig = rig("3s").await;
    let daemon = rig.start().await;
    for operation in ["pay", "trust", "check"] {
        rig.publish(&command("acme", operation, operation, json!({"accepted": true}))).await;
    }
    rig.publish(&command(
        "acme",
        "check",
        "found",
        json!({"accepted": true, "finish_after": "1s"}),
    ))
    .await;
    for id in ["pay", "trust", "check"] {
        let end = rig.terminal(id).await;
        assert_eq!(
            (word(&end, "data.error.kind"), word(&end, "data.error.code")),
            ("unresolved", "deadline"),
            "{id}"
        );
    }
    assert_eq!(word(&rig.terminal("found").await, "data.state"), "completed");
    assert_eq!(rig.sandbox.calls().acted, 4);
    let letters = rig.dead_letters("acme", 3).await;
    assert!(letters.iter().all(|letter| dead(letter)["unknown"] == true), "{letters:?}");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn waiting_commands_outlive_the_daemon_and_the_broker() {
    let node = BrokerNode::private().await;
    let operations = OPERATIONS.replace("{DEADLINE}", "1h");
    let mut rig = TestRig::on(
        &node,
        "",
        &[("acme", SandboxFile { operations: &operations, ..SandboxFile::default() })],
    )
    .await;
    let daemon = rig.start().await;
    let ids: Vec<_> = (0..20).map(|number| format!("order-{number}")).collect();
    for id in &ids {
        rig.publish(&pay(id, json!({"accepted": true}))).await;
    }
    for id in &ids {
        rig.events.state(id, "waiting", SOON).await;
    }
    node.settle().await;
    daemon.kill9();
    node.kill9().await;
    node.start().await;
    for id in &ids {
        rig.sandbox.end(id, "succeeded");
    }
    let successor = rig.start().await;
    for id in &ids {
        // A broker that was killed may delay dead-lettering for minutes.
        let end = rig.events.terminal(id, Duration::from_mins(4)).await;
        assert_eq!(word(&end, "data.state"), "completed", "{id}");
        assert_eq!(rig.calls(id).calls, 1, "{id}");
    }
    rig.broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    rig.await_empty_ladder().await;
    rig.finish(&successor).await;
}
