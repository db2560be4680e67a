//! The API through its router: what it answers to whom.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Desk;
use super::access::{Needs, Role, Tokens};
use super::commands::Standing;
use super::fake::Fake;
use super::openapi;
use super::problem::MEDIA_TYPE;
use super::routes::{Route, router};
use crate::config::{ApiToken, Environment};
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::{CancelWished, Fact, Person};
use crate::domain::ledger::ruling::TooLate;
use crate::domain::lifecycle::State;
use crate::pipeline::cancel::Cancellation;
use crate::provider::Provider;
use crate::provider::registry::Registry;

const OPERATOR: &str = "operator-0123456789";
const READER: &str = "reader-0123456789ab";

const COMMAND: &str =
    r#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","payload":{"amount":1,"currency":"eur"}}"#;

const PROVIDER: &str = r#"
name = "stripe"
type = "payment"
protocol = "rest"
base_url = "https://api.example.com"
[operations.charge]
request = { method = "POST", path = "/v1/charges" }
idempotency = { header = "Idempotency-Key", retention = "24h" }
payload = { type = "object", required = ["amount"], properties = { amount = { type = "integer" }, currency = { type = "string" } } }
"#;

fn registry() -> Registry {
    let defaults = crate::config::Config::from_parts(None, &Environment::new()).unwrap().provider_defaults();
    Registry::new([Provider::parse(PROVIDER, "stripe.toml", &defaults).unwrap()], std::collections::BTreeMap::new())
}

fn tokens() -> Tokens {
    let token = |name: &str, role, token: &str| ApiToken { name: name.parse().unwrap(), role, token: token.into() };
    Tokens::new(&[token("shop", Role::Operate, OPERATOR), token("graph", Role::Read, READER)])
}

