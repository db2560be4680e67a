//! Tests that refused messages claim nothing: the id that their publisher wrote stays free for the
//! command that it means, and none of them ends a command with that id.

use serde_json::{Value, json};

use crate::harness::broker::persistent;
use crate::harness::daemon::RunningDaemon;
use crate::harness::wait::eventually;
use crate::operator::recorded::{ferryd, ferryd_json};
use crate::rig::{SOON, SandboxFile, TestRig, and, charge, command, dead, word};

pub(crate) const PERSON: [&str; 4] = ["--by", "ann", "--reason", "a mistake"];

/// An operation whose request can't be made without a note.
const NOTED: &str = r#"
[operations.noted]
request = { method = "POST", path = "/acme/noted" }
body = { id = "{{ command.id }}", note = "note {{ payload.note }}" }
"#;

async fn publish(rig: &TestRig, key: &str, body: &str) {
    rig.broker.publish("ferry.commands", key, body.as_bytes(), persistent()).await;
}

/// Builds a command for an account that does not exist.
pub(crate) fn of_mars(id: &str) -> Value {
    and(charge(id, json!({})), json!({"account": "mars"}))
}

/// Waits for the event of a message that was refused under an id.
pub(crate) async fn refusal(rig: &TestRig, id: &str) -> Value {
    let refused = format!("{id}/refused/");
    rig.events.first(SOON, |event| word(event, "id").starts_with(&refused)).await
}

/// Waits until the ledger records that the effects of a refused message are published, after which
/// they are not published again.
pub(crate) async fn settled(rig: &TestRig, refused: &str) {
    let is_settled = async || {
        let status = ferryd(rig, &["status", refused]).await;
        (status.code == Some(0) && !status.out.contains("not known to be published")).then_some(())
    };
    eventually(SOON, &format!("{refused} is settled"), is_settled).await;
}

pub(crate) fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|dead| word(dead, "command.id").to_owned()).collect()
}

pub(crate) async fn end(daemon: &RunningDaemon) {
    daemon.sigterm();
    assert!(daemon.wait(SOON).await.success());
}

