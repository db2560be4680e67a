//! Tests the answers of the API.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::commands::CommandServiceState;
use super::openapi;
use super::route::ApiRoute;
use super::test_client::{COMMAND, READER, TestApi, bearer, request};
use crate::captured_text::CapturedText;
use crate::pipeline::cancel::CancelResult;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::Actor;
use ferryd_domain::ledger::ruling::TooLate;
use ferryd_domain::lifecycle::LifecycleState;

#[tokio::test(start_paused = true)]
async fn refused_tokens_are_logged_once_in_a_while_with_their_number_and_never_themselves() {
    let log = CapturedText::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let api = TestApi::new();
    let wrong = bearer("wrong-0123456789abcdef");
    for _ in 0..100 {
        api.send(request(Method::GET, "/v1/commands/order-1", &[("authorization", &wrong)], ""))
            .await;
        api.send(request(Method::GET, "/v1/commands", &[], "")).await;
        api.send(request(
            Method::DELETE,
            "/v1/commands/order-1",
            &[("authorization", &bearer(READER))],
            "",
        ))
        .await;
    }
    tokio::time::sleep(Duration::from_secs(11)).await;
    let text = log.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let logged_counts = |reason: &str| -> Vec<u64> {
        let lines =
            lines.iter().map(|line| &line["fields"]).filter(|fields| fields["reason"] == reason);
        lines.map(|fields| fields["count"].as_u64().unwrap()).collect()
    };
    for reason in ["its token is not known", "it has no token", "its token does not allow it"] {
        assert_eq!(logged_counts(reason), [1, 99], "{reason}: {text}");
    }
    assert_eq!(lines.len(), 6);
    assert!(
        text.contains("\"token\":\"graph\"") && text.contains("\"url.path\":\"/v1/commands/{id}\""),
        "{text}"
    );
    assert!(!text.contains("0123456789"), "{text}");
}

