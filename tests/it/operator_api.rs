//! Tests the requests of operators to a daemon's HTTP API about dead letters and commands that
//! wait.

use serde_json::{Value, json};

use crate::api_client::TestClient;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, command, word};

/// Operations whose call shows no outcome until the provider is queried, and only where a test has
/// it shown.
const OPERATIONS: &str = r#"
[operations.ask]
request = { method = "POST", path = "/acme/ask" }
retry = { schedule = ["1s", "1s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.ask.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "2s"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.ask.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"

[operations.silent]
request = { method = "POST", path = "/acme/silent" }
retry = { schedule = ["1s", "1s"], jitter = false }
timeout = "2s"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
"#;

#[tokio::test]
async fn a_dead_letter_is_shown_with_its_message_and_looked_up_by_the_api() {
    let rig = TestRig::with(
        "",
        &[("acme", SandboxFile { operations: OPERATIONS, ..SandboxFile::default() })],
    )
    .await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    client.wait_ready().await;
    let hidden = json!({"act_then_fail": true, "hidden": "20s"});
    for (operation, id) in [("ask", "found"), ("silent", "unknown")] {
        rig.publish(&command("acme", operation, id, hidden.clone())).await;
        assert_eq!(word(&rig.terminal(id).await, "data.error.kind"), "unresolved", "{id}");
    }

    let shown = client.get("/v1/dead-letters/found").await;
    let letter = &shown.body["dead_letters"][0];
    assert_eq!(
        (shown.status, word(letter, "queue"), word(letter, "record.kind")),
        (200, "ferry.dead.acme", "unresolved")
    );
    assert_eq!(letter["message"], Value::Null);
    let whole = eventually(SOON, "the message is in its queue", async || {
        let answer = client.get("/v1/dead-letters/found?message=true").await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    let letter = &whole["dead_letters"][0];
    assert_eq!(
        (word(letter, "message.body.id"), word(letter, "record.kind")),
        ("found", "unresolved"),
        "{whole:#}"
    );
    assert_eq!(letter["message"]["properties"]["delivery_mode"], 2, "{whole:#}");

    let refused = client.ask("POST", "/v1/commands/unknown/lookup", "").await;
    assert_eq!(
        (refused.status, word(&refused.body, "type")),
        (409, "urn:ferryd:problem:nothing-to-ask"),
        "{}",
        refused.body
    );
    assert!(
        word(&refused.body, "detail").contains("its operation has no `lookup`"),
        "{}",
        refused.body
    );
    // At first the provider does not show its action.
    let story = eventually(SOON, "the answer ends the command", async || {
        let answer = client.ask("POST", "/v1/commands/found/lookup", "").await;
        assert!([202, 409].contains(&answer.status), "{}", answer.body);
        let story = client.get("/v1/commands/found").await.body;
        (story["state"] == "completed").then_some(story)
    })
    .await;
    assert!(!story["queries"].as_array().unwrap().is_empty(), "{story:#}");
    assert_eq!(client.get("/v1/dead-letters/found").await.status, 404);
    rig.finish(&daemon).await;
}
