//! Tests sensitive values of a payload that the provider's webhooks echo: as long as the
//! ledger keeps the payload, no event about such a call shows them.

use serde_json::{Value, json};

use crate::operator::recorded::ferryd_json;
use crate::rig::{SOON, and, command, word};
use crate::signed_webhooks::{call, notice_body, signed_rig};

const PHONE: &str = "+15558675310";

/// An operation with a phone number, for which the ledger keeps the message of a command that
/// waits.
const TEXT: &str = r#"
[operations.text]
request = { method = "POST", path = "/acme/pay" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
deadline = "1h"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
payload = { type = "object", properties = { phone = { type = "string", x-sensitive = true } } }
[operations.text.lookup]
request = { method = "GET", path = "/sandbox/transactions", query = { id = "{{ command.id }}" } }
after = "10m"
found = "body.data | length == 1"
item = "{{ body.data[0] }}"
[operations.text.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

fn text(id: &str) -> Value {
    let payload = json!({ "sandbox": { "accepted": true }, "phone": PHONE });
    and(command("acme", "text", id, json!({})), json!({ "payload": payload }))
}

#[tokio::test]
async fn what_a_webhook_call_says_of_a_command_that_waits_is_masked_like_an_answer() {
    let rig = signed_rig(TEXT).await;
    let daemon = rig.start().await;
    for id in ["moved", "paid", "declined"] {
        rig.publish(&text(id)).await;
    }
    let mut references = Vec::new();
    for id in ["moved", "paid", "declined"] {
        let event = rig.events.state(id, "waiting", SOON).await;
        references.push(word(&event, "data.provider_reference").to_owned());
    }
    let note = format!("called {PHONE} twice");
    for (event, kind, more) in [
        ("evt-1", "charge.moved", json!({ "command": "moved", "at": PHONE, "note": note })),
        (
            "evt-2",
            "charge.succeeded",
            json!({ "command": "paid", "about": references[1], "amount": note }),
        ),
        ("evt-3", "charge.failed", json!({ "command": "declined", "code": PHONE })),
    ] {
        assert_eq!(call(&daemon, &notice_body(event, kind, more)).await, Some(200));
        let id = format!("webhook/acme/default/{event}");
        let received = rig.events.first(SOON, |event| event["id"] == id).await;
        assert_eq!(received["data"]["body"]["type"], kind, "{received:#}");
        assert!(!received.to_string().contains(PHONE), "{received:#}");
    }
    let paid = rig.terminal("paid").await;
    assert_eq!(
        (word(&paid, "data.state"), word(&paid, "data.result.paid")),
        ("completed", "called *** twice")
    );
    let declined = rig.terminal("declined").await;
    assert_eq!(
        (word(&declined, "data.state"), word(&declined, "data.error.code")),
        ("failed", "***"),
        "{declined:#}"
    );
    for id in ["moved", "paid", "declined"] {
        let known = ferryd_json(&rig, &["status", id]).await;
        assert!(!known.to_string().contains(PHONE), "{known:#}");
    }
    rig.events.catch_up().await;
    assert!(rig.events.all().iter().all(|event| !event.to_string().contains(PHONE)));
    rig.end(&daemon).await;
    assert!(!daemon.log_text().contains(PHONE));
}