#[tokio::test]
async fn a_refused_message_does_not_keep_its_id_from_the_command_that_is_published_next() {
    let rig =
        TestRig::with("", &[("acme", SandboxFile { operations: NOTED, ..SandboxFile::default() })])
            .await;
    let daemon = rig.start().await;
    let but = |id: &str, fields| and(charge(id, json!({})), fields).to_string();
    let wrong = [
        ("invalid_field", "payment.acme.charge", but("field", json!({"prority": 1})), "field"),
        ("unknown_account", "payment.acme.charge", of_mars("account").to_string(), "account"),
        (
            "unknown_operation",
            "payment.acme.refund",
            but("operation", json!({"operation": "refund"})),
            "operation",
        ),
        ("key_mismatch", "payment.acme.send", but("key", json!({})), "key"),
        ("type_mismatch", "shipping.acme.charge", but("type", json!({"type": "shipping"})), "type"),
        (
            "invalid_payload",
            "payment.acme.charge",
            but("payload", json!({"payload": {}})),
            "payload",
        ),
        (
            "unknown_provider",
            "payment.nobody.charge",
            but("nobody", json!({"provider": "nobody"})),
            "nobody",
        ),
        ("no_route", "payment.any.charge", but("route", json!({"provider": "any"})), "route"),
        (
            "invalid_request",
            "payment.acme.noted",
            command("acme", "noted", "request", json!({})).to_string(),
            "request",
        ),
    ];
    for (code, key, body, id) in &wrong {
        publish(&rig, key, body).await;
        let event = refusal(&rig, id).await;
        assert_eq!(
            (word(&event, "data.error.code"), word(&event, "data.error.kind")),
            (*code, "invalid")
        );
        assert_eq!(
            (word(&event, "type"), word(&event, "subject")),
            ("ferry.command.failed", *id),
            "{event:#}"
        );
        assert_eq!(
            (word(&event, "data.command.id"), &event["data"]["sequence"]),
            (*id, &json!(0)),
            "{event:#}"
        );
    }
    for (.., id) in &wrong {
        rig.publish(&charge(id, json!({}))).await;
        let event = rig.events.state(id, "completed", SOON).await;
        assert!(event["data"]["sequence"].as_u64() > Some(0), "{event:#}");
        assert_eq!(
            (word(&event, "id"), rig.calls(id).acted),
            (format!("{id}/0/1/completed").as_str(), 1)
        );
    }
    rig.events.catch_up().await;
    assert_eq!(
        rig.events.all().len(),
        2 * wrong.len(),
        "one refusal and one end each, and no conflict"
    );
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_message_that_is_refused_under_the_id_of_a_command_is_a_conflict_and_ends_nothing() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.carry(&charge("known", json!({}))).await;
    rig.publish(&of_mars("known")).await;
    let conflict = rig.events.first(SOON, |event| event["type"] == "ferry.command.conflict").await;
    assert_eq!(
        (word(&conflict, "subject"), word(&conflict, "data.conflict")),
        ("known", "content")
    );
    let letters = rig.dead_letters("acme", 1).await;
    let refused = word(&dead(&letters[0]), "command.id").to_owned();
    assert!(refused.starts_with("known/refused/"), "{refused}");
    settled(&rig, &refused).await;
    rig.publish(&of_mars("known")).await;
    let again = async || {
        (rig.events.of("known").iter().filter(|event| event["id"] == conflict["id"]).count() == 2)
            .then_some(())
    };
    eventually(SOON, "it is published again", again).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(1), "the same message is kept once");

    // A person finds the dead letter beside the command, and resolves it.
    let daemon = rig.start().await;
    assert_eq!(ids(&ferryd_json(&rig, &["dead-letters", "list"]).await), [refused.as_str()]);
    assert_eq!(
        ids(&ferryd_json(&rig, &["dead-letters", "list", "--queues"]).await),
        [refused.as_str()]
    );
    let status = ferryd_json(&rig, &["status", "known"]).await;
    let listed: Vec<_> =
        status["refused"].as_array().unwrap().iter().map(|note| word(note, "id")).collect();
    assert_eq!((word(&status, "state"), listed), ("completed", vec![&*refused]), "{status:#}");
    assert_eq!(word(&status["conflicts"][0], "conflict"), "content", "{status:#}");
    let status = ferryd(&rig, &["status", "known"]).await;
    assert!(status.out.contains(&refused), "{status:?}");
    let resolved = ferryd(
        &rig,
        &[&["dead-letters", "resolve", &refused, "--completed"], &PERSON[..]].concat(),
    )
    .await;
    assert_eq!(resolved.code, Some(1), "{resolved:?}");
    let discarded =
        ferryd_json(&rig, &[&["dead-letters", "discard", &refused], &PERSON[..]].concat()).await;
    assert_eq!(discarded["done"], 1, "{discarded}");
    rig.broker.await_depth("ferry.dead.acme", 0).await;
    rig.finish(&daemon).await;
    rig.events.catch_up().await;
    let ends = rig.events.of("known");
    let failed: Vec<_> = ends.iter().filter(|event| event["data"]["state"] == "failed").collect();
    assert!(failed.is_empty(), "nothing of it is an event of the command: {failed:#?}");
    assert_eq!(rig.calls("known").calls, 1);
}

