//! The handler of all calls to the sandbox: acts at most once per key, and answers or fails as
//! asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::behaviour::{self, Behaviour, Fault};
use super::calls::{Caller, CallsSnapshot, Claim, Fingerprint, Given, Memory};
use super::deeds::{Deed, Standing};
use ferryd_serve::connection_handle::ConnectionHandle;

/// The largest request body that is read, in bytes.
const LARGEST_REQUEST: usize = 4 << 20;

/// One chunk of a body that never ends.
const PIECE: Bytes = Bytes::from_static(&[b' '; 16 << 10]);

/// The state that all calls share.
#[derive(Default)]
pub(super) struct Desk(Mutex<Memory>);

impl Desk {
    /// A copy of the counters.
    pub(super) fn snapshot(&self) -> CallsSnapshot {
        self.memory().snapshot()
    }

    /// Ends the accepted transactions of a caller, with this status.
    pub(super) fn end(&self, caller: &str, status: &str) {
        self.memory().deeds.end(caller, status);
    }

    /// No lock is held across an `await`, and no code that holds one panics.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the sandbox.
pub(super) fn router(desk: &Arc<Desk>) -> Router {
    let calls = get(|State(desk): State<Arc<Desk>>| async move { Json(desk.snapshot()) });
    let calls = calls.delete(|State(desk): State<Arc<Desk>>| async move {
        desk.memory().reset();
        StatusCode::NO_CONTENT
    });
    let search = get(|State(desk): State<Arc<Desk>>, Query(asked): Query<Asked>| async move {
        let mut memory = desk.memory();
        memory.asked(&asked.id);
        Json(memory.deeds.of(&asked.id))
    });
    let deed = get(|State(desk): State<Arc<Desk>>, Path(id): Path<String>| async move {
        let mut memory = desk.memory();
        memory.asked(&id);
        match memory.deeds.get(&id) {
            Some(deed) => Json(deed).into_response(),
            None => error(StatusCode::NOT_FOUND, "not_found", "there is nothing by this id").into_response(),
        }
    });
    let router = Router::new().route("/sandbox/calls", calls);
    let router = router.route("/sandbox/deeds", search).route("/sandbox/deeds/{id}", deed);
    router.fallback(take).with_state(Arc::clone(desk))
}

/// A query about transactions.
#[derive(Deserialize)]
struct Asked {
    /// The caller's name for the transaction.
    id: String,
}

async fn take(
    State(desk): State<Arc<Desk>>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the request is larger than 4 MiB").into_response();
    };
    let content_type = text_of(&parts.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let payload = behaviour::payload(&content_type, parts.uri.query().unwrap_or_default(), &body);
    let behaviour = Behaviour::of(&payload);
    let caller = caller(&parts, &payload, behaviour.as_ref().ok());
    let visit = Visit::new(&desk, caller);
    match behaviour {
        Err(bad) => error(StatusCode::BAD_REQUEST, "sandbox", &bad.to_string()).into_response(),
        Ok(behaviour) => {
            let request = Fingerprint::of(parts.uri.path(), &body);
            let call = Call { visit, behaviour, payload, acts: parts.method != Method::GET };
            call.answer(request, &connection).await
        }
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Identifies the caller. Most headers for idempotency keys contain the word `idempotency`;
/// PayPal's does not.
fn caller(parts: &Parts, payload: &Value, behaviour: Option<&Behaviour>) -> Caller {
    let is_key = |name: &str| name.contains("idempotency") || name == "paypal-request-id";
    let key =
        parts.headers.keys().find(|name| is_key(name.as_str())).and_then(|name| text_of(&parts.headers, name.as_str()));
    let field = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
    let id =
        behaviour.and_then(|behaviour| behaviour.id.clone()).or_else(|| field("id")).or_else(|| field("reference"));
    Caller { path: parts.uri.path().to_owned(), key, id }
}

/// A request in progress. Dropping the visit counts the request as ended, and releases a key that
/// got no final answer.
struct Visit {
    desk: Arc<Desk>,
    caller: Caller,
    claimed: bool,
}

impl Visit {
    fn new(desk: &Arc<Desk>, caller: Caller) -> Self {
        desk.memory().arrived(&caller);
        Self { desk: Arc::clone(desk), caller, claimed: false }
    }

    /// Claims the call's key, or returns the answer for a refused claim.
    fn claim(&mut self, request: Fingerprint) -> Result<(), Response> {
        let Some(key) = &self.caller.key else { return Ok(()) };
        match self.desk.memory().claim(key, request) {
            Claim::Ours => self.claimed = true,
            Claim::Known(given) => return Err(respond(&given, None)),
            Claim::InUse => {
                let message = "a call under this key is still running";
                return Err(error(StatusCode::CONFLICT, "idempotency_in_use", message).into_response());
            }
            Claim::OtherRequest => {
                let message = "another request was sent under this key";
                return Err(error(StatusCode::BAD_REQUEST, "idempotency_error", message).into_response());
            }
        }
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut memory = self.desk.memory();
        memory.left();
        if let Some(key) = self.caller.key.as_ref().filter(|_| self.claimed) {
            memory.release(key);
        }
    }
}

/// One call being worked on.
struct Call {
    visit: Visit,
    behaviour: Behaviour,
    payload: Value,
    /// True for a call that changes something; reading does not.
    acts: bool,
}

/// The end of a call.
enum Ending {
    /// An answer, which may get lost.
    Answer(Given, Option<Fault>),
    /// Nothing was done, and no answer ever begins. The visit lasts as long as the client stays
    /// connected.
    Silence(Fault, Visit),
}

impl Call {
    async fn answer(mut self, request: Fingerprint, connection: &ConnectionHandle) -> Response {
        if let Err(response) = self.visit.claim(request) {
            return response;
        }
        let retry_after = self.behaviour.retry_after.clone();
        // A real provider goes on working after its client has disconnected, so the work is a task
        // of its own.
        let work = tokio::spawn(async move {
            tokio::time::sleep(self.behaviour.latency).await;
            self.work()
        });
        match work.await {
            Ok(Ending::Answer(given, fault)) => deliver(&given, fault, retry_after.as_deref(), connection).await,
            Ok(Ending::Silence(fault, _visit)) => silence(fault, connection).await,
            Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "sandbox", "the sandbox failed").into_response(),
        }
    }

    fn work(self) -> Ending {
        let times = self.behaviour.fail_times;
        let faulty = times.is_none_or(|times| self.visit.desk.memory().fails(&self.visit.caller, times));
        let fault = self.behaviour.fault.filter(|_| faulty);
        if faulty && self.behaviour.act_then_fail {
            let given = self.succeed(StatusCode::OK, if self.behaviour.accepted { "processing" } else { "succeeded" });
            let failed = error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong").into();
            return Ending::Answer(if fault.is_some() { given } else { failed }, fault);
        }
        if let Some(fault @ (Fault::HangBeforeAnswer | Fault::Reset)) = fault {
            return Ending::Silence(fault, self.visit);
        }
        let fails = faulty && times.is_some() && fault.is_none();
        Ending::Answer(if fails { self.refuse(StatusCode::SERVICE_UNAVAILABLE) } else { self.conclude() }, fault)
    }

    /// The answer of a call where nothing fails.
    fn conclude(&self) -> Given {
        let status = self.behaviour.status.filter(|_| self.behaviour.fail_times.is_none());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(code) = &self.behaviour.decline {
            let declined = error(StatusCode::PAYMENT_REQUIRED, code, "the provider declined").into();
            return self.keep(declined);
        }
        if let Some(status) = status.filter(|status| !status.is_success()) {
            let refused = self.refuse(status);
            let settled = status.is_client_error() && !matches!(status.as_u16(), 409 | 425 | 429);
            return if settled { self.keep(refused) } else { refused };
        }
        let (default, word) =
            if self.behaviour.accepted { (StatusCode::ACCEPTED, "processing") } else { (StatusCode::OK, "succeeded") };
        self.succeed(status.unwrap_or(default), word)
    }

    fn refuse(&self, default: StatusCode) -> Given {
        let asked = self.behaviour.status.and_then(|status| StatusCode::from_u16(status).ok());
        error(asked.unwrap_or(default), "sandbox", "refused as asked").into()
    }

    /// Acts, and keeps the answer under the key.
    fn succeed(&self, status: StatusCode, word: &str) -> Given {
        let number = if self.acts { self.act(word) } else { 0 };
        let mut body = json!({ "id": Deed::id(number), "status": word });
        if let Some(amount) = self.payload.get("amount") {
            body["amount"] = amount.clone();
        }
        body["request"] = self.payload.clone();
        self.keep(Given { status: status.as_u16(), body: body.to_string().into() })
    }

    /// Makes the transaction, or accepts it.
    fn act(&self, word: &str) -> u64 {
        let Behaviour { finish_after, finish, hidden, .. } = &self.behaviour;
        let caller = &self.visit.caller;
        let mut memory = self.visit.desk.memory();
        let number = memory.acted(caller);
        let end = finish.clone().unwrap_or_else(|| "succeeded".to_owned());
        let standing = match word {
            "processing" => Standing::Accepted { end, after: *finish_after },
            _ => Standing::Ended(end),
        };
        let (caller, amount) = (caller.id.clone(), self.payload.get("amount").cloned());
        memory.deeds.add(Deed { number, caller, amount, at: Instant::now(), hidden: *hidden, standing });
        number
    }

    fn keep(&self, given: Given) -> Given {
        if let Some(key) = &self.visit.caller.key {
            self.visit.desk.memory().keep(key, &given);
        }
        given
    }
}

/// An error answer in the form that providers use.
struct Problem(StatusCode, Value);

fn error(status: StatusCode, code: &str, message: &str) -> Problem {
    Problem(status, json!({ "error": { "code": code, "message": message } }))
}

impl Problem {
    fn into_response(self) -> Response {
        respond(&self.into(), None)
    }
}

impl From<Problem> for Given {
    fn from(Problem(status, body): Problem) -> Self {
        Self { status: status.as_u16(), body: body.to_string().into() }
    }
}

fn respond(given: &Given, retry_after: Option<&str>) -> Response {
    with_body(given, retry_after, Body::from(given.body.clone()))
}

fn with_body(given: &Given, retry_after: Option<&str>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(given.status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let retry_after = retry_after.filter(|_| given.status >= 300).map(HeaderValue::from_str);
    if let Some(Ok(value)) = retry_after {
        headers.insert(RETRY_AFTER, value);
    }
    response
}

async fn deliver(
    given: &Given,
    fault: Option<Fault>,
    retry_after: Option<&str>,
    connection: &ConnectionHandle,
) -> Response {
    let half = stream::iter([Ok::<_, Infallible>(given.body.slice(..given.body.len() / 2))]);
    let body = match fault {
        None => return respond(given, retry_after),
        Some(fault @ (Fault::HangBeforeAnswer | Fault::Reset)) => return silence(fault, connection).await,
        Some(Fault::HangMidBody) => Body::from_stream(half.chain(stream::pending())),
        Some(Fault::Huge) => Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(PIECE))),
        Some(Fault::Truncate) => {
            let broken = stream::once(async {
                // The data before the break gets a chance to be sent first.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("truncated as asked"))
            });
            let half = half.map(|piece| piece.map_err(|never| match never {}));
            Body::from_stream(half.chain(broken))
        }
    };
    let mut response = with_body(given, retry_after, body);
    if fault != Some(Fault::Huge) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(given.body.len()));
    }
    response
}

/// Never answers.
async fn silence(fault: Fault, connection: &ConnectionHandle) -> Response {
    if fault == Fault::Reset {
        connection.reset();
    }
    std::future::pending().await
}
