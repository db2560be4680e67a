//! Tests amounts that disagree: the amount that a provider reports has to be the requested one,
//! where its file says where both are.

use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::rig::{SOON, SandboxFile, TestRig, and, command, word};
use crate::signed_webhooks::{TOKEN_KEY, TOKEN_KEYS, call, notice_body};

const SECRET: &str = "whsec-acme-0123456789";

const FILE: &str = r#"
[webhook]
event = "{{ body.type }}"
id = "{{ body.id }}"
command = "{{ body.command }}"
token = "{{ body.token }}"
[webhook.verify]
algorithm = "hmac_sha256"
keys = [{ secret = "{{ secrets.webhook }}" }]
signature = { header = "x-signature", encoding = "hex" }
signed = "{{ body }}"
[[webhook.on]]
when = "body.type == 'paid'"
as = "completed"
amount = "{{ body.amount }}"
currency = "{{ body.currency }}"
partial = "body.partial"

[operations.pay]
request = { method = "POST", path = "/acme/pay" }
amount = "{{ payload.amount }}"
currency = "EUR"
body = { id = "{{ command.id }}", token = "{{ command_token }}", said = "{{ metadata.said }}", sandbox = "{{ payload.sandbox }}" }
[operations.pay.response]
reference = "{{ body.id }}"
amount = "{{ body.request.said }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

async fn rig() -> TestRig {
    let rig =
        TestRig::with("", &[("acme", SandboxFile { operations: FILE, ..SandboxFile::default() })])
            .await;
    rig.signed_by(SECRET, "https://hooks.example.com").env(TOKEN_KEYS, TOKEN_KEY)
}

async fn paid(daemon: &RunningDaemon, id: &str, command: &str, more: Value) {
    let mut body = notice_body(id, "paid", json!({"command": command}));
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(call(daemon, &body).await, Some(200));
}

fn is_conflict(event: &Value, id: &str) -> bool {
    event["type"] == "ferry.command.conflict"
        && event["subject"] == id
        && event["data"]["conflict"] == "amount"
}

#[tokio::test]
async fn a_call_that_states_another_amount_is_a_conflict_and_its_command_goes_on_waiting() {
    let rig = rig().await;
    let daemon = rig.start().await;
    for id in ["less", "foreign", "part"] {
        rig.publish(&command("acme", "pay", id, json!({"accepted": true}))).await;
        rig.events.state(id, "waiting", SOON).await;
    }
    paid(&daemon, "evt-1", "less", json!({"amount": 1, "currency": "eur"})).await;
    let conflict = rig.events.first(SOON, |event| is_conflict(event, "less")).await;
    assert!(
        word(&conflict, "data.message")
            .starts_with("the command requests 1099 EUR, and the provider reports 1 EUR")
    );
    let says =
        |line: &Value| word(line, "message").starts_with("a provider reports another amount");
    assert_eq!(daemon.wait_for_log(SOON, says).await["level"], "ERROR");
    paid(&daemon, "evt-2", "foreign", json!({"amount": 1099, "currency": "usd"})).await;
    rig.events.first(SOON, |event| is_conflict(event, "foreign")).await;
    rig.events.catch_up().await;
    for id in ["less", "foreign"] {
        assert!(
            !rig.events.of(id).iter().any(|event| event["data"]["final"] == true),
            "{id} goes on waiting"
        );
    }
    paid(&daemon, "evt-3", "less", json!({"amount": "1099.00", "currency": "eur"})).await;
    paid(&daemon, "evt-4", "foreign", json!({"amount": 1099, "currency": "EUR"})).await;
    // A partial amount that is declared as such.
    paid(&daemon, "evt-5", "part", json!({"amount": 500, "currency": "EUR", "partial": true}))
        .await;
    for id in ["less", "foreign", "part"] {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    rig.end(&daemon).await;
}

#[tokio::test]
async fn an_answer_that_states_another_amount_is_a_conflict_and_completes_nothing() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let says = |id: &str, amount: &str| {
        and(command("acme", "pay", id, json!({})), json!({"metadata": {"said": amount}}))
    };
    assert_eq!(word(&rig.carry(&says("right", "1099")).await, "data.state"), "completed");
    let end = rig.carry(&says("wrong", "1")).await;
    assert_eq!(
        (word(&end, "data.error.kind"), word(&end, "data.error.code")),
        ("unresolved", "amount_mismatch")
    );
    rig.events.first(SOON, |event| is_conflict(event, "wrong")).await;
    assert!(!rig.events.of("right").iter().any(|event| is_conflict(event, "right")));
    rig.end(&daemon).await;
}
