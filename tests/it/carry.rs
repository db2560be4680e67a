//! Tests the outcome of a command for each answer of its provider, from the queue to the last
//! event.

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::harness::daemon::RunningDaemon;
use crate::rig::{
    SandboxFile, TestRig, and, call_records, charge, command, dead, redact, send, word,
};

/// The expected ending of one command, and the calls that the provider sees.
struct CarriedCase {
    command: Value,
    /// `completed`, or the kind of failure.
    ending: &'static str,
    code: &'static str,
    calls: u64,
    acted: u64,
}

fn case(
    command: Value,
    ending: &'static str,
    code: &'static str,
    calls: u64,
    acted: u64,
) -> CarriedCase {
    CarriedCase { command, ending, code, calls, acted }
}

/// Carries all commands at once, and compares each with its expectation.
async fn hold(rig: &TestRig, daemon: &RunningDaemon, cases: &[CarriedCase]) {
    for case in cases {
        rig.publish(&case.command).await;
    }
    for case in cases {
        let id = word(&case.command, "id");
        let event = rig.terminal(id).await;
        let kind = event["data"]["error"]["kind"].as_str().unwrap_or("completed");
        assert_eq!((kind, word(&event, "data.error.code")), (case.ending, case.code), "{event:#}");
        let dead_lettered = !matches!(kind, "completed" | "declined");
        assert_eq!(event["data"]["final"], !dead_lettered, "{event:#}");
        assert_eq!(
            event["data"]["error"]["dead_lettered"].as_bool().unwrap_or_default(),
            dead_lettered,
            "{event:#}"
        );
        let calls = rig.calls(id);
        assert_eq!((calls.calls, calls.acted), (case.calls, case.acted), "{id}");
        assert_eq!(event["data"]["attempt"], case.calls.max(1), "{event:#}");
    }
    let kept = cases.iter().filter(|case| !matches!(case.ending, "completed" | "declined")).count();
    rig.dead_letters("acme", u32::try_from(kept).unwrap()).await;
    rig.finish(daemon).await;
    rig.events.catch_up().await;
    for case in cases {
        let id = word(&case.command, "id");
        assert_eq!(rig.events.of(id).len(), 1, "{id}");
        // Within a generation the provider sees one key.
        let keyed = rig.sandbox.calls().keys.get(id).map_or(0, |calls| calls.calls);
        assert_eq!(
            keyed,
            if case.command["operation"] == "charge" { case.calls } else { 0 },
            "{id}"
        );
    }
}

#[tokio::test]
async fn an_answer_ends_a_command_as_it_means() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let cases = [
        case(charge("done", json!({})), "completed", "", 1, 1),
        case(send("sent", json!({})), "completed", "", 1, 1),
        case(
            charge("declined", json!({"decline": "card_declined"})),
            "declined",
            "card_declined",
            1,
            0,
        ),
        case(charge("bad", json!({"status": 400})), "rejected", "http_400", 1, 0),
        case(send("unauthorised", json!({"status": 401})), "rejected", "http_401", 1, 0),
        case(send("moved", json!({"status": 307})), "rejected", "http_307", 1, 0),
        case(charge("limited", json!({"status": 429, "fail_times": 2})), "completed", "", 3, 1),
        case(send("limited-send", json!({"status": 429, "fail_times": 2})), "completed", "", 3, 1),
        case(
            send("busy-send", json!({"status": 503, "retry_after": "1", "fail_times": 1})),
            "completed",
            "",
            2,
            1,
        ),
        case(charge("used-up", json!({"status": 429})), "unavailable", "http_429", 4, 0),
        case(
            charge("declined-late", json!({"status": 500, "fail_times": 1, "decline": "no"})),
            "declined",
            "no",
            2,
            0,
        ),
    ];
    hold(&rig, &daemon, &cases).await;
}

#[tokio::test]
async fn a_call_without_an_answer_is_repeated_under_the_same_key_and_the_provider_acts_once() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let lost = |id: &str, behaviour: Value| charge(id, and(behaviour, json!({"fail_times": 1})));
    let cases = [
        case(lost("failed-after-acting", json!({"act_then_fail": true})), "completed", "", 2, 1),
        case(lost("unavailable", json!({"status": 503})), "completed", "", 2, 1),
        case(lost("hanging", json!({"hang": "before_answer"})), "completed", "", 2, 1),
        case(lost("stalled", json!({"hang": "mid_body"})), "completed", "", 2, 1),
        case(lost("reset", json!({"reset": true})), "completed", "", 2, 1),
        case(lost("truncated", json!({"truncate": true})), "completed", "", 2, 1),
        case(lost("huge", json!({"huge": true})), "completed", "", 2, 1),
        case(charge("never-known", json!({"status": 500})), "unresolved", "http_500", 4, 0),
        case(
            lost("blocked-later", json!({"status": 500, "decline": "blocked"})),
            "unresolved",
            "http_402",
            2,
            0,
        ),
    ];
    hold(&rig, &daemon, &cases).await;
}

