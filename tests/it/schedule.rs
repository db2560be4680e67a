//! Tests the times of calls: hints of the provider, times that the command names, and the end of
//! retries.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, SandboxFile, TestRig, and, call_records, charge, command, dead, word};

const OPERATIONS: &str = r#"
[operations.hinted]
request = { method = "POST", path = "/hinted" }
retry = { schedule = ["1s", "5s"], jitter = false }
[operations.hinted.body]
id = "{{ command.id }}"
sandbox = "{{ payload.sandbox }}"

[operations.patient]
request = { method = "POST", path = "/patient" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
retry = { schedule = ["1s", "10m"], give_up_after = "5m", jitter = false }
[operations.patient.body]
id = "{{ command.id }}"
sandbox = "{{ payload.sandbox }}"
"#;

async fn rig() -> TestRig {
    TestRig::with("", &[("acme", SandboxFile { operations: OPERATIONS, ..SandboxFile::default() })])
        .await
}

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Returns the begin and the end of each call for a command.
fn calls(daemon: &RunningDaemon, id: &str) -> Vec<(Timestamp, Timestamp)> {
    let times = |record: &Value| {
        let over: Timestamp = word(record, "timestamp").parse().unwrap();
        (over - SignedDuration::from_millis(record["duration_ms"].as_i64().unwrap()), over)
    };
    call_records(daemon, id).iter().map(times).collect()
}

#[tokio::test]
async fn a_provider_is_not_called_before_the_time_it_names() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let date = SystemTime::now() + Duration::from_secs(5);
    let named =
        Timestamp::try_from(httpdate::parse_http_date(&httpdate::fmt_http_date(date)).unwrap())
            .unwrap();
    for (id, status, hint) in [
        ("seconds", 429, "2".to_owned()),
        ("date", 429, httpdate::fmt_http_date(date)),
        ("unavailable", 503, "2".to_owned()),
        // The policy caps a hint by the longest delay of the schedule.
        ("capped", 429, "86400".to_owned()),
    ] {
        let behaviour = json!({"status": status, "retry_after": hint, "fail_times": 1});
        rig.publish(&command("acme", "hinted", id, behaviour)).await;
    }
    for id in ["seconds", "date", "unavailable", "capped"] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.state"), &event["data"]["attempt"]),
            ("completed", &json!(2)),
            "{event:#}"
        );
        let calls = calls(&daemon, id);
        let earliest = match id {
            "date" => named,
            "capped" => calls[0].1 + SignedDuration::from_secs(5),
            _ => calls[0].1 + SignedDuration::from_secs(2),
        };
        // The broker's clock of a delay has milliseconds, and a record is written just after the
        // answer.
        assert!(
            calls[1].0 >= earliest - SignedDuration::from_millis(50),
            "{id}: {calls:?}, not before {earliest}"
        );
    }
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn no_attempt_starts_after_its_time() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let expiring = |command: Value, seconds: i64| {
        and(command, json!({"expires_at": in_seconds(seconds).to_string()}))
    };
    let patient = |id: &str, status: u16| command("acme", "patient", id, json!({"status": status}));
    let cases = [
        (expiring(charge("past", json!({})), -1), "expired", "expired", 0),
        (expiring(patient("too-soon", 429), 60), "expired", "http_429", 2),
        (expiring(patient("too-soon-unknown", 500), 60), "unresolved", "http_500", 2),
        (patient("given-up", 429), "unavailable", "http_429", 2),
        (patient("given-up-unknown", 500), "unresolved", "http_500", 2),
    ];
    for (command, ..) in &cases {
        rig.publish(command).await;
    }
    for (command, kind, code, calls) in &cases {
        let id = word(command, "id");
        let event = rig.terminal(id).await;
        assert_eq!(
            (word(&event, "data.error.kind"), word(&event, "data.error.code")),
            (*kind, *code),
            "{event:#}"
        );
        assert_eq!(rig.calls(id).calls, *calls, "{id}");
    }
    let letters: Vec<_> = rig.dead_letters("acme", 5).await.iter().map(dead).collect();
    let past = letters.iter().find(|letter| word(letter, "command.id") == "past").unwrap();
    assert_eq!((&past["history"], &past["unknown"]), (&json!([]), &json!(false)));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_command_is_parked_until_its_time_and_spends_no_attempt_by_that() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let not_before = in_seconds(4);
    let command = and(charge("early", json!({})), json!({"not_before": not_before.to_string()}));
    rig.publish(&command).await;
    eventually(SOON, "the command waits on a rung", async || {
        let mut waiting = 0;
        for rung in ["1s", "2s"] {
            waiting += rig.broker.depth(&format!("ferry.retry.{rung}")).await.unwrap();
        }
        (waiting == 1).then_some(())
    })
    .await;
    assert_eq!(rig.calls("early").calls, 0);
    let event = rig.terminal("early").await;
    assert_eq!(
        (word(&event, "data.state"), &event["data"]["attempt"]),
        ("completed", &json!(1)),
        "{event:#}"
    );
    let calls = calls(&daemon, "early");
    assert!(calls.len() == 1 && calls[0].0 >= not_before, "{calls:?}, not before {not_before}");
    rig.finish(&daemon).await;
}
