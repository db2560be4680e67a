//! Dead letters of a daemon with a ledger: what a person decides about them is recorded, and counts
//! once.

use ferryd_broker::failure::CloseCause;
use ferryd_broker::refused_message::RefusedMessage;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::record::{DecidedBy, FinishedRecord, Record, RecordBody, Step};
use ferryd_domain::outcome::Success;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::recorded::{ferryd, ferryd_json, index, job_counts, write_record};
use crate::api_client::TestClient;
use crate::harness::broker::QueuedMessage;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, and, charge, command, dead, send, word};

const REFUSED: &str = "seen in the dashboard";

/// Gives up a command at an operation without a key, of which it is unknown whether it acted.
async fn dead_letter(rig: &TestRig, id: &str) {
    let command =
        and(send(id, json!({"status": 500})), json!({"reference": format!("order-of-{id}")}));
    let event = rig.carry(&command).await;
    assert_eq!(word(&event, "data.error.kind"), "unresolved");
}

/// The event that took the place of the first end of a command.
async fn last_event(rig: &TestRig, id: &str) -> Value {
    rig.events.first(SOON, |event| event["subject"] == id && event["data"]["final"] == true).await
}

#[tokio::test]
async fn a_command_is_resolved_as_a_person_says_and_that_is_its_last_event() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let ways: [(&str, &[&str], &str, &str); 3] = [
        (
            "done",
            &["dead", "resolve", "done", "--completed", "--reference", "ch_1"],
            "completed",
            "",
        ),
        (
            "not-done",
            &["dead-letters", "resolve", "not-done", "--failed", "--code", "not_executed"],
            "failed",
            "declined",
        ),
        ("given-up", &["dead-letters", "discard", "given-up"], "failed", "discarded"),
    ];
    for (id, arguments, state, kind) in ways {
        dead_letter(&rig, id).await;
        let first = rig.events.of(id)[0].clone();
        let person = ["--by", "ann", "--reason", REFUSED];
        let done = ferryd_json(&rig, &[arguments, &person].concat()).await;
        assert_eq!((&done["done"], &done["progress"]["closed"]), (&json!(1), &json!(0)), "{done}");
        let event = last_event(&rig, id).await;
        assert_eq!(
            (word(&event, "data.state"), word(&event, "data.error.kind")),
            (state, kind),
            "{event:#}"
        );
        assert!(
            event["data"]["sequence"].as_u64() > first["data"]["sequence"].as_u64(),
            "{event:#}"
        );
        let status = ferryd_json(&rig, &["status", id]).await;
        assert_eq!(
            (&status["state"], &status["dead"]),
            (&json!(state), &json!(false)),
            "{status:#}"
        );
        let history = status["timeline"].to_string();
        assert!(history.contains("by ann via api:host: seen in the dashboard"), "{history}");
        let again = ferryd(&rig, &[arguments, &person].concat()).await;
        assert_eq!(again.code, Some(1), "nothing is left to decide: {again:?}");
    }
    assert_eq!(word(&last_event(&rig, "done").await, "data.provider_reference"), "ch_1");
    rig.finish(&daemon).await;
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