#[tokio::test]
async fn different_messages_that_are_refused_under_one_id_are_distinguished_and_copies_of_one_are_not()
 {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let publish_all = async || {
        rig.publish(&of_mars("twice")).await;
        publish(&rig, "payment.acme.charge", r#"{"id": "twice""#).await;
        publish(&rig, "payment.acme.charge", r#"{"id": "twice"}"#).await;
    };
    publish_all().await;
    // A message that is no JSON has no readable id.
    let letters = rig.dead_letters("acme", 3).await;
    let ids: std::collections::BTreeSet<_> =
        letters.iter().map(|letter| word(&dead(letter), "command.id").to_owned()).collect();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert_eq!(ids.iter().filter(|id| id.starts_with("twice/refused/")).count(), 2, "{ids:?}");
    for id in &ids {
        settled(&rig, id).await;
    }
    publish_all().await;
    eventually(SOON, "all are published again", async || {
        (rig.events.all().len() >= 6).then_some(())
    })
    .await;
    rig.finish(&daemon).await;
    rig.events.catch_up().await;
    let events: std::collections::BTreeSet<_> =
        rig.events.all().iter().map(|event| word(event, "id").to_owned()).collect();
    assert_eq!(events, ids, "each event has the id under which its message is kept");
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(3));
}

#[tokio::test]
async fn a_request_to_cancel_is_kept_for_the_command_and_not_spent_on_a_message_that_is_refused() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let cancelled = ferryd(&rig, &["cancel", "order"]).await;
    assert_eq!(cancelled.code, Some(0), "{cancelled:?}");
    rig.publish(&of_mars("order")).await;
    assert_eq!(word(&refusal(&rig, "order").await, "data.error.kind"), "invalid");
    rig.publish(&charge("order", json!({}))).await;
    let event = rig.events.first(SOON, |event| word(event, "id") == "order/0/1/failed").await;
    assert_eq!(word(&event, "data.error.kind"), "cancelled");
    assert_eq!(rig.calls("order").calls, 0);
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_message_that_died_of_age_and_would_have_been_refused_claims_nothing() {
    let rig = TestRig::new("").await;
    rig.declare().await;
    let properties = persistent().with_expiration("10".into());
    let body = of_mars("old").to_string();
    rig.broker.publish("ferry.commands", "payment.acme.charge", body.as_bytes(), properties).await;
    rig.broker.await_depth("ferry.poison", 1).await;
    let daemon = rig.start().await;
    let event = refusal(&rig, "old").await;
    assert_eq!(
        (word(&event, "data.error.kind"), word(&event, "data.error.code")),
        ("invalid", "unknown_account")
    );
    rig.publish(&charge("old", json!({}))).await;
    rig.events.state("old", "completed", SOON).await;
    rig.finish(&daemon).await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn an_interrupted_refusal_is_published_as_one_and_kept_as_one() {
    for (place, known) in [
        ("concluded", false),
        ("partly_published", false),
        ("concluded", true),
        ("partly_published", true),
    ] {
        let rig = TestRig::new("").await;
        let daemon = rig.start().await;
        if known {
            rig.carry(&charge("order", json!({}))).await;
        }
        end(&daemon).await;
        rig.publish(&of_mars("order")).await;
        let daemon = rig.setup.start_armed(&format!("{place}=kill"));
        assert!(!daemon.wait(SOON).await.success(), "it died at {place}");
        let daemon = rig.start().await;
        let kind = if known { "ferry.command.conflict" } else { "ferry.command.failed" };
        rig.events.first(SOON, |event| event["type"] == kind).await;
        rig.finish(&daemon).await;
        rig.events.catch_up().await;
        let events = rig.events.of("order");
        let event_ids: std::collections::BTreeSet<_> = events
            .iter()
            .filter(|event| event["data"]["state"] != "completed")
            .map(|event| word(event, "id"))
            .collect();
        assert_eq!(event_ids.len(), 1, "{place}: {events:#?}");
        let daemon = rig.start().await;
        let listed = ids(&ferryd_json(&rig, &["dead-letters", "list"]).await);
        assert!(
            listed.len() == 1 && listed[0].starts_with("order/refused/"),
            "{place}: {listed:?}"
        );
        let letters = rig.broker.depth("ferry.dead.acme").await;
        assert_eq!(
            letters,
            Some(if place == "concluded" { 1 } else { 2 }),
            "{place}, known: {known}"
        );
        end(&daemon).await;
    }
}
