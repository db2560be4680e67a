//! Tests of contradictions: a message that contradicts a command changes nothing, and is shown in
//! an event, in the log, in the command's status and in a list.

use std::collections::BTreeSet;

use lapin::options::{BasicGetOptions, BasicNackOptions};
use serde_json::{Value, json};

use crate::rig::{SOON, TestRig, and, charge, word};
use crate::signed_webhooks::{call, notice_body, signed_rig};

/// Runs `ferryd`. Returns its output as JSON.
async fn ferryd(rig: &TestRig, arguments: &[&str]) -> Value {
    let mut command = rig.setup.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the conflicts of a command, as its status shows them.
async fn conflicts(rig: &TestRig, id: &str) -> Vec<Value> {
    let status = ferryd(rig, &["status", id, "--json"]).await;
    status["conflicts"].as_array().cloned().unwrap_or_default()
}

/// Waits for the conflict event about a command.
async fn conflict(rig: &TestRig, id: &str) -> Value {
    let is_meant =
        |event: &Value| event["type"] == "ferry.command.conflict" && event["subject"] == id;
    rig.events.first(SOON, is_meant).await
}

/// Returns the ids in a list.
fn ids(list: &Value) -> Vec<&str> {
    list["commands"].as_array().unwrap().iter().map(|row| word(row, "id")).collect()
}

#[tokio::test]
async fn a_second_payment_for_one_command_and_another_command_under_its_id_are_published_and_stay_recorded()
 {
    let rig = signed_rig("").await;
    let daemon = rig.start().await;
    rig.publish(&charge("paid", json!({"accepted": true}))).await;
    rig.publish(&charge("other", json!({}))).await;
    let waiting = rig.events.state("paid", "waiting", SOON).await;
    let reference = word(&waiting, "data.provider_reference").to_owned();
    let first = notice_body(
        "evt-1",
        "charge.succeeded",
        json!({"command": "paid", "about": reference, "amount": 1099}),
    );
    for _ in 0..2 {
        assert_eq!(call(&daemon, &first).await, Some(200));
    }
    assert_eq!(word(&rig.terminal("paid").await, "data.state"), "completed");
    let second = notice_body(
        "evt-2",
        "charge.succeeded",
        json!({"command": "paid", "about": "pi_second", "amount": 1099}),
    );
    assert_eq!(call(&daemon, &second).await, Some(200));
    let event = conflict(&rig, "paid").await;
    assert_eq!(
        (word(&event, "data.conflict"), word(&event, "data.provider_reference")),
        ("reference", "pi_second")
    );
    assert_eq!(word(&event, "data.stands"), "paid/0/1/completed", "{event:#}");
    daemon
        .wait_for_log(SOON, |line| line["level"] == "ERROR" && line["command.id"] == "paid")
        .await;

    rig.terminal("other").await;
    rig.publish(&and(charge("other", json!({})), json!({"payload": {"amount": 2}}))).await;
    assert_eq!(word(&conflict(&rig, "other").await, "data.conflict"), "content");
    daemon
        .wait_for_log(SOON, |line| line["level"] == "ERROR" && line["command.id"] == "other")
        .await;
    rig.carry(&charge("quiet", json!({}))).await;

    // By another daemon, which builds its index from the ledger.
    rig.end(&daemon).await;
    std::fs::remove_dir_all(rig.setup.path().join("state")).unwrap();
    let daemon = rig.start().await;
    for (id, what, event) in
        [("paid", "reference", event), ("other", "content", conflict(&rig, "other").await)]
    {
        let noted = conflicts(&rig, id).await;
        assert_eq!((noted.len(), word(&noted[0], "conflict")), (1, what), "{noted:#?}");
        assert_eq!(
            (&noted[0]["event"], &noted[0]["message"]),
            (&event["id"], &event["data"]["message"])
        );
    }
    let list = ferryd(&rig, &["commands", "--conflicts", "--json"]).await;
    assert_eq!(
        BTreeSet::from_iter(ids(&list)),
        ["other", "paid"].into(),
        "whichever ended last is first"
    );
    assert_eq!(ids(&ferryd(&rig, &["commands", "--json"]).await).len(), 3);
    let is_end = |event: &&Value| word(event, "data.state") == "completed";
    let ends: BTreeSet<_> = rig
        .events
        .of("paid")
        .iter()
        .filter(is_end)
        .map(|event| word(event, "id").to_owned())
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    rig.end(&daemon).await;
}

#[tokio::test]
async fn another_command_under_an_id_is_published_as_a_conflict_also_where_the_broker_delivers_it_again_while_the_first_runs()
 {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    rig.finish(&daemon).await;
    for amount in [1, 2] {
        let payload = json!({"payload": {"amount": amount, "sandbox": {"latency": "1s"}}});
        rig.publish(&and(charge("held", json!({})), payload)).await;
    }
    rig.broker.await_depth("ferry.commands.acme", 2).await;
    let channel = rig.broker.channel().await;
    let mut taken = Vec::new();
    for _ in 0..2 {
        let got = channel
            .basic_get("ferry.commands.acme".into(), BasicGetOptions::default())
            .await
            .unwrap();
        taken.push(got.unwrap().delivery.acker);
    }
    for acker in taken {
        acker
            .nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() })
            .await
            .unwrap();
    }
    rig.broker.await_depth("ferry.commands.acme", 2).await;
    let daemon = rig.start().await;
    assert_eq!(word(&conflict(&rig, "held").await, "data.conflict"), "content");
    assert_eq!(word(&rig.terminal("held").await, "data.state"), "completed");
    daemon
        .wait_for_log(SOON, |line| line["level"] == "ERROR" && line["command.id"] == "held")
        .await;
    assert_eq!(rig.calls("held").calls, 1);
    rig.end(&daemon).await;
}

#[tokio::test]
async fn a_notice_ends_no_command_that_was_given_up_before_any_call() {
    let rig = signed_rig("").await;
    let daemon = rig.start().await;
    let late = and(charge("late", json!({})), json!({"expires_at": "2026-01-01T00:00:00Z"}));
    let end = rig.carry(&late).await;
    assert_eq!(word(&end, "data.error.kind"), "expired");
    let done =
        notice_body("evt-late", "charge.succeeded", json!({"command": "late", "about": "pi_late"}));
    assert_eq!(call(&daemon, &done).await, Some(200));
    let event = conflict(&rig, "late").await;
    assert_eq!(
        (word(&event, "data.conflict"), word(&event, "data.contradicted_by")),
        ("answer", "completed")
    );
    let status = ferryd(&rig, &["status", "late", "--json"]).await;
    assert_eq!((word(&status, "state"), word(&status, "kind")), ("failed", "expired"));
    assert_eq!(word(&status["conflicts"][0], "conflict"), "answer");
    // The provider may have acted although it refused the call: its webhook says so.
    let end = rig.carry(&charge("refused", json!({"status": 400}))).await;
    assert_eq!(word(&end, "data.error.kind"), "rejected");
    let done = notice_body(
        "evt-refused",
        "charge.succeeded",
        json!({"command": "refused", "about": "pi_refused"}),
    );
    assert_eq!(call(&daemon, &done).await, Some(200));
    rig.events.state("refused", "completed", SOON).await;
    rig.end(&daemon).await;
}