#[tokio::test]
async fn dead_letters_are_listed_and_grouped_by_the_ledger() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    for id in ["first", "second"] {
        dead_letter(&rig, id).await;
    }
    rig.carry(&charge("blocked", json!({"decline": "blocked"}))).await;
    rig.carry(&charge("paid", json!({}))).await;
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|dead| word(dead, "command.id").to_owned()).collect()
    };
    let by_ledger = ferryd_json(&rig, &["dead-letters", "list"]).await;
    assert_eq!(ids(&by_ledger), ["first", "second", "blocked"]);
    let by_queues = ferryd_json(&rig, &["dead-letters", "list", "--queues"]).await;
    assert_eq!(ids(&by_queues), ids(&by_ledger));
    assert_eq!(
        ids(&ferryd_json(&rig, &["dead-letters", "list", "--kind", "rejected"]).await),
        ["blocked"]
    );
    for (filter, expected) in [
        (["--type", "payment"], "first second blocked"),
        (["--type", "shipping"], ""),
        (["--provider", "acme"], "first second blocked"),
        (["--account", "default"], "first second blocked"),
        (["--account", "other"], ""),
        (["--operation", "send"], "first second"),
        (["--reference", "order-of-first"], "first"),
        (["--kind", "rejected"], "blocked"),
        (["--code", "http_402"], "blocked"),
        (["--http-status", "500"], "first second"),
        (["--generation", "0"], "first second blocked"),
        (["--generation", "1"], ""),
        (["--newer-than", "1h"], "first second blocked"),
        (["--older-than", "1h"], ""),
    ] {
        for list in [&["dead-letters", "list"][..], &["dead-letters", "list", "--queues"]] {
            let found = ferryd_json(&rig, &[list, &filter].concat()).await;
            assert_eq!(ids(&found).join(" "), expected, "{list:?} {filter:?}");
        }
        let found = ferryd_json(&rig, &["dead-letters", "groups", filter[0], filter[1]]).await;
        let count: u64 =
            found.as_array().unwrap().iter().map(|group| group["count"].as_u64().unwrap()).sum();
        assert_eq!(count, expected.split_whitespace().count() as u64, "{filter:?}");
    }

    let groups = ferryd_json(&rig, &["dead-letters", "groups"]).await;
    let groups: Vec<_> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| {
            (
                word(group, "operation"),
                word(group, "kind"),
                group["count"].as_u64().unwrap(),
                word(group, "example"),
            )
        })
        .collect();
    assert_eq!(groups, [("send", "unresolved", 2, "second"), ("charge", "rejected", 1, "blocked")]);

    let shown = ferryd_json(&rig, &["dead-letters", "show", "first"]).await;
    let whole = ferryd_json(&rig, &["dead-letters", "show", "first", "--message"]).await;
    assert_eq!(
        shown[0]["record"], whole[0]["record"],
        "what was recorded is what lies in the queue"
    );
    assert_eq!(
        (&shown[0]["queue"], &whole[0]["queue"]),
        (&json!("ferry.dead.acme"), &json!("ferry.dead.acme"))
    );
    assert_eq!(
        (&shown[0]["message"], &whole[0]["message"]["body"]["id"]),
        (&Value::Null, &json!("first"))
    );
    assert_eq!(shown[0]["record"]["history"][0]["http_status"], 500, "{shown:#}");
    // One of a provider that is not there is dead-lettered.
    rig.publish(&command("nobody", "send", "unrouted", json!({}))).await;
    // It was refused, so that its dead letter has the id of its event.
    let unrouted = rig.terminal("unrouted").await;
    let unrouted = word(&unrouted, "id");
    for arguments in [
        &["dead-letters", "show", unrouted][..],
        &["dead-letters", "show", unrouted, "--message"],
        &["dead-letters", "list", "--queues", unrouted],
    ] {
        assert_eq!(
            ferryd_json(&rig, arguments).await[0]["queue"],
            "ferry.dead.other",
            "{arguments:?}"
        );
    }
    ferryd_json(&rig, &["dead-letters", "discard", unrouted, "--by", "ann", "--reason", REFUSED])
        .await;
    let shown = ferryd(&rig, &["dead-letters", "show", "paid"]).await;
    assert!(
        shown.code == Some(1)
            && shown.err.contains("the ledger knows of no dead letter of command `paid`"),
        "{shown:?}"
    );

    rig.broker.purge("ferry.dead.acme").await;
    assert_eq!(ids(&ferryd_json(&rig, &["dead-letters", "list"]).await).len(), 3);
    assert_eq!(ferryd_json(&rig, &["dead-letters", "list", "--queues"]).await, json!([]));
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_dead_letter_whose_command_has_ended_meanwhile_is_not_sent_again() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    dead_letter(&rig, "ended").await;
    let letter = rig.dead_letters("acme", 1).await.remove(0);
    ferryd_json(
        &rig,
        &["dead-letters", "resolve", "ended", "--completed", "--by", "ann", "--reason", REFUSED],
    )
    .await;
    // As if the person had been killed before it was removed.
    rig.broker.publish("ferry.dead", "acme", &letter.body, letter.properties.clone()).await;
    rig.broker.await_depth("ferry.dead.acme", 1).await;
    let replayed = ferryd_json(
        &rig,
        &["dead-letters", "replay", "ended", "--force-new-key", "--by", "ann", "--reason", REFUSED],
    )
    .await;
    assert_eq!(
        (&replayed["done"], &replayed["progress"]["closed"]),
        (&json!(0), &json!(1)),
        "{replayed}"
    );
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("ended").calls, 1);
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
}

/// A person says the outcome of a command, and the instance that does so dies once that is
/// recorded.
async fn resolve_and_die(rig: &TestRig, id: &str) {
    let armed = rig.setup.start_armed("stated=kill");
    armed.wait_ready().await;
    let client = TestClient::of(&armed).await;
    client.wait_ready().await;
    let order = json!({
        "action": "resolve", "filter": { "ids": [id] }, "resolution": { "as": "completed" }, "reason": REFUSED,
    });
    // It may die before it has answered.
    client.try_ask("POST", "/v1/jobs", &order.to_string()).await;
    armed.wait(SOON).await;
    assert!(
        rig.events.of(id).iter().all(|event| event["data"]["final"] == false),
        "nothing is published yet"
    );
}

