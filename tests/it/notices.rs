//! Tests the effects of webhooks: they end commands, or are published as events, and change
//! nothing when they are repeated.

use std::collections::BTreeMap;

use lapin::types::AMQPValue;
use serde_json::{Value, json};

use crate::harness::broker::{QueuedMessage, TestBroker, persistent};
use crate::harness::node::BrokerNode;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, charge, command, word};
use crate::signed_webhooks::{SECRET, call, ends, notice_body, rig_on, signed_rig};

async fn rig() -> TestRig {
    signed_rig("").await
}

/// Waits for the event about a call.
async fn received(rig: &TestRig, id: &str) -> Value {
    let id = format!("webhook/acme/default/{id}");
    rig.events.first(SOON, |event| event["id"] == id).await
}

#[tokio::test]
async fn a_call_ends_the_command_it_is_about_and_the_second_one_changes_nothing() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("paid", json!({"accepted": true}))).await;
    rig.publish(&charge("refused", json!({"accepted": true}))).await;
    let about = |event: &Value| json!({"about": word(event, "data.provider_reference"), "amount": 1099, "code": "no_funds"});
    let [paid, refused] = [
        rig.events.state("paid", "waiting", SOON).await,
        rig.events.state("refused", "waiting", SOON).await,
    ];
    for id in ["evt-1", "evt-1", "evt-2"] {
        assert_eq!(
            call(&daemon, &notice_body(id, "charge.succeeded", about(&paid))).await,
            Some(200)
        );
    }
    assert_eq!(
        call(&daemon, &notice_body("evt-3", "charge.failed", about(&refused))).await,
        Some(200)
    );
    let end = rig.terminal("paid").await;
    assert_eq!(
        (word(&end, "data.state"), &end["data"]["result"]["paid"]),
        ("completed", &json!(1099))
    );
    let end = rig.terminal("refused").await;
    assert_eq!(
        (word(&end, "data.error.kind"), word(&end, "data.error.code")),
        ("declined", "no_funds")
    );
    for (event, subject) in [("evt-1", "paid"), ("evt-2", "paid"), ("evt-3", "refused")] {
        let event = received(&rig, event).await;
        assert_eq!(
            (word(&event, "subject"), word(&event, "type")),
            (subject, "ferry.webhook.received")
        );
        assert_eq!(word(&event, "data.command.provider"), "acme");
    }
    rig.events.catch_up().await;
    assert_eq!(ends(&rig, "paid"), ["paid/0/1/completed"]);
    // The notice contradicts the recorded outcome, and is published for a person.
    assert_eq!(
        call(&daemon, &notice_body("evt-4", "charge.failed", about(&paid))).await,
        Some(200)
    );
    let conflict = rig.events.first(SOON, |event| event["type"] == "ferry.command.conflict").await;
    assert_eq!(
        (word(&conflict, "subject"), word(&conflict, "data.contradicted_by")),
        ("paid", "failed")
    );
    assert_eq!(rig.calls("paid").calls, 1);
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_call_that_comes_before_its_command_is_known_finds_it_later() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let early =
        notice_body("early-1", "charge.succeeded", json!({"command": "early", "about": "sb_1"}));
    assert_eq!(call(&daemon, &early).await, Some(200));
    // The sandbox numbers the objects it accepts: references are known before they are given.
    let by_reference = notice_body("early-2", "charge.succeeded", json!({"about": "sb_2"}));
    assert_eq!(call(&daemon, &by_reference).await, Some(200));
    rig.broker.await_depth("ferry.webhooks.acme", 0).await;
    for id in ["early", "later"] {
        rig.publish(&charge(id, json!({"accepted": true}))).await;
        rig.events.state(id, "waiting", SOON).await;
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
    }
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_call_ends_a_command_whose_call_still_runs_or_is_in_doubt() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("running", json!({"latency": "1500ms"}))).await;
    rig.publish(&command("acme", "send", "doubtful", json!({"act_then_fail": true}))).await;
    assert_eq!(word(&rig.terminal("doubtful").await, "data.error.kind"), "unresolved");
    for id in ["running", "doubtful"] {
        let body = notice_body(&format!("evt-{id}"), "charge.succeeded", json!({"command": id}));
        assert_eq!(call(&daemon, &body).await, Some(200));
        let end = rig.events.state(id, "completed", SOON).await;
        assert_eq!(end["data"]["final"], true);
    }
    let over = async || (rig.sandbox.calls().concurrent == 0).then_some(());
    eventually(SOON, "the call has ended", over).await;
    rig.end(&daemon).await;
    rig.events.catch_up().await;
    assert_eq!(
        ends(&rig, "running"),
        ["running/0/1/completed"],
        "the call's own answer changes nothing"
    );
}