#[tokio::test]
async fn a_call_without_an_answer_and_without_a_key_is_never_repeated() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let cases = [
        case(send("failed", json!({"status": 500})), "unresolved", "http_500", 1, 0),
        case(
            send("failed-after-acting", json!({"act_then_fail": true})),
            "unresolved",
            "http_500",
            1,
            1,
        ),
        case(send("unavailable", json!({"status": 503})), "unresolved", "http_503", 1, 0),
        case(send("late", json!({"status": 408})), "unresolved", "http_408", 1, 0),
        case(send("hanging", json!({"hang": "before_answer"})), "unresolved", "timeout", 1, 0),
        case(send("stalled", json!({"hang": "mid_body"})), "unresolved", "timeout", 1, 1),
        case(send("reset", json!({"reset": true})), "unresolved", "reset", 1, 0),
        case(send("truncated", json!({"truncate": true})), "unresolved", "truncated", 1, 1),
        case(send("huge", json!({"huge": true})), "unresolved", "too_large", 1, 1),
    ];
    hold(&rig, &daemon, &cases).await;
}

#[tokio::test]
async fn a_provider_that_refuses_connections_was_certainly_not_reached() {
    let rig = TestRig::new("").await;
    // Bound and not listening: the port stays reserved, and refuses connections.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("https://localhost:{}", refusing.local_addr().unwrap().port());
    let rig = rig.file(
        "down",
        &format!(
            "name = \"down\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"{url}\"\n
             [operations.send]\nrequest = {{ method = \"POST\", path = \"/messages\" }}
             retry = {{ schedule = [\"1s\"], jitter = false }}"
        ),
    );
    let daemon = rig.start().await;
    let event = rig.carry(&command("down", "send", "refused", json!({}))).await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("unavailable", "connect")
    );
    let letter = dead(&rig.dead_letters("down", 1).await[0]);
    assert_eq!(
        (&letter["unknown"], letter["history"].as_array().unwrap().len()),
        (&json!(false), 2),
        "{letter:#}"
    );
    assert!(call_records(&daemon, "refused").iter().all(|record| record["sent"] == "no"));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn an_accepted_command_waits() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.publish(&charge("later", json!({"accepted": true}))).await;
    let event = rig.events.first(crate::rig::SOON, |event| event["subject"] == "later").await;
    assert_eq!(
        (word(&event, "data.state"), word(&event, "data.waiting_for")),
        ("waiting", "provider"),
        "{event:#}"
    );
    assert_eq!(
        (word(&event, "data.provider_reference"), &event["data"]["final"]),
        ("sb_1", &json!(false))
    );
    assert_eq!(word(&event, "data.result.status"), "processing");
    // The message waits on the ladder, for the query at the deadline.
    rig.broker.await_depth("ferry.retry.12h", 1).await;
    rig.end(&daemon).await;
    rig.events.catch_up().await;
    assert_eq!(rig.events.of("later").len(), 1);
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn a_result_that_cannot_be_mapped_is_null_and_named_and_the_command_is_completed() {
    let operations = r#"
[operations.tip]
request = { method = "POST", path = "/tips" }
[operations.tip.response]
result = { id = "{{ body.id }}", amount = "{{ body.id | decimal('EUR') }}" }
"#;
    let rig =
        TestRig::with("", &[("acme", SandboxFile { operations, ..SandboxFile::default() })]).await;
    let daemon = rig.start().await;
    let event = rig.carry(&command("acme", "tip", "odd", json!({}))).await;
    assert_eq!(event["data"]["state"], "completed");
    assert_eq!(event["data"]["result"], json!({"id": "sb_1", "amount": null}));
    let warnings = event["data"]["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains("amount"), "{event:#}");
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_dead_letter_holds_all_that_an_operator_needs() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let fields = json!({"reference": "order-7", "metadata": {"tenant": "eu-1"}, "expires_at": "2999-01-01T00:00:00Z"});
    let command = and(charge("whole", json!({"status": 500})), fields);
    rig.carry(&command).await;
    let message = &rig.dead_letters("acme", 1).await[0];
    assert_eq!(message.json(), command);
    let times = [
        "/first_sent",
        "/unknown_since",
        "/first_failed_at",
        "/dead_lettered_at",
        "/host",
        "/digest",
    ];
    let mut letter = redact(dead(message), &times);
    for call in letter["history"].as_array_mut().unwrap() {
        *call = redact(call.take(), &["/at", "/duration_ms"]);
    }
    insta::assert_json_snapshot!(letter);
    rig.finish(&daemon).await;
}
