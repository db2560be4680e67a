//! Jobs on dead letters, run by daemons and started over their API.

use std::time::Duration;

use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::lifecycle::FailureKind;
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::job_bench::{
    DEAD, end, letter, publish_dead_commands, publish_dead_letters, reason, rig, runs, start, until,
};
use super::operator_bench::{letter_of, numbered};
use crate::api_client::TestClient;
use crate::harness::wait::eventually;
use crate::rig::{SOON, TestRig, charge};

#[tokio::test]
async fn a_job_whose_instance_is_killed_is_taken_over_and_does_everything_once() {
    let rig = rig().await;
    let daemons = [rig.start().await, rig.start().await];
    let clients = [TestClient::of(&daemons[0]).await, TestClient::of(&daemons[1]).await];
    let ids = numbered("order", 400);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    let path = start(&clients[0], &json!({ "action": "replay", "all": true, "rate": 100 })).await;
    until(&clients[1], &path, "some are replayed", |job| job["done"].as_u64() > Some(60)).await;
    let owner = usize::from(runs(&daemons[1]) > 0);
    assert_eq!((runs(&daemons[owner]), runs(&daemons[1 - owner])), (1, 0), "one instance runs it");
    daemons[owner].kill9();
    let job = end(&clients[1 - owner], &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["term"]),
        ("finished", &json!(400), &json!(2)),
        "{job}"
    );
    assert_eq!((&job["closed"], rig.broker.depth(DEAD).await), (&Value::Null, Some(0)));
    for id in &ids {
        assert_eq!(rig.terminal(id).await["data"]["state"], "completed", "{id}");
        assert_eq!(rig.calls(id).acted, 1, "{id} is done once");
    }
    let job =
        until(&clients[1 - owner], &path, "all have ended", |job| job["completed"] == 400).await;
    assert_eq!(job["failed_again"], 0);
}

#[tokio::test]
async fn a_discard_that_dies_behind_its_record_is_finished_by_the_next_owner() {
    let rig = rig().await;
    let armed = rig.setup.start_armed("stated=kill:20");
    armed.wait_ready().await;
    let client = TestClient::of(&armed).await;
    let ids = numbered("order", 50);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    // Slow enough for the answer to whoever starts it to come before the daemon dies.
    let order =
        json!({ "action": "discard", "all": true, "reason": "withdrawn", "by": "ann", "rate": 10 });
    let path = start(&client, &order).await;
    armed.wait(SOON).await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(50)), "{job}");
    assert_eq!(rig.broker.depth(DEAD).await, Some(0));
    for id in &ids {
        let event = rig.terminal(id).await;
        assert_eq!(event["data"]["error"]["kind"], "discarded", "{id}");
        assert_eq!(
            event["data"]["error"]["details"],
            json!({ "by": "ann via api:host", "reason": "withdrawn" })
        );
    }
}

#[tokio::test]
async fn a_job_pauses_goes_on_and_stops_on_request() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    publish_dead_commands(&rig, &numbered("order", 600), &json!({})).await;
    let order = json!({ "action": "discard", "all": true, "reason": "test", "rate": 50 });
    let path = start(&client, &order).await;
    until(&client, &path, "some are discarded", |job| job["done"].as_u64() > Some(10)).await;
    let ask = async |what: &str| client.ask("POST", &format!("{path}/{what}"), "").await.body;
    assert_eq!(ask("pause").await["phase"], "paused");
    assert_eq!(ask("pause").await["phase"], "paused", "requested again, it changes nothing");
    // What it held is back in the queue once it has finished what was under way.
    let all_back = async || {
        let done = u32::try_from(client.get(&path).await.body["done"].as_u64()?).ok()?;
        (rig.broker.depth(DEAD).await? + done == 600).then_some(done)
    };
    let done = eventually(SOON, "the rest is back", all_back).await;
    assert!(done < 600);
    assert_eq!(ask("resume").await["paused"], Value::Null);
    until(&client, &path, "it goes on", |job| job["done"].as_u64() > Some(u64::from(done) + 10))
        .await;
    ask("stop").await;
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["end"]["detail"]),
        ("stopped", &json!("stopped by api:host")),
        "{job}"
    );
    eventually(SOON, "the rest is back", all_back).await;
    assert_eq!(ask("resume").await["phase"], "ended", "what has ended does not go on");
}

