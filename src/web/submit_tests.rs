//! Tests the submission of commands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::test_client::{COMMAND, HOST, NEIGHBOUR, OPERATOR, TestApi, WAREHOUSE, bearer, request};
use ferryd_domain::ledger::record::{Actor, CancelRequested, RecordBody};

#[tokio::test]
async fn what_no_provider_would_take_is_refused_before_it_is_published() {
    let api = TestApi::new();
    let with = |changes: Value| {
        let mut command: Value = serde_json::from_str(COMMAND).unwrap();
        command.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        command.to_string()
    };
    for (body, code) in [
        ("{".to_owned(), "not_json"),
        ("[]".to_owned(), "invalid_field"),
        (with(json!({ "id": null })), "missing_id"),
        (COMMAND.replacen('{', "{\"provider\":\"adyen\",", 1), "repeated_field"),
        (COMMAND.replace("\"amount\":1", "\"amount\":1,\"amount\":100"), "repeated_field"),
        (with(json!({ "colour": "red" })), "invalid_field"),
        (with(json!({ "provider": "easypost" })), "unknown_provider"),
        (with(json!({ "provider": "any" })), "no_route"),
        (with(json!({ "type": "shipping" })), "type_mismatch"),
        (with(json!({ "account": "eu" })), "unknown_account"),
        (with(json!({ "operation": "dance" })), "unknown_operation"),
        (with(json!({ "payload": { "currency": 7 } })), "invalid_payload"),
    ] {
        let answer = api.post(&body, &[]).await;
        assert_eq!(answer.problem(), (422, "invalid-command"), "{body}");
        assert_eq!(answer.body["code"], code, "{body}");
        let faults = answer.body["faults"].as_array().unwrap().len();
        assert_eq!(faults, if code == "invalid_payload" { 2 } else { 1 }, "{}", answer.body);
    }
    assert_eq!(api.fake.published(), 0);
}