#[tokio::test]
async fn a_webhook_about_no_known_command_is_published_all_the_same() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let dispute = json!({"about": "sb_99", "card": "4111 1111 1111 1111", "note": SECRET});
    assert_eq!(
        call(&daemon, &notice_body("evt-9", "charge.dispute.created", dispute)).await,
        Some(200)
    );
    let event = received(&rig, "evt-9").await;
    assert!(event.get("subject").is_none() && event["data"].get("command").is_none(), "{event:#}");
    assert_eq!(word(&event, "data.event"), "charge.dispute.created");
    let body = event["data"]["body"].to_string();
    assert!(!body.contains("4111") && !body.contains(SECRET), "{body}");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_call_about_a_command_that_only_a_later_version_understands_waits_for_that_version() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("order-9", json!({"accepted": true}))).await;
    rig.events.state("order-9", "waiting", SOON).await;
    let foreign = json!({"v": 9, "kind": "steps", "critical": true, "at": "2026-12-01T00:00:00Z", "command": "order-9"});
    let properties =
        persistent().with_message_id(uuid::Uuid::new_v4().to_string().into()).with_headers(
            [("ferry-first".into(), AMQPValue::LongLongInt(1))]
                .into_iter()
                .collect::<BTreeMap<_, _>>()
                .into(),
        );
    rig.broker.publish("", "ferry.ledger", foreign.to_string().as_bytes(), properties).await;
    let paid =
        notice_body("evt-1", "charge.succeeded", json!({"command": "order-9", "amount": 1099}));
    assert_eq!(call(&daemon, &paid).await, Some(200));
    let says = |line: &Value| {
        word(line, "message").contains("a webhook about it waits for a later version")
    };
    daemon.wait_for_log(SOON, says).await;
    assert_eq!(word(&received(&rig, "evt-1").await, "data.command.id"), "order-9");
    let of_webhook = |message: &&QueuedMessage| {
        message
            .properties
            .headers()
            .as_ref()
            .is_some_and(|headers| headers.contains_key("ferry-tried"))
    };
    eventually(SOON, "it waits", async || {
        let waits = rig.broker.peek("ferry.retry.5m").await;
        (waits.iter().filter(of_webhook).count() == 1).then_some(())
    })
    .await;
    assert_eq!(ends(&rig, "order-9"), Vec::<String>::new());
    rig.end(&daemon).await;
}

#[tokio::test]
async fn what_was_answered_ends_its_commands_though_ferryd_and_the_broker_are_killed() {
    let node = BrokerNode::private().await;
    let mut rig = rig_on(&node, "").await;
    let daemon = rig.start().await;
    let ids: Vec<_> = (0..20).map(|number| format!("order-{number}")).collect();
    for id in &ids {
        rig.publish(&charge(id, json!({"accepted": true}))).await;
    }
    for id in &ids {
        rig.events.state(id, "waiting", SOON).await;
    }
    node.settle().await;
    for id in &ids {
        assert_eq!(
            call(
                &daemon,
                &notice_body(&format!("evt-{id}"), "charge.succeeded", json!({"command": id}))
            )
            .await,
            Some(200)
        );
    }
    daemon.kill9();
    node.kill9().await;
    node.start().await;
    let successor = rig.start().await;
    for id in &ids {
        assert_eq!(word(&rig.terminal(id).await, "data.state"), "completed", "{id}");
        let event = received(&rig, &format!("evt-{id}")).await;
        assert_eq!(word(&event, "subject"), id);
    }
    for id in &ids {
        assert_eq!(ends(&rig, id), [format!("{id}/0/1/completed")]);
    }
    rig.broker = TestBroker::connect_eventually(&rig.vhost.uri()).await;
    rig.end(&successor).await;
}