#[tokio::test]
async fn an_end_that_a_killed_instance_left_unpublished_is_published_before_its_dead_letter_goes() {
    let rig =
        TestRig::new("").await.env("FERRYD_JOB_SILENCE", "3").env("FERRYD_JOB_ROUND_PAUSE", "1");
    let daemon = rig.start().await;
    let others: [(&str, &[&str]); 3] = [
        ("replayed", &["dead-letters", "replay", "--force-new-key"]),
        ("discarded", &["dead-letters", "discard"]),
        ("resolved-again", &["dead-letters", "resolve", "--completed"]),
    ];
    for (id, _) in others {
        dead_letter(&rig, id).await;
    }
    rig.finish(&daemon).await;
    for (id, arguments) in others {
        resolve_and_die(&rig, id).await;
        let daemon = rig.start().await;
        // Beside the job that goes on; whichever comes first, the dead letter is closed.
        let person = [id, "--by", "bob", "--reason", REFUSED, "--json"];
        let done = ferryd(&rig, &[arguments, &person].concat()).await;
        let job = done.json();
        let outcome = (done.code, job_counts(&job));
        // Bob's job closes the dead letter, or finds that the other one has done so.
        let outcomes = [
            (Some(0), ("finished", json!([0, 1, 0, 0]))),
            (Some(1), ("finished", json!([0, 0, 0, 0]))),
        ];
        assert!(outcomes.contains(&outcome), "{id}: {done:?}");
        let event = last_event(&rig, id).await;
        assert_eq!(word(&event, "data.state"), "completed", "{event:#}");
        rig.finish(&daemon).await;
    }
    let daemon = rig.start().await;
    rig.broker.await_depth("ferry.dead.acme", 0).await;
    rig.finish(&daemon).await;
    for (id, _) in others {
        assert_eq!(rig.calls(id).calls, 1, "{id} is not sent again");
        assert_eq!(rig.events.of(id).len(), 2, "{id}: what is settled is not published again");
    }
}

#[tokio::test]
async fn an_end_that_was_left_unpublished_is_published_whoever_decided_it() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    for id in ["by-a-person", "by-a-webhook"] {
        dead_letter(&rig, id).await;
    }
    let letters = rig.dead_letters("acme", 2).await;
    rig.finish(&daemon).await;
    resolve_and_die(&rig, "by-a-person").await;
    // As an instance does that dies before it publishes what a provider answered.
    let letter: DeadLetter = letters
        .iter()
        .map(|letter| serde_json::from_value(dead(letter)).unwrap())
        .find(|letter: &DeadLetter| letter.command.id.as_str() == "by-a-webhook")
        .unwrap();
    let step = Step::call(letter.generation, letter.attempt);
    let (at, command) = (Timestamp::now(), letter.command.id.clone());
    let moment = EventMoment { generation: letter.generation, attempt: letter.attempt, at };
    let event = Event::new(
        letter.command,
        moment,
        EventKind::Completed(Success::default()),
        TraceContext::default(),
    );
    let finished = FinishedRecord::for_event(step, DecidedBy::Holder, event.into(), true);
    write_record(&rig, &Record { at, command, fact: RecordBody::Finished(Box::new(finished)) })
        .await;
    let daemon = rig.start().await;
    for id in ["by-a-person", "by-a-webhook"] {
        assert_eq!(word(&last_event(&rig, id).await, "data.state"), "completed");
    }
    eventually(SOON, "both are settled", async || {
        let unsettled = index(&rig).unpublished_endings(Timestamp::MAX, 10).unwrap();
        unsettled.is_empty().then_some(())
    })
    .await;
    rig.finish(&daemon).await;
}

#[tokio::test]
async fn a_dead_letter_that_the_broker_had_refused_is_listed_shown_and_replayed_as_what_it_was() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.carry(&charge("again", json!({"decline": "blocked"}))).await;
    let QueuedMessage { properties, body, .. } = rig.dead_letters("acme", 1).await.remove(0);
    rig.broker.purge("ferry.dead.acme").await;
    let properties = properties.with_user_id("somebody".into());
    let refused = ferryd_broker::message::OutgoingMessage {
        exchange: "ferry.dead".into(),
        routing_key: "acme".into(),
        properties,
        body: body.clone(),
    };
    let cause = CloseCause { code: Some(406), reason: "PRECONDITION_FAILED".to_owned() };
    let kept =
        RefusedMessage::new(&refused, &cause, Timestamp::now()).to_message("ferry.dead".into());
    rig.broker.publish("ferry.dead", kept.routing_key.as_str(), &kept.body, kept.properties).await;
    rig.broker.await_depth("ferry.dead.acme", 1).await;

    let listed = ferryd_json(&rig, &["dead-letters", "list", "--queues"]).await;
    assert_eq!(
        (word(&listed[0], "command.id"), word(&listed[0], "kind")),
        ("again", "rejected"),
        "{listed:#}"
    );
    let shown = ferryd_json(&rig, &["dead-letters", "show", "again", "--message"]).await;
    assert_eq!(
        (&shown[0]["message"]["refused"]["code"], &shown[0]["message"]["body"]["id"]),
        (&json!(406), &json!("again")),
        "{shown:#}"
    );
    assert_eq!(word(&shown[0], "message.properties.user_id"), "somebody", "{shown:#}");
    let replayed = ferryd_json(&rig, &["dead-letters", "replay", "again"]).await;
    assert_eq!(
        (&replayed["done"], &replayed["progress"]["refused"]),
        (&json!(1), &json!(0)),
        "{replayed}"
    );
    rig.events
        .first(SOON, |event| event["subject"] == "again" && event["data"]["generation"] == 1)
        .await;
    rig.dead_letters("acme", 1).await;
    rig.finish(&daemon).await;
    assert_eq!(rig.calls("again").calls, 2);
}
