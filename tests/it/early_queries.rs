//! Tests queries before their planned time, caused by a webhook or another command: their
//! results, and that no planned query comes later because of them.

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, command, word};
use crate::signed_webhooks::{call, notice_body};
use crate::unsigned_calls::{BY_COMMAND, pay, unsigned_rig};

/// The operation `pay`, whose polls come late.
const POLL: &str = r#"
[operations.pay.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "12h"
max_interval = "12h"
failed = "body.status == 'failed'"
"#;

/// Makes a webhook about a command.
async fn send_notice(daemon: &RunningDaemon, call_id: &str, command: &str) {
    let body = notice_body(call_id, "charge.succeeded", json!({"command": command}));
    assert_eq!(call(daemon, &body).await, Some(200));
}

/// Lists the distinct ids of a command's own events, in the order of their arrival.
fn events(rig: &TestRig, id: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for event in rig.events.of(id) {
        let event_id = word(&event, "id").to_owned();
        if word(&event, "type").starts_with("ferry.command.") && !ids.contains(&event_id) {
            ids.push(event_id);
        }
    }
    ids
}

/// Returns the output of `ferryd status` for a command.
async fn status(rig: &TestRig, id: &str) -> Value {
    let mut status = rig.setup.command(&["status", id, "--json"]);
    let output = tokio::task::spawn_blocking(move || status.output()).await.unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the time of the next query about a command, as `ferryd status` shows it.
async fn planned(rig: &TestRig, id: &str) -> Value {
    status(rig, id).await["timeline"].as_array().unwrap().last().unwrap()["until"].clone()
}

#[tokio::test]
async fn a_query_that_a_webhook_caused_and_that_failed_is_repeated_and_the_planned_poll_keeps_its_time()
 {
    let rig = unsigned_rig(BY_COMMAND, POLL).await;
    let daemon = rig.start().await;
    rig.publish(&pay("found", json!({"accepted": true, "hidden": "2s"}))).await;
    rig.publish(&pay("lost", json!({"accepted": true, "hidden": "1h"}))).await;
    rig.events.state("found", "waiting", SOON).await;
    let poll_at =
        rig.events.state("lost", "waiting", SOON).await["data"]["next_attempt_at"].clone();
    rig.sandbox.end("found", "succeeded");
    send_notice(&daemon, "evt-1", "found").await;
    assert_eq!(word(&rig.terminal("found").await, "data.state"), "completed");
    send_notice(&daemon, "evt-2", "lost").await;
    // One query at once, and two more on the schedule: then only the poll is left, at its time.
    eventually(SOON, "it is queried until the schedule is used up", async || {
        (rig.count_queries("lost") == 3).then_some(())
    })
    .await;
    eventually(SOON, "the poll is planned as before", async || {
        (planned(&rig, "lost").await == poll_at).then_some(())
    })
    .await;
    // Another call starts the schedule again, and does not change the poll either.
    send_notice(&daemon, "evt-3", "lost").await;
    eventually(SOON, "it is queried anew", async || (rig.count_queries("lost") == 6).then_some(()))
        .await;
    eventually(SOON, "the poll is planned as before", async || {
        (planned(&rig, "lost").await == poll_at).then_some(())
    })
    .await;
    assert_eq!(events(&rig, "lost"), ["lost/0/1/waiting"]);

    // The status shows the webhooks, and the query that each of them caused.
    let status = status(&rig, "lost").await;
    let prompts = status["prompts"].as_array().unwrap();
    assert!(
        prompts.len() == 2 && prompts.iter().all(|prompt| prompt["starts_query"] == true),
        "{status:#}"
    );
    let queries = status["queries"].as_array().unwrap();
    assert_eq!(
        queries.iter().map(|query| query["times"].as_u64().unwrap()).sum::<u64>(),
        6,
        "{status:#}"
    );
    for query in queries {
        assert_eq!(
            (&query["purpose"], &query["state"]),
            (&json!("lookup"), &json!("waiting")),
            "{status:#}"
        );
        assert_eq!(query["cause"]["notice"]["event"], "charge.succeeded", "{status:#}");
    }
    rig.end(&daemon).await;
}

/// Two calls can come while one query is being answered. The second finds that its query is
/// decided, by an answer that was given before the call came.
#[tokio::test]
async fn a_query_that_finds_another_one_decided_meanwhile_is_made_after_it() {
    let rig = unsigned_rig(BY_COMMAND, POLL).await;
    let daemon = rig.start().await;
    rig.publish(&pay("twice", json!({"accepted": true, "hidden": "1h"}))).await;
    rig.events.state("twice", "waiting", SOON).await;
    rig.broker.await_depth("ferry.retry.6h", 1).await;
    let waits = rig.broker.peek("ferry.retry.6h").await.remove(0);
    send_notice(&daemon, "evt-1", "twice").await;
    eventually(SOON, "it is queried until the schedule is used up", async || {
        (rig.count_queries("twice") == 3).then_some(())
    })
    .await;
    let mut headers = waits.properties.headers().clone().unwrap();
    let text = |text: &str| AMQPValue::LongString(text.into());
    for (header, planned) in [
        ("ferry-purpose", "ferry-planned-purpose"),
        ("ferry-not-before", "ferry-planned-not-before"),
    ] {
        headers.insert(planned.into(), headers.inner()[header].clone());
    }
    headers.insert("ferry-purpose".into(), text("lookup"));
    headers.insert("ferry-not-before".into(), text("2026-01-01T00:00:00Z"));
    headers.insert("ferry-hop".into(), AMQPValue::LongLongInt(99));
    let properties = waits.properties.clone().with_headers(headers);
    rig.broker.publish("ferry.redeliver", "lookup.acme", &waits.body, properties).await;
    eventually(SOON, "it is queried for the second call as well", async || {
        (rig.count_queries("twice") == 6).then_some(())
    })
    .await;
    rig.end(&daemon).await;
}

/// An operation that changes what another has done, two that are queried by the provider's own id
/// alone, and one whose poll serves as its lookup.
const MORE: &str = r#"
[operations.cancel]
request = { method = "POST", path = "/acme/cancel" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
affects = "{{ payload.payment }}"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.cancel.response]
reference = "{{ payload.payment }}"
success = "body.status == 'succeeded'"

[operations.blind]
request = { method = "POST", path = "/acme/blind" }
timeout = "2s"
retry = { schedule = ["1s", "1s"], jitter = false }
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.blind.response]
reference = "{{ payload.known_as | default(body.id) }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
[operations.blind.lookup]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
after = "1s"
found = "body.status"

[operations.slow]
request = { method = "POST", path = "/acme/slow" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
deadline = "2d"
lookup = "poll"
body = { id = "{{ command.id }}", sandbox = "{{ payload.sandbox }}" }
[operations.slow.poll]
request = { method = "GET", path = "/sandbox/transactions/{{ provider_reference }}" }
interval = "12h"
max_interval = "12h"
[operations.slow.response]
reference = "{{ body.id }}"
success = "body.status == 'succeeded'"
accepted = "body.status == 'processing'"
"#;

/// Builds a command that cancels the object which the provider calls `payment`.
fn cancel(id: &str, payment: &str) -> Value {
    let mut cancel = command("acme", "cancel", id, json!({}));
    cancel["payload"]["payment"] = json!(payment);
    cancel
}

#[tokio::test]
async fn a_payment_that_another_command_has_cancelled_is_queried_at_once() {
    let rig = unsigned_rig(BY_COMMAND, &format!("{POLL}{MORE}")).await;
    let daemon = rig.start().await;
    for id in ["kept", "dropped"] {
        rig.publish(&pay(id, json!({"accepted": true}))).await;
    }
    let mut references = Vec::new();
    for id in ["kept", "dropped"] {
        let waiting = rig.events.state(id, "waiting", SOON).await;
        references.push(word(&waiting, "data.provider_reference").to_owned());
    }
    // A payment that cannot be cancelled any more is polled at its planned time.
    let mut late = cancel("late", &references[0]);
    late["payload"]["sandbox"] = json!({"decline": true});
    assert_eq!(word(&rig.carry(&late).await, "data.error.kind"), "declined");
    assert_eq!(word(&rig.carry(&cancel("of-nobody", "sb_99")).await, "data.state"), "completed");
    rig.sandbox.end("dropped", "failed");
    assert_eq!(
        word(&rig.carry(&cancel("withdrawn", &references[1])).await, "data.state"),
        "completed"
    );
    let end = rig.terminal("dropped").await;
    assert_eq!(
        (word(&end, "data.error.kind"), &end["data"]["attempt"]),
        ("declined", &json!(1)),
        "{end:#}"
    );
    // Only the cancelled payment was polled, and its answer came at once.
    let seen =
        [&references[1], "dropped", &references[0], "kept"].map(|about| rig.count_queries(about));
    assert_eq!(seen, [1, 0, 0, 0]);
    assert_eq!(events(&rig, "dropped"), ["dropped/0/1/waiting", "dropped/0/1/failed"]);
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_query_by_an_id_that_no_answer_has_given_is_not_made() {
    let rig = unsigned_rig(BY_COMMAND, &format!("{POLL}{MORE}")).await;
    let daemon = rig.start().await;
    let end =
        rig.carry(&command("acme", "blind", "unanswered", json!({"act_then_fail": true}))).await;
    assert_eq!(word(&end, "data.error.kind"), "unresolved");
    let message = word(&end, "data.error.message");
    assert!(!message.contains("was queried"), "{message}");
    let mut found = command("acme", "blind", "answered", json!({"act_then_fail": true}));
    found["payload"]["known_as"] = json!("sb_2");
    assert_eq!(word(&rig.carry(&found).await, "data.state"), "completed");
    assert_eq!(
        rig.sandbox.calls().questions.values().sum::<u64>(),
        1,
        "only of the one whose id is known"
    );
    rig.end(&daemon).await;
}

#[tokio::test]
async fn the_request_of_a_poll_serves_for_a_lookup_too() {
    let rig = unsigned_rig(BY_COMMAND, &format!("{POLL}{MORE}")).await;
    let daemon = rig.start().await;
    rig.publish(&command("acme", "slow", "both", json!({"accepted": true}))).await;
    let waiting = rig.events.state("both", "waiting", SOON).await;
    let reference = word(&waiting, "data.provider_reference");
    send_notice(&daemon, "evt-1", "both").await;
    eventually(SOON, "it is queried", async || (rig.count_queries(reference) == 1).then_some(()))
        .await;
    rig.sandbox.end("both", "succeeded");
    send_notice(&daemon, "evt-2", "both").await;
    assert_eq!(word(&rig.terminal("both").await, "data.state"), "completed");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_call_about_a_payment_that_is_still_open_is_no_event_of_its_command_and_no_attempt() {
    let rig = unsigned_rig(BY_COMMAND, POLL).await;
    let daemon = rig.start().await;
    rig.publish(&pay("open", json!({"accepted": true}))).await;
    rig.events.state("open", "waiting", SOON).await;
    for number in 1..=3 {
        send_notice(&daemon, &format!("evt-{number}"), "open").await;
        eventually(SOON, "it is queried", async || {
            (rig.count_queries("open") == number).then_some(())
        })
        .await;
    }
    rig.sandbox.end("open", "succeeded");
    send_notice(&daemon, "evt-4", "open").await;
    let end = rig.terminal("open").await;
    assert_eq!((word(&end, "data.state"), &end["data"]["attempt"]), ("completed", &json!(1)));
    rig.events.catch_up().await;
    assert_eq!(events(&rig, "open"), ["open/0/1/waiting", "open/0/1/completed"]);
    assert_eq!((rig.calls("open").calls, rig.calls("open").acted), (1, 1));
    rig.end(&daemon).await;
}