#[tokio::test]
async fn what_another_reader_holds_is_looked_for_again_and_then_named() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    for id in ["held", "free"] {
        let event = rig.carry(&charge(id, json!({ "status": 402, "error_code": "blocked" }))).await;
        assert_eq!(event["data"]["error"]["kind"], "rejected");
    }
    rig.broker.await_depth(DEAD, 2).await;
    let holder = rig.broker.channel().await;
    holder.basic_qos(1, BasicQosOptions::default()).await.unwrap();
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut held =
        holder.basic_consume(DEAD.into(), "holder".into(), options, arguments).await.unwrap();
    held.next().await.unwrap().unwrap();
    let order = json!({ "action": "discard", "filter": { "provider": "acme" }, "reason": "test" });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("incomplete", &json!(1)), "{job}");
    let progress = &job["progress"];
    assert_eq!((&progress["total"], &progress["not_found"]), (&json!(2), &json!(1)));
    assert_eq!((&progress["missing"], &progress["rounds"]), (&json!(["held"]), &json!(4)), "{job}");

    let path = start(&client, &order).await;
    until(&client, &path, "it misses one", |job| job["progress"]["not_found"] == 1).await;
    holder.close(200, "done".into()).await.unwrap();
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["progress"]["not_found"]),
        ("finished", &json!(1), &json!(0)),
        "{job}"
    );
}

#[tokio::test]
async fn what_cannot_be_replayed_stays_and_is_named_with_the_reason() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let removed = letter_of("removed", "payment", "gone", "charge", FailureKind::Unavailable);
    let acted = DeadLetter { unknown: true, ..letter("acted") };
    publish_dead_letters(&rig, &[removed, acted], &json!({})).await;
    let path = start(&client, &json!({ "action": "replay", "all": true })).await;
    let job = end(&client, &path).await;
    assert_eq!(
        (reason(&job), &job["done"], &job["progress"]["refused"]),
        ("finished", &json!(0), &json!(2)),
        "{job}"
    );
    let refusals = job["progress"]["refusals"].as_array().unwrap();
    for (id, queue, part) in [
        ("removed", "ferry.dead.other", "provider `gone` is not configured"),
        ("acted", DEAD, "use --force-new-key"),
    ] {
        let refusal = refusals.iter().find(|refusal| refusal["id"] == id).unwrap();
        assert_eq!(refusal["queue"], queue);
        assert!(refusal["reason"].as_str().unwrap().contains(part), "{refusal}");
    }
}

#[tokio::test]
async fn a_canary_that_fails_again_ends_the_job_and_the_rest_is_untouched() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    publish_dead_commands(
        &rig,
        &numbered("bad", 5),
        &json!({ "status": 402, "error_code": "blocked" }),
    )
    .await;
    let order = json!({ "action": "replay", "all": true, "replay": { "canary_s": 60 } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("canary_failed", &json!(1)), "{job}");
    assert!(
        job["end"]["detail"]
            .as_str()
            .unwrap()
            .starts_with("the first one, `bad-0`, failed again (rejected)")
    );
    rig.broker.await_depth(DEAD, 5).await;

    let rig_ids = numbered("good", 5);
    publish_dead_commands(&rig, &rig_ids, &json!({})).await;
    let filter = json!({ "ids": rig_ids });
    let order = json!({ "action": "replay", "filter": filter, "replay": { "canary_s": 60 } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(5)), "{job}");
    assert_eq!(job["progress"]["canary"]["passed"], true);
}