#[tokio::test]
async fn a_call_about_an_earlier_call_of_its_command_decides_nothing() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("order-8", json!({"accepted": true}))).await;
    let waiting = rig.events.state("order-8", "waiting", SOON).await;
    let reference = word(&waiting, "data.provider_reference");
    let about = |id: &str, kind: &str, about: &str| {
        notice_body(id, kind, json!({"command": "order-8", "about": about, "amount": 1099}))
    };
    // A person has to look at another action that is done for the command; another failure needs
    // no person.
    assert_eq!(
        call(&daemon, &about("evt-0", "charge.succeeded", "of-another-call")).await,
        Some(200)
    );
    rig.events
        .first(SOON, |event| {
            event["type"] == "ferry.command.conflict" && event["subject"] == "order-8"
        })
        .await;
    assert_eq!(call(&daemon, &about("evt-1", "charge.failed", "of-another-call")).await, Some(200));
    assert_eq!(word(&received(&rig, "evt-1").await, "data.command.id"), "order-8");
    let is_logged =
        |line: &Value| word(line, "message").starts_with("a webhook is about an earlier call");
    daemon.wait_for_log(SOON, is_logged).await;
    assert_eq!(ends(&rig, "order-8"), Vec::<String>::new());
    assert_eq!(call(&daemon, &about("evt-2", "charge.succeeded", reference)).await, Some(200));
    assert_eq!(word(&rig.terminal("order-8").await, "data.state"), "completed");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_webhook_reports_the_progress_of_a_command_and_the_failure_of_its_provider() {
    let rig = rig().await;
    let daemon = rig.start().await;
    rig.publish(&charge("order-7", json!({"accepted": true}))).await;
    rig.events.state("order-7", "waiting", SOON).await;
    let moved =
        notice_body("evt-1", "charge.moved", json!({"command": "order-7", "at": "harbour"}));
    assert_eq!(call(&daemon, &moved).await, Some(200));
    let event = received(&rig, "evt-1").await;
    assert_eq!(
        (word(&event, "data.meaning"), word(&event, "data.result.at")),
        ("progress", "harbour")
    );
    assert_eq!(word(&event, "data.command.id"), "order-7");
    let lost = notice_body("evt-2", "charge.lost", json!({"command": "order-7", "code": "sunk"}));
    assert_eq!(call(&daemon, &lost).await, Some(200));
    let end = rig.terminal("order-7").await;
    let error = &end["data"]["error"];
    assert_eq!(
        (word(error, "kind"), word(error, "code"), word(error, "message")),
        ("rejected", "sunk", "lost on the way")
    );
    assert_eq!((&end["data"]["final"], &error["dead_lettered"]), (&json!(true), &json!(false)));
    // The provider's first notice holds, and a later one that contradicts it is published.
    let paid =
        notice_body("evt-3", "charge.succeeded", json!({"command": "order-7", "amount": 1099}));
    assert_eq!(call(&daemon, &paid).await, Some(200));
    rig.events
        .first(SOON, |event| {
            event["type"] == "ferry.command.conflict" && event["subject"] == "order-7"
        })
        .await;
    assert_eq!(ends(&rig, "order-7"), ["order-7/0/1/failed"]);
    assert_eq!(rig.broker.depth("ferry.dead.acme").await, Some(0));
    rig.end(&daemon).await;
}