#[tokio::test]
async fn an_invalid_request_is_answered_with_what_is_wrong() {
    let api = TestApi::new();
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
    let json = ("content-type", "application/json");
    for (method, path, headers, body, problem) in [
        (Method::GET, "/nothing", &[][..], "", (404, "not-found")),
        (Method::GET, "/v1/commands/", &[], "", (404, "not-found")),
        (Method::PUT, "/v1/commands", &[], "", (405, "method-not-allowed")),
        (Method::POST, "/livez", &[], "", (405, "method-not-allowed")),
        (Method::OPTIONS, "/v1/commands", &[], "", (405, "method-not-allowed")),
        (Method::POST, "/v1/commands", &[], COMMAND, (415, "unsupported-media-type")),
        (
            Method::POST,
            "/v1/commands",
            &[("content-type", "text/plain")],
            COMMAND,
            (415, "unsupported-media-type"),
        ),
        (Method::POST, "/v1/commands", &[json], &large, (413, "too-large")),
        (
            Method::POST,
            "/v1/commands",
            &[json, ("content-length", "9999999")],
            "",
            (413, "too-large"),
        ),
        (Method::GET, "/v1/commands/no%20id", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands/%ff", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands?colour=red", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/dead-letters?dead=true", &[], "", (400, "invalid-request")),
        (Method::DELETE, "/v1/commands/order-1?why=x", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands/unheard-of", &[], "", (404, "unknown-command")),
        (Method::GET, "/v1/commands/unheard-of/calls", &[], "", (404, "unknown-command")),
        (Method::GET, "/v1/dead-letters/unheard-of", &[], "", (404, "unknown-command")),
        (Method::GET, "/v1/dead-letters/order-1?message=yes", &[], "", (400, "invalid-request")),
        (Method::POST, "/v1/commands/unheard-of/lookup", &[], "", (404, "unknown-command")),
        (Method::POST, "/v1/commands/order-1/lookup?why=x", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/dead-letters/groups", &[], "", (500, "internal")),
    ] {
        let answer = api.ask(method.clone(), path, headers, body).await;
        assert_eq!(answer.problem(), problem, "{method} {path}");
        assert!(!answer.body.to_string().contains("/secret/place"));
    }
    let other = api.ask(Method::PUT, "/v1/commands", &[], "").await;
    assert_eq!(
        other.header("allow").map(|allow| allow.contains("POST")),
        Some(true),
        "{:?}",
        other.headers
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_broker_that_is_away() {
    let api = TestApi::new();
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    let unknown = "/v1/commands/unheard-of";
    let away = (503, "broker-away");
    let reading = (503, "catching-up");
    for (standing, posted, deleted, unheard, known, listed, ready) in [
        (CommandServiceState::BrokerAway, away, away, away, 200, 200, away),
        (CommandServiceState::CatchingUp(7), reading, reading, reading, 503, 503, reading),
        (
            CommandServiceState::Lagging,
            (503, "not-confirmed"),
            (503, "not-confirmed"),
            (503, "not-confirmed"),
            200,
            200,
            (503, "not-confirmed"),
        ),
        (
            CommandServiceState::Stopping,
            (503, "stopping"),
            (503, "stopping"),
            (503, "stopping"),
            200,
            200,
            (503, "stopping"),
        ),
    ] {
        api.fake.stand(standing);
        let answer = api.post(COMMAND, &[("prefer", "wait=60")]).await;
        assert_eq!(answer.problem(), posted, "{standing:?}");
        assert!(answer.header("retry-after").is_some(), "{standing:?}");
        let answer = api.ask(Method::DELETE, "/v1/commands/order-1", &[], "").await;
        assert_eq!(answer.problem(), deleted, "{standing:?}");
        assert_eq!(api.get(unknown).await.problem(), unheard, "{standing:?}");
        assert_eq!(api.get("/v1/commands/order-1").await.status, known, "{standing:?}");
        assert_eq!(api.get("/v1/commands").await.status, listed, "{standing:?}");
        assert_eq!(api.get("/readyz").await.problem(), ready, "{standing:?}");
        assert_eq!(api.get("/livez").await.body, json!({ "status": "alive" }));
    }
    api.fake.stand(CommandServiceState::Ready);
    assert_eq!(api.get("/readyz").await.body, json!({ "status": "ready" }));
}

#[tokio::test]
async fn a_panic_is_an_answer_too() {
    let api = TestApi::new();
    api.fake.panics.store(true, Ordering::SeqCst);
    assert_eq!(api.get("/v1/commands/order-1").await.problem(), (500, "internal"));
    assert_eq!(api.post(COMMAND, &[]).await.problem(), (500, "internal"));
}

#[tokio::test]
async fn a_cancel_says_what_came_of_it() {
    let api = TestApi::new();
    let id: CommandId = "order-1".parse().unwrap();
    let path = "/v1/commands/order-1?reason=order%20withdrawn";
    for (cancellation, status, outcome) in
        [(CancelResult::Cancelled, 200, "cancelled"), (CancelResult::Noted, 202, "noted")]
    {
        *api.fake.cancellation.lock().unwrap() = cancellation;
        let answer = api.ask(Method::DELETE, path, &[], "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.body),
            (status, json!({ "id": "order-1", "outcome": outcome }))
        );
    }
    let person = Actor { by: "api:shop".to_owned(), reason: Some("order withdrawn".to_owned()) };
    assert_eq!(api.fake.cancelled.lock().unwrap()[0], (id, person));
    *api.fake.cancellation.lock().unwrap() = CancelResult::TooLate { reason: TooLate::InFlight };
    let answer = api.ask(Method::DELETE, path, &[], "").await;
    assert_eq!(
        (answer.problem(), &answer.body["reason"]),
        ((409, "too-late"), &json!("in_flight"))
    );
}

#[tokio::test]
async fn a_refused_message_can_be_read_and_neither_published_nor_cancelled() {
    let api = TestApi::new();
    let id = format!("order-1/refused/{}", "0".repeat(32));
    let path = format!("/v1/commands/{}", id.replace('/', "%2F"));
    assert_eq!(api.get(&path).await.problem(), (404, "unknown-command"));
    assert_eq!(api.ask(Method::DELETE, &path, &[], "").await.problem(), (400, "invalid-request"));
    assert_eq!(
        api.post(&COMMAND.replace("order-1", &id), &[]).await.problem(),
        (422, "invalid-command")
    );
    assert_eq!(api.fake.published(), 0);
}

#[tokio::test]
async fn lists_pass_on_what_they_are_filtered_by() {
    let api = TestApi::new();
    api.post(COMMAND, &[]).await;
    let page = api.get("/v1/commands?provider=stripe&state=pending").await.body;
    assert_eq!((&page["commands"][0]["id"], &page["next"]), (&json!("order-1"), &Value::Null));
    api.get("/v1/dead-letters?code=card_declined").await;
    api.get("/v1/commands?cancel_requested=true").await;
    assert_eq!(
        api.get("/v1/commands?cancel_requested=yes").await.problem(),
        (400, "invalid-request")
    );
    assert_eq!(api.get("/v1/commands?cursor=-1.2.x").await.problem(), (400, "invalid-request"));
    let filters = api.fake.filters.lock().unwrap();
    assert_eq!((filters[0].state, filters[0].dead), (Some(LifecycleState::Pending), false));
    assert_eq!((filters[1].code.as_deref(), filters[1].dead), (Some("card_declined"), true));
    let cancel_requested: Vec<_> = filters.iter().map(|filter| filter.cancel_requested).collect();
    assert_eq!(cancel_requested, [Some(false), None, Some(true)]);
}

#[tokio::test]
async fn the_description_knows_every_route_and_no_other() {
    let api = TestApi::new();
    let document = openapi::document();
    assert_eq!(api.get("/openapi.json").await.body, document);
    let mut described = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            assert!(
                ApiRoute::ALL.iter().any(|route| route.method() == method && route.path() == path),
                "{method} {path}"
            );
            let answer = api.ask(method.clone(), &path.replace("{id}", "order-1"), &[], "").await;
            let missing = ["not-found", "method-not-allowed"]
                .map(|slug| json!(format!("urn:ferryd:problem:{slug}")));
            assert!(!missing.contains(&answer.body["type"]), "{method} {path}");
        }
    }
    assert_eq!(described, ApiRoute::ALL.len());
}