#[tokio::test]
async fn a_job_ends_by_itself_where_too_many_fail_again() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    publish_dead_commands(
        &rig,
        &numbered("bad", 200),
        &json!({ "status": 402, "error_code": "blocked" }),
    )
    .await;
    let order =
        json!({ "action": "replay", "all": true, "rate": 20, "replay": { "stop_at": "3" } });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!(reason(&job), "failed_again", "{job}");
    let done = job["done"].as_u64().unwrap();
    assert!((4..200).contains(&done), "{job}");
    assert!(job["end"]["detail"].as_str().unwrap().contains("failed again, more than 3"), "{job}");
    rig.broker.await_depth(DEAD, 200).await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_says_what_would_be_done() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    publish_dead_commands(&rig, &numbered("order", 20), &json!({})).await;
    for order in [
        json!({ "action": "replay", "all": true, "dry_run": true }),
        json!({ "action": "discard", "filter": { "operation": "charge" }, "reason": "x", "dry_run": true }),
    ] {
        let path = start(&client, &order).await;
        let job = end(&client, &path).await;
        assert_eq!(
            (reason(&job), &job["done"], &job["recorded"]),
            ("finished", &json!(20), &json!(0)),
            "{job}"
        );
    }
    rig.broker.await_depth(DEAD, 20).await;
    assert_eq!(rig.calls("order-1").calls, 0);
}

#[tokio::test]
async fn many_commands_are_resolved_at_once_by_their_ids() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let ids = numbered("order", 10);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    let resolution =
        json!({ "as": "completed", "reference": "by-hand", "result": { "seen": true } });
    let filter = json!({ "ids": ids[..4] });
    let order = json!({ "action": "resolve", "filter": filter, "resolution": resolution, "reason": "in the dashboard" });
    let path = start(&client, &order).await;
    let job = end(&client, &path).await;
    assert_eq!((reason(&job), &job["done"]), ("finished", &json!(4)), "{job}");
    assert_eq!(
        job["spec"]["result"],
        Value::Null,
        "the result is in the records of the commands alone"
    );
    for id in &ids[..4] {
        let event = rig.terminal(id).await;
        assert_eq!(
            (&event["data"]["state"], &event["data"]["provider_reference"]),
            (&json!("completed"), &json!("by-hand"))
        );
    }
    rig.broker.await_depth(DEAD, 6).await;
}

#[tokio::test]
async fn an_order_that_says_too_little_is_refused() {
    let rig = rig().await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    for (order, part) in [
        (json!({ "action": "replay" }), "say which in `filter`, or `all`"),
        (json!({ "action": "replay", "all": true, "filter": { "ids": ["a"] } }), "not both"),
        (json!({ "action": "discard", "all": true }), "say why in `reason`"),
        (json!({ "action": "resolve", "all": true, "reason": "x" }), "state their outcome"),
        (
            json!({ "action": "replay", "all": true, "replay": { "force_new_key": true } }),
            "say why in `reason`",
        ),
        (json!({ "action": "lookup", "all": true, "replay": {} }), "for the action `replay` alone"),
        (json!({ "action": "replay", "filter": { "provder": "acme" } }), "unknown field `provder`"),
        (json!({ "action": "replay", "all": true, "rate": 0 }), "is no rate"),
    ] {
        let answer = client.ask("POST", "/v1/jobs", &order.to_string()).await;
        assert_eq!(answer.status, 400, "{order}");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{order}: {detail}");
    }
    assert_eq!(client.get("/v1/jobs").await.body["jobs"], json!([]));
}

/// Measures jobs on many dead letters: run with `--release`, `--ignored` and `--nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn measure_jobs() {
    let rig = TestRig::new("").await;
    let daemon = rig.start().await;
    let client = TestClient::of(&daemon).await;
    let count: usize =
        std::env::var("LETTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let took = async |order: Value| {
        let began = std::time::Instant::now();
        let path = start(&client, &order).await;
        let patience = Duration::from_mins(10);
        let ended =
            async || Some(client.get(&path).await.body).filter(|job| job["phase"] == "ended");
        let job = eventually(patience, "it ends", ended).await;
        let (took, done) = (began.elapsed(), job["done"].as_u64().unwrap());
        println!("{}: {done} in {took:?}", job["spec"]["action"]);
    };
    let ids = numbered("order", count);
    publish_dead_commands(&rig, &ids, &json!({})).await;
    let last = ids.last().unwrap();
    took(json!({ "action": "replay", "filter": { "ids": [last] }, "dry_run": true })).await;
    took(json!({ "action": "replay", "filter": { "ids": [last] } })).await;
    took(json!({ "action": "discard", "all": true, "reason": "measured" })).await;
    publish_dead_commands(&rig, &numbered("again", count), &json!({})).await;
    took(json!({ "action": "replay", "all": true })).await;
}