#[tokio::test]
async fn an_id_that_is_bound_to_a_publisher_is_taken_only_of_its_publishers_token_and_of_one_without_bounds()
 {
    let api = TestApi::new();
    for (token, id, status) in [
        (NEIGHBOUR, "order-1", 202),
        (NEIGHBOUR, "wh-1", 403),
        (OPERATOR, "wh-2", 202),
        (HOST, "wh-3", 202),
        (WAREHOUSE, "wh-4", 202),
        (WAREHOUSE, "order-4", 403),
    ] {
        let (authorization, body) = (bearer(token), COMMAND.replace("order-1", id));
        let headers =
            [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let answer = api.send(request(Method::POST, "/v1/commands", &headers, &body)).await;
        assert_eq!(answer.status.as_u16(), status, "{token} {id}: {}", answer.body);
        assert!(
            status == 202 || answer.body["detail"].as_str().unwrap().contains("`wh-`"),
            "{}",
            answer.body
        );
    }
    assert_eq!(api.fake.published(), 4);
}

#[tokio::test]
async fn a_body_that_is_compressed_is_not_read() {
    let api = TestApi::new();
    for (coding, status) in
        [("gzip", 415), ("br, identity", 415), ("", 415), ("identity", 202), ("Identity", 202)]
    {
        let answer = api.post(COMMAND, &[("content-encoding", coding)]).await;
        assert_eq!(answer.status.as_u16(), status, "{coding}: {}", answer.body);
        assert!(status == 202 || answer.problem() == (415, "unsupported-media-type"), "{coding}");
    }
}

#[tokio::test]
async fn a_command_is_published_as_it_was_sent_and_its_receipt_says_where_to_look() {
    let api = TestApi::new();
    let spaced = format!(" {COMMAND}\n");
    let answer = api.post(&spaced, &[("traceparent", "00-a-b-01"), ("tracestate", "x=y")]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.header("location"), Some("/v1/commands/order-1"));
    assert_eq!(answer.header("preference-applied"), None);
    assert_eq!(answer.body, json!({ "id": "order-1", "location": "/v1/commands/order-1" }));
    {
        let published = api.fake.published.lock().unwrap();
        assert_eq!(
            (&published[0].body[..], published[0].provider.as_str()),
            (spaced.as_bytes(), "stripe")
        );
        assert_eq!(published[0].trace.parent.as_deref(), Some("00-a-b-01"));
    }
    let story = api.get("/v1/commands/order-1").await.body;
    assert_eq!((&story["state"], &story["provider"]), (&json!("pending"), &json!("stripe")));
    assert_eq!(story["timeline"][0]["reason"], "submitted");
}

#[tokio::test]
async fn the_same_command_has_the_same_answer_and_another_under_its_id_is_refused() {
    let api = TestApi::new();
    let other = COMMAND.replace("\"amount\":1", "\"amount\":2");
    for _ in 0..2 {
        assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
        assert_eq!(api.post(&other, &[]).await.problem(), (409, "other-content"));
    }
    api.fake.complete(COMMAND);
    let published = api.fake.published();
    for _ in 0..2 {
        let answer = api.post(COMMAND, &[]).await;
        assert_eq!(
            (answer.status, &answer.body["data"]["state"]),
            (StatusCode::OK, &json!("completed"))
        );
        assert_eq!(answer.header("content-type"), Some("application/cloudevents+json"));
        assert_eq!(api.post(&other, &[]).await.problem(), (409, "other-content"));
    }
    assert_eq!(api.fake.published(), published);
    assert_eq!(api.get("/v1/commands/order-1").await.body["event"]["data"]["state"], "completed");
}

#[tokio::test]
async fn a_command_whose_cancel_came_first_is_published_to_be_ended() {
    let api = TestApi::new();
    let person = Actor { by: "ann".to_owned(), reason: None };
    api.fake.rule(
        &"order-1".parse().unwrap(),
        RecordBody::CancelRequested(CancelRequested { actor: person }),
    );
    assert_eq!(api.get("/v1/commands/order-1").await.body["cancel"], json!({ "by": "ann" }));
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    assert_eq!(api.fake.published(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_wait_for_the_end() {
    for (prefer, ends_after, status, applied, took) in [
        ("wait=10", 3, 200, Some("wait=10"), 3),
        ("wait=10", 30, 202, Some("wait=10"), 10),
        ("wait=600", 3600, 202, Some("wait=60"), 60),
        ("wait=soon", 30, 202, None, 0),
        ("", 30, 202, None, 0),
    ] {
        let api = TestApi::new();
        let fake = Arc::clone(&api.fake);
        let ending = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(ends_after)).await;
            fake.complete(COMMAND);
        });
        let began = tokio::time::Instant::now();
        let answer = api.post(COMMAND, &[("prefer", prefer)]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("preference-applied")),
            (status, applied),
            "{prefer}"
        );
        assert_eq!(began.elapsed().as_secs(), took, "{prefer}");
        assert_eq!(answer.header("location"), Some("/v1/commands/order-1"));
        ending.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_when_ferryd_stops_gets_the_state_so_far() {
    let api = TestApi::new();
    let stop = api.stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    });
    let began = tokio::time::Instant::now();
    assert_eq!(api.post(COMMAND, &[("prefer", "wait=60")]).await.status, StatusCode::ACCEPTED);
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_confirm_is_not_waited_for_long() {
    let api = TestApi::new();
    api.fake.hangs.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let answer = api.post(COMMAND, &[("prefer", "wait=60")]).await;
    assert_eq!(answer.problem(), (503, "not-confirmed"));
    assert!(answer.body["detail"].as_str().unwrap().contains("the same id"));
    assert_eq!(began.elapsed().as_secs(), 2);
    let answer = api.ask(Method::DELETE, "/v1/commands/order-1", &[], "").await;
    assert_eq!(answer.problem(), (503, "not-confirmed"));
    // The bytes of submitted and unconfirmed commands are bounded.
    let large = COMMAND.replace("\"eur\"", &format!("\"{}\"", "x".repeat(1_000_000)));
    let mut busy = 0;
    for _ in 0..70 {
        let answer = api.post(&large, &[]).await;
        busy += usize::from(answer.problem().1 == "busy");
    }
    assert!((1..10).contains(&busy), "{busy}");
}

#[tokio::test]
async fn what_a_newer_version_said_is_not_passed_over() {
    let api = TestApi::new();
    api.fake.block(&"order-1".parse().unwrap(), "frozen");
    let answer = api.post(COMMAND, &[]).await;
    assert_eq!(answer.problem(), (503, "newer-version"));
    assert_eq!((answer.header("retry-after"), api.fake.published()), (Some("60"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let api = TestApi::new();
    let authorization = bearer(OPERATOR);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let (parts, _) = request(Method::POST, "/v1/commands", &headers, "").into_parts();
    let body =
        Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = api.send(Request::from_parts(parts, body)).await;
    assert_eq!(
        (answer.problem(), answer.header("connection")),
        ((408, "request-timeout"), Some("close"))
    );
}

#[tokio::test(start_paused = true)]
async fn not_everybody_may_wait_at_the_same_time() {
    let api = Arc::new(TestApi::new());
    for number in 0..256 {
        let (api, command) =
            (Arc::clone(&api), COMMAND.replace("order-1", &format!("order-1-{number}")));
        tokio::spawn(async move { api.post(&command, &[("prefer", "wait=60")]).await.status });
    }
    while api.fake.published() < 256 {
        tokio::task::yield_now().await;
    }
    let answer = api.post(COMMAND, &[("prefer", "wait=60")]).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::ACCEPTED, None));
}