/// The API, what is behind it, and its end.
struct Api {
    router: Router,
    fake: Arc<Fake>,
    stop: CancellationToken,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// Status and kind of a problem.
    fn problem(&self) -> (u16, &str) {
        assert_eq!(self.headers["content-type"], MEDIA_TYPE, "{}", self.body);
        let kind = self.body["type"].as_str().unwrap().strip_prefix("urn:ferryd:problem:").unwrap();
        assert_eq!(self.body["status"], self.status.as_u16());
        (self.status.as_u16(), kind)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Api {
    fn with(tokens: Tokens, ledger: bool) -> Self {
        let (fake, stop) = (Arc::new(Fake::new(ledger)), CancellationToken::new());
        let desk = Desk::new(Arc::clone(&fake) as Arc<_>, Arc::new(registry()), tokens, stop.clone());
        Self { router: router(desk), fake, stop }
    }

    fn new() -> Self {
        Self::with(tokens(), true)
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["cache-control"], "no-store");
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// As an operator.
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let authorization = bearer(OPERATOR);
        let headers = [&[("authorization", authorization.as_str())], headers].concat();
        self.send(request(method, path, &headers, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    async fn post(&self, body: &str, headers: &[(&str, &str)]) -> Answer {
        let json = [("content-type", "application/json")];
        self.ask(Method::POST, "/v1/commands", &[&json, headers].concat(), body).await
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

/// A path of a route that names a command that exists.
fn path_of(route: Route) -> String {
    route.path().replace("{id}", "order-1")
}

#[tokio::test]
async fn who_has_which_token_may_use_which_route() {
    let api = Api::new();
    let refused = [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic b3BlcmF0b3I6eA=="), Some(OPERATOR)];
    for route in Route::ALL {
        let send = async |authorization: Option<&str>| {
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            api.send(request(route.method(), &path_of(route), &headers, "")).await
        };
        let open = route.needs() == Needs::Nothing;
        let mut bodies = Vec::new();
        for authorization in refused {
            let answer = send(authorization).await;
            assert_eq!(answer.status == StatusCode::UNAUTHORIZED, !open, "{route:?} {authorization:?}");
            if !open {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"ferryd\""));
                assert_eq!(answer.problem(), (401, "unauthorized"));
                bodies.push(answer.body);
            }
        }
        bodies.dedup();
        assert!(bodies.len() <= 1, "a wrong token is told from a missing one: {bodies:?}");
        let reading = send(Some(&bearer(READER))).await;
        assert_eq!(reading.status == StatusCode::FORBIDDEN, route.needs() == Needs::Token(Role::Operate), "{route:?}");
        let operating = send(Some(&bearer(OPERATOR))).await;
        assert!(![401, 403].contains(&operating.status.as_u16()), "{route:?} {}", operating.status);
    }
    assert_eq!(api.fake.published(), 0);
}

#[tokio::test]
async fn without_tokens_only_requests_meant_for_this_machine_are_answered() {
    let api = Api::with(Tokens::default(), true);
    for (hosts, status) in [
        (&["localhost:8420"][..], 200),
        (&["127.0.0.1:8420"], 200),
        (&["[::1]:8420"], 200),
        (&["evil.example:8420"], 421),
        (&["localhost:8420", "evil.example"], 421),
        (&[], 421),
    ] {
        let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let answer = api.send(request(Method::GET, "/v1/commands", &headers, "")).await;
        assert_eq!(answer.status.as_u16(), status, "{hosts:?}");
        let alive = api.send(request(Method::GET, "/livez", &headers, "")).await;
        assert_eq!(alive.status.as_u16(), 200);
    }
    let absolute = request(Method::GET, "http://evil.example/v1/commands", &[("host", "localhost")], "");
    assert_eq!(api.send(absolute).await.problem(), (421, "wrong-host"));
    let cancel = request(Method::DELETE, "/v1/commands/order-1", &[("host", "localhost")], "");
    assert_eq!(api.send(cancel).await.status.as_u16(), 200);
    assert_eq!(api.fake.cancelled.lock().unwrap()[0].1.by, "api:anybody");
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_told_what_is_wrong() {
    let api = Api::new();
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(1 << 20));
    let json = ("content-type", "application/json");
    for (method, path, headers, body, problem) in [
        (Method::GET, "/nothing", &[][..], "", (404, "not-found")),
        (Method::GET, "/v1/commands/", &[], "", (404, "not-found")),
        (Method::PUT, "/v1/commands", &[], "", (405, "method-not-allowed")),
        (Method::POST, "/livez", &[], "", (405, "method-not-allowed")),
        (Method::OPTIONS, "/v1/commands", &[], "", (405, "method-not-allowed")),
        (Method::POST, "/v1/commands", &[], COMMAND, (415, "unsupported-media-type")),
        (Method::POST, "/v1/commands", &[("content-type", "text/plain")], COMMAND, (415, "unsupported-media-type")),
        (Method::POST, "/v1/commands", &[json], &large, (413, "too-large")),
        (Method::POST, "/v1/commands", &[json, ("content-length", "9999999")], "", (413, "too-large")),
        (Method::GET, "/v1/commands/no%20id", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands/%ff", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands?colour=red", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/dead-letters?dead=true", &[], "", (400, "invalid-request")),
        (Method::DELETE, "/v1/commands/order-1?why=x", &[], "", (400, "invalid-request")),
        (Method::GET, "/v1/commands/unheard-of", &[], "", (404, "unknown-command")),
        (Method::GET, "/v1/commands/unheard-of/exchanges", &[], "", (404, "unknown-command")),
        (Method::GET, "/v1/dead-letters/groups", &[], "", (500, "internal")),
    ] {
        let answer = api.ask(method.clone(), path, headers, body).await;
        assert_eq!(answer.problem(), problem, "{method} {path}");
        assert!(!answer.body.to_string().contains("/secret/place"));
    }
    let other = api.ask(Method::PUT, "/v1/commands", &[], "").await;
    assert_eq!(other.header("allow").map(|allow| allow.contains("POST")), Some(true), "{:?}", other.headers);
}

#[tokio::test]
async fn what_no_provider_would_take_is_refused_before_it_is_published() {
    let api = Api::new();
    let with = |changes: Value| {
        let mut command: Value = serde_json::from_str(COMMAND).unwrap();
        command.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        command.to_string()
    };
    for (body, code) in [
        ("{".to_owned(), "not_json"),
        ("[]".to_owned(), "invalid_field"),
        (with(json!({ "id": null })), "missing_id"),
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
async fn a_command_is_published_as_it_was_sent_and_its_receipt_says_where_to_ask() {
    let api = Api::new();
    let spaced = format!(" {COMMAND}\n");
    let answer = api.post(&spaced, &[("traceparent", "00-a-b-01"), ("tracestate", "x=y")]).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.header("location"), Some("/v1/commands/order-1"));
    assert_eq!(answer.header("preference-applied"), None);
    assert_eq!(answer.body, json!({ "id": "order-1", "location": "/v1/commands/order-1" }));
    {
        let published = api.fake.published.lock().unwrap();
        assert_eq!((&published[0].body[..], published[0].provider.as_str()), (spaced.as_bytes(), "stripe"));
        assert_eq!(published[0].trace.parent.as_deref(), Some("00-a-b-01"));
    }
    let story = api.get("/v1/commands/order-1").await.body;
    assert_eq!((&story["state"], &story["provider"]), (&json!("pending"), &json!("stripe")));
    assert_eq!(story["timeline"][0]["reason"], "submitted");
}

#[tokio::test]
async fn the_same_command_has_the_same_answer_and_another_under_its_id_is_refused() {
    let api = Api::new();
    let other = COMMAND.replace("\"amount\":1", "\"amount\":2");
    for _ in 0..2 {
        assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
        assert_eq!(api.post(&other, &[]).await.problem(), (409, "other-content"));
    }
    api.fake.complete(COMMAND);
    let published = api.fake.published();
    for _ in 0..2 {
        let answer = api.post(COMMAND, &[]).await;
        assert_eq!((answer.status, &answer.body["data"]["state"]), (StatusCode::OK, &json!("completed")));
        assert_eq!(answer.header("content-type"), Some("application/cloudevents+json"));
        assert_eq!(api.post(&other, &[]).await.problem(), (409, "other-content"));
    }
    assert_eq!(api.fake.published(), published);
    assert_eq!(api.get("/v1/commands/order-1").await.body["event"]["data"]["state"], "completed");
}

#[tokio::test]
async fn a_command_whose_cancel_came_first_is_published_to_be_ended() {
    let api = Api::new();
    let person = Person { by: "ann".to_owned(), reason: None };
    api.fake.rule(&"order-1".parse().unwrap(), Fact::CancelWished(CancelWished { person }));
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
        let api = Api::new();
        let fake = Arc::clone(&api.fake);
        let ending = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(ends_after)).await;
            fake.complete(COMMAND);
        });
        let began = tokio::time::Instant::now();
        let answer = api.post(COMMAND, &[("prefer", prefer)]).await;
        assert_eq!((answer.status.as_u16(), answer.header("preference-applied")), (status, applied), "{prefer}");
        assert_eq!(began.elapsed().as_secs(), took, "{prefer}");
        assert_eq!(answer.header("location"), Some("/v1/commands/order-1"));
        ending.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_when_ferryd_stops_is_told_so_far() {
    let api = Api::new();
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
async fn nobody_waits_for_a_broker_that_is_away() {
    let api = Api::new();
    assert_eq!(api.post(COMMAND, &[]).await.status, StatusCode::ACCEPTED);
    let unknown = "/v1/commands/unheard-of";
    let away = (503, "broker-away");
    let reading = (503, "catching-up");
    for (standing, posted, deleted, unheard, known, listed, ready) in [
        (Standing::BrokerAway, away, away, away, 200, 200, away),
        (Standing::CatchingUp(7), reading, reading, reading, 503, 503, reading),
        (Standing::Lagging, (503, "not-confirmed"), (503, "not-confirmed"), (503, "not-confirmed"), 200, 200, (503, "not-confirmed")),
        (Standing::Stopping, (503, "stopping"), (503, "stopping"), (503, "stopping"), 200, 200, (503, "stopping")),
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
    api.fake.stand(Standing::Ready);
    assert_eq!(api.get("/readyz").await.body, json!({ "status": "ready" }));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_confirm_is_not_waited_for_long() {
    let api = Api::new();
    api.fake.hangs.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let answer = api.post(COMMAND, &[("prefer", "wait=60")]).await;
    assert_eq!(answer.problem(), (503, "not-confirmed"));
    assert!(answer.body["detail"].as_str().unwrap().contains("the same id"));
    assert_eq!(began.elapsed().as_secs(), 2);
    let answer = api.ask(Method::DELETE, "/v1/commands/order-1", &[], "").await;
    assert_eq!(answer.problem(), (503, "not-confirmed"));
    // What is handed in and not confirmed has a bound.
    let large = COMMAND.replace("\"eur\"", &format!("\"{}\"", "x".repeat(1_000_000)));
    let mut busy = 0;
    for _ in 0..70 {
        let answer = api.post(&large, &[]).await;
        busy += usize::from(answer.problem().1 == "busy");
    }
    assert!((1..10).contains(&busy), "{busy}");
}

#[tokio::test]
async fn a_panic_is_an_answer_too() {
    let api = Api::new();
    api.fake.panics.store(true, Ordering::SeqCst);
    assert_eq!(api.get("/v1/commands/order-1").await.problem(), (500, "internal"));
    assert_eq!(api.post(COMMAND, &[]).await.problem(), (500, "internal"));
}

#[tokio::test]
async fn a_cancel_says_what_came_of_it() {
    let api = Api::new();
    let id: CommandId = "order-1".parse().unwrap();
    let path = "/v1/commands/order-1?reason=order%20withdrawn";
    for (cancellation, status, outcome) in [(Cancellation::Cancelled, 200, "cancelled"), (Cancellation::Noted, 202, "noted")] {
        *api.fake.cancellation.lock().unwrap() = cancellation;
        let answer = api.ask(Method::DELETE, path, &[], "").await;
        assert_eq!((answer.status.as_u16(), answer.body), (status, json!({ "id": "order-1", "outcome": outcome })));
    }
    let person = Person { by: "api:shop".to_owned(), reason: Some("order withdrawn".to_owned()) };
    assert_eq!(api.fake.cancelled.lock().unwrap()[0], (id, person));
    *api.fake.cancellation.lock().unwrap() = Cancellation::TooLate { reason: TooLate::InFlight };
    let answer = api.ask(Method::DELETE, path, &[], "").await;
    assert_eq!((answer.problem(), &answer.body["reason"]), ((409, "too-late"), &json!("in_flight")));
}

#[tokio::test]
async fn lists_pass_on_what_they_are_filtered_by() {
    let api = Api::new();
    api.post(COMMAND, &[]).await;
    let page = api.get("/v1/commands?provider=stripe&state=pending").await.body;
    assert_eq!((&page["commands"][0]["id"], &page["next"]), (&json!("order-1"), &Value::Null));
    api.get("/v1/dead-letters?code=card_declined").await;
    let filters = api.fake.filters.lock().unwrap();
    assert_eq!((filters[0].state, filters[0].dead), (Some(State::Pending), false));
    assert_eq!((filters[1].code.as_deref(), filters[1].dead), (Some("card_declined"), true));
}

#[tokio::test]
async fn without_a_ledger_commands_can_be_published_and_nothing_else() {
    let api = Api::with(tokens(), false);
    for _ in 0..2 {
        let answer = api.post(COMMAND, &[("prefer", "wait=60")]).await;
        assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::ACCEPTED, None));
    }
    assert_eq!(api.fake.published(), 2);
    for route in Route::ALL {
        let answer = api.ask(route.method(), &path_of(route), &[("content-type", "application/json")], COMMAND).await;
        let works = matches!(route, Route::Livez | Route::Readyz | Route::Submit | Route::OpenApi);
        if works {
            assert!(answer.status.is_success(), "{route:?} {}", answer.body);
        } else {
            assert_eq!(answer.problem(), (501, "no-ledger"), "{route:?}");
        }
    }
}

#[tokio::test]
async fn the_description_knows_every_route_and_no_other() {
    let api = Api::new();
    let document = openapi::document();
    assert_eq!(api.get("/openapi.json").await.body, document);
    let mut described = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described += 1;
            let method: Method = method.to_uppercase().parse().unwrap();
            assert!(Route::ALL.iter().any(|route| route.method() == method && route.path() == path), "{method} {path}");
            let answer = api.ask(method.clone(), &path.replace("{id}", "order-1"), &[], "").await;
            let missing = ["not-found", "method-not-allowed"].map(|slug| json!(format!("urn:ferryd:problem:{slug}")));
            assert!(!missing.contains(&answer.body["type"]), "{method} {path}");
        }
    }
    assert_eq!(described, Route::ALL.len());
}
