//! Tests that the daemon's log shows every call, and no secret.

use serde_json::{Value, json};

use crate::rig::{SECRET, SandboxFile, TestRig, and, call_records, command, word};

const OPERATIONS: &str = r#"
[operations.pay]
request = { method = "POST", path = "/pay", query = { token = "{{ secrets.api_key }}", tenant = "eu" }, headers = { X-Trace = "{{ command.id }}" } }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["1s"], jitter = false }
body = "{{ payload }}"
response = { error = { message = "{{ body.error.code }}" } }
[operations.pay.payload]
type = "object"
properties = { iban = { type = "string", x-sensitive = true } }
"#;

const CARD: &str = "4242424242424242";
const IBAN: &str = "DE02120300000000202051";
const PIN: &str = "pin-9317";

fn payment(provider: &str, id: &str, sandbox: &Value) -> Value {
    let payload = json!({
        "note": format!("card {CARD}"), "iban": IBAN, "pin": PIN, "amount": 1099, "sandbox": sandbox,
    });
    and(command(provider, "pay", id, json!({})), json!({ "payload": payload }))
}

#[tokio::test]
async fn every_call_is_one_record_and_no_secret_is_in_the_log() {
    let masking = SandboxFile {
        keys: "log = { mask = [\"pin\"] }",
        operations: OPERATIONS,
        ..SandboxFile::default()
    };
    let silent = SandboxFile {
        keys: "log = { bodies = false }",
        operations: OPERATIONS,
        ..SandboxFile::default()
    };
    let rig = TestRig::with("", &[("acme", masking), ("silent", silent)])
        .await
        .env("FERRYD_LOG", "debug");
    let daemon = rig.start().await;
    for provider in ["acme", "silent"] {
        assert_eq!(
            word(
                &rig.carry(&payment(provider, provider, &json!({"status": 429, "fail_times": 1})))
                    .await,
                "data.state"
            ),
            "completed"
        );
    }
    // A provider that quotes its request.
    let quoting =
        payment("acme", "quoting", &json!({"decline": format!("no account {IBAN}, card {CARD}")}));
    let event = rig.carry(&quoting).await;
    assert_eq!(word(&event, "data.error.message"), "no account ***, card ***", "{event:#}");
    rig.finish(&daemon).await;

    let records = call_records(&daemon, "acme");
    let attempts: Vec<_> = records
        .iter()
        .map(|record| (&record["attempt"], &record["http.response.status_code"]))
        .collect();
    assert_eq!(attempts, [(&json!(1), &json!(429)), (&json!(2), &json!(200))]);
    for record in &records {
        assert_eq!(
            (word(record, "provider"), word(record, "operation"), word(record, "sent")),
            ("acme", "pay", "yes")
        );
        assert_eq!(
            (&record["http.request.method"], &record["generation"]),
            (&json!("POST"), &json!(0))
        );
        assert!(record["duration_ms"].is_u64());
        assert!(
            record["url.full"].as_str().unwrap().ends_with("/pay?token=***&tenant=eu"),
            "{record:#}"
        );
        let headers = record["request.headers"].as_str().unwrap();
        assert!(
            headers.contains(r#""authorization":"***""#)
                && headers.contains(r#""idempotency-key":"acme""#)
        );
        let body: Value = serde_json::from_str(record["request.body"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&body["amount"], &body["iban"], &body["pin"]),
            (&json!(1099), &json!("***"), &json!("***"))
        );
        assert!(!record["response.body"].as_str().unwrap().is_empty());
    }
    for record in call_records(&daemon, "silent") {
        assert!(
            record.get("request.body").is_none() && record.get("response.body").is_none(),
            "{record:#}"
        );
    }
    let log = daemon.log_text();
    for secret in [SECRET, CARD, IBAN, PIN] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn records_of_calls_can_be_switched_off() {
    let rig = TestRig::new("[log]\ncalls = false").await;
    let daemon = rig.start().await;
    assert_eq!(
        word(&rig.carry(&command("acme", "send", "quiet", json!({}))).await, "data.state"),
        "completed"
    );
    rig.finish(&daemon).await;
    assert!(call_records(&daemon, "quiet").is_empty());
}

#[tokio::test]
async fn every_call_can_be_looked_up_and_no_secret_is_in_its_stream() {
    let masking = SandboxFile {
        keys: "log = { mask = [\"pin\"] }",
        operations: OPERATIONS,
        ..SandboxFile::default()
    };
    let rig = TestRig::with("[log]\ncalls = false", &[("acme", masking)]).await;
    let daemon = rig.start().await;
    rig.carry(&payment("acme", "looked-up", &json!({"status": 429, "fail_times": 1}))).await;
    rig.finish(&daemon).await;
    // The first daemon publishes all calls before it ends.
    let _daemon = rig.start().await;
    let mut command = rig.setup.command(&["calls", "looked-up", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let attempts: Vec<_> =
        lines.iter().map(|line| (&line["attempt"], &line["response"]["status"])).collect();
    assert_eq!(attempts, [(&json!(1), &json!(429)), (&json!(2), &json!(200))], "{text}");
    for secret in [SECRET, CARD, IBAN, PIN] {
        assert!(!text.contains(secret), "{secret} is in the stream");
    }
}
