//! The handler of all calls to the sandbox: acts at most once per key, and answers or fails as the
//! request says.

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

use super::behaviour::{self, AnswerBehaviour, AnswerFault};
use super::calls::{
    CallerCounts, CallsSnapshot, KeyClaim, RequestFingerprint, SandboxAnswer, SandboxMemory,
};
use super::transactions::{SandboxTransaction, TransactionStatus};
use ferryd_serve::connection_handle::ConnectionHandle;

/// The largest request body that is read, in bytes.
const LARGEST_REQUEST: usize = 4 << 20;

/// One chunk of a body that never ends.
const PIECE: Bytes = Bytes::from_static(&[b' '; 16 << 10]);

/// The state that all calls share.
#[derive(Default)]
pub(super) struct SandboxState(Mutex<SandboxMemory>);

impl SandboxState {
    /// A copy of the counters.
    pub(super) fn snapshot(&self) -> CallsSnapshot {
        self.lock_memory().snapshot()
    }

    /// Ends the accepted transactions of a caller, with this status.
    pub(super) fn end(&self, caller: &str, status: &str) {
        self.lock_memory().transactions.end(caller, status);
    }

    /// No lock is held across an `await`, and no code that holds one panics.
    fn lock_memory(&self) -> MutexGuard<'_, SandboxMemory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the sandbox.
pub(super) fn router(state: &Arc<SandboxState>) -> Router {
    let calls = get(|State(state): State<Arc<SandboxState>>| async move { Json(state.snapshot()) });
    let calls = calls.delete(|State(state): State<Arc<SandboxState>>| async move {
        state.lock_memory().reset();
        StatusCode::NO_CONTENT
    });
    let search = get(
        |State(state): State<Arc<SandboxState>>, Query(query): Query<TransactionQuery>| async move {
            let mut memory = state.lock_memory();
            memory.note_query(&query.id);
            Json(memory.transactions.of(&query.id))
        },
    );
    let transaction =
        get(|State(state): State<Arc<SandboxState>>, Path(id): Path<String>| async move {
            let mut memory = state.lock_memory();
            memory.note_query(&id);
            match memory.transactions.get(&id) {
                Some(transaction) => Json(transaction).into_response(),
                None => error(StatusCode::NOT_FOUND, "not_found", "there is nothing by this id")
                    .into_response(),
            }
        });
    let router = Router::new().route("/sandbox/calls", calls);
    let router = router
        .route("/sandbox/transactions", search)
        .route("/sandbox/transactions/{id}", transaction);
    router.fallback(take).with_state(Arc::clone(state))
}

/// A query about transactions.
#[derive(Deserialize)]
struct TransactionQuery {
    /// The caller's name for the transaction.
    id: String,
}

async fn take(
    State(state): State<Arc<SandboxState>>,
    Extension(connection): Extension<ConnectionHandle>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "the request is larger than 4 MiB",
        )
        .into_response();
    };
    let content_type = text_of(&parts.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    let payload = behaviour::payload(&content_type, parts.uri.query().unwrap_or_default(), &body);
    let behaviour = AnswerBehaviour::of(&payload);
    let caller = caller(&parts, &payload, behaviour.as_ref().ok());
    let visit = RequestVisit::new(&state, caller);
    match behaviour {
        Err(bad) => error(StatusCode::BAD_REQUEST, "sandbox", &bad.to_string()).into_response(),
        Ok(behaviour) => {
            let request = RequestFingerprint::of(parts.uri.path(), &body);
            let call = RunningCall { visit, behaviour, payload, acts: parts.method != Method::GET };
            call.answer(request, &connection).await
        }
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Identifies the caller. Most headers for idempotency keys contain the word `idempotency`;
/// PayPal's does not.
fn caller(parts: &Parts, payload: &Value, behaviour: Option<&AnswerBehaviour>) -> CallerCounts {
    let is_key = |name: &str| name.contains("idempotency") || name == "paypal-request-id";
    let key = parts
        .headers
        .keys()
        .find(|name| is_key(name.as_str()))
        .and_then(|name| text_of(&parts.headers, name.as_str()));
    let field = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = behaviour
        .and_then(|behaviour| behaviour.id.clone())
        .or_else(|| field("id"))
        .or_else(|| field("reference"));
    CallerCounts { path: parts.uri.path().to_owned(), key, id }
}

/// A request in progress. Dropping the visit counts the request as ended, and releases a key that
/// got no final answer.
struct RequestVisit {
    state: Arc<SandboxState>,
    caller: CallerCounts,
    claimed: bool,
}

impl RequestVisit {
    fn new(state: &Arc<SandboxState>, caller: CallerCounts) -> Self {
        state.lock_memory().note_arrival(&caller);
        Self { state: Arc::clone(state), caller, claimed: false }
    }

    /// Claims the call's key, or returns the answer for a refused claim.
    fn claim(&mut self, request: RequestFingerprint) -> Result<(), Response> {
        let Some(key) = &self.caller.key else { return Ok(()) };
        match self.state.lock_memory().claim(key, request) {
            KeyClaim::Ours => self.claimed = true,
            KeyClaim::Known(given) => return Err(respond(&given, None)),
            KeyClaim::InUse => {
                let message = "a call under this key is still running";
                return Err(
                    error(StatusCode::CONFLICT, "idempotency_in_use", message).into_response()
                );
            }
            KeyClaim::OtherRequest => {
                let message = "another request was sent under this key";
                return Err(
                    error(StatusCode::BAD_REQUEST, "idempotency_error", message).into_response()
                );
            }
        }
        Ok(())
    }
}

impl Drop for RequestVisit {
    fn drop(&mut self) {
        let mut memory = self.state.lock_memory();
        memory.note_departure();
        if let Some(key) = self.caller.key.as_ref().filter(|_| self.claimed) {
            memory.release(key);
        }
    }
}

/// One call being worked on.
struct RunningCall {
    visit: RequestVisit,
    behaviour: AnswerBehaviour,
    payload: Value,
    /// True for a call that changes something; reading does not.
    acts: bool,
}

/// The end of a call.
enum CallEnd {
    /// An answer, which may get lost.
    Answer(SandboxAnswer, Option<AnswerFault>),
    /// Nothing was done, and no answer ever begins. The visit lasts as long as the client stays
    /// connected.
    Silence(AnswerFault, RequestVisit),
}

impl RunningCall {
    async fn answer(
        mut self,
        request: RequestFingerprint,
        connection: &ConnectionHandle,
    ) -> Response {
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
            Ok(CallEnd::Answer(given, fault)) => {
                deliver(&given, fault, retry_after.as_deref(), connection).await
            }
            Ok(CallEnd::Silence(fault, _visit)) => never_answer(fault, connection).await,
            Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "sandbox", "the sandbox failed")
                .into_response(),
        }
    }

    fn work(self) -> CallEnd {
        let times = self.behaviour.fail_times;
        let faulty = times
            .is_none_or(|times| self.visit.state.lock_memory().fails(&self.visit.caller, times));
        let fault = self.behaviour.fault.filter(|_| faulty);
        if faulty && self.behaviour.act_then_fail {
            let given = self.succeed(
                StatusCode::OK,
                if self.behaviour.accepted { "processing" } else { "succeeded" },
            );
            let failed =
                error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong").into();
            return CallEnd::Answer(if fault.is_some() { given } else { failed }, fault);
        }
        if let Some(fault @ (AnswerFault::HangBeforeAnswer | AnswerFault::Reset)) = fault {
            return CallEnd::Silence(fault, self.visit);
        }
        let fails = faulty && times.is_some() && fault.is_none();
        CallEnd::Answer(
            if fails {
                self.refuse(StatusCode::SERVICE_UNAVAILABLE)
            } else {
                self.answer_without_fault()
            },
            fault,
        )
    }

    /// The answer of a call where nothing fails.
    fn answer_without_fault(&self) -> SandboxAnswer {
        let status = self.behaviour.status.filter(|_| self.behaviour.fail_times.is_none());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        if let Some(code) = &self.behaviour.decline {
            let declined =
                error(StatusCode::PAYMENT_REQUIRED, code, "the provider declined").into();
            return self.keep(declined);
        }
        if let Some(status) = status.filter(|status| !status.is_success()) {
            let refused = self.refuse(status);
            let settled = status.is_client_error() && !matches!(status.as_u16(), 409 | 425 | 429);
            return if settled { self.keep(refused) } else { refused };
        }
        let (default, word) = if self.behaviour.accepted {
            (StatusCode::ACCEPTED, "processing")
        } else {
            (StatusCode::OK, "succeeded")
        };
        self.succeed(status.unwrap_or(default), word)
    }

    fn refuse(&self, default: StatusCode) -> SandboxAnswer {
        let requested = self.behaviour.status.and_then(|status| StatusCode::from_u16(status).ok());
        error(requested.unwrap_or(default), "sandbox", "refused as requested").into()
    }

    /// Acts, and keeps the answer under the key.
    fn succeed(&self, status: StatusCode, word: &str) -> SandboxAnswer {
        let number = if self.acts { self.act(word) } else { 0 };
        let mut body = json!({ "id": SandboxTransaction::id(number), "status": word });
        if let Some(amount) = self.payload.get("amount") {
            body["amount"] = amount.clone();
        }
        body["request"] = self.payload.clone();
        self.keep(SandboxAnswer { status: status.as_u16(), body: body.to_string().into() })
    }

    /// Makes the transaction, or accepts it.
    fn act(&self, word: &str) -> u64 {
        let AnswerBehaviour { finish_after, finish, hidden, .. } = &self.behaviour;
        let caller = &self.visit.caller;
        let mut memory = self.visit.state.lock_memory();
        let number = memory.note_act(caller);
        let end = finish.clone().unwrap_or_else(|| "succeeded".to_owned());
        let standing = match word {
            "processing" => TransactionStatus::Accepted { end, after: *finish_after },
            _ => TransactionStatus::Ended(end),
        };
        let (caller, amount) = (caller.id.clone(), self.payload.get("amount").cloned());
        memory.transactions.add(SandboxTransaction {
            number,
            caller,
            amount,
            at: Instant::now(),
            hidden: *hidden,
            standing,
        });
        number
    }

    fn keep(&self, given: SandboxAnswer) -> SandboxAnswer {
        if let Some(key) = &self.visit.caller.key {
            self.visit.state.lock_memory().keep(key, &given);
        }
        given
    }
}

/// An error answer in the form that providers use.
struct SandboxProblem(StatusCode, Value);

fn error(status: StatusCode, code: &str, message: &str) -> SandboxProblem {
    SandboxProblem(status, json!({ "error": { "code": code, "message": message } }))
}

impl SandboxProblem {
    fn into_response(self) -> Response {
        respond(&self.into(), None)
    }
}

impl From<SandboxProblem> for SandboxAnswer {
    fn from(SandboxProblem(status, body): SandboxProblem) -> Self {
        Self { status: status.as_u16(), body: body.to_string().into() }
    }
}

fn respond(given: &SandboxAnswer, retry_after: Option<&str>) -> Response {
    with_body(given, retry_after, Body::from(given.body.clone()))
}

fn with_body(given: &SandboxAnswer, retry_after: Option<&str>, body: Body) -> Response {
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
    given: &SandboxAnswer,
    fault: Option<AnswerFault>,
    retry_after: Option<&str>,
    connection: &ConnectionHandle,
) -> Response {
    let half = stream::iter([Ok::<_, Infallible>(given.body.slice(..given.body.len() / 2))]);
    let body = match fault {
        None => return respond(given, retry_after),
        Some(fault @ (AnswerFault::HangBeforeAnswer | AnswerFault::Reset)) => {
            return never_answer(fault, connection).await;
        }
        Some(AnswerFault::HangMidBody) => Body::from_stream(half.chain(stream::pending())),
        Some(AnswerFault::Huge) => {
            Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(PIECE)))
        }
        Some(AnswerFault::Truncate) => {
            let broken = stream::once(async {
                // The data before the break gets a chance to be sent first.
                tokio::task::yield_now().await;
                Err(std::io::Error::other("truncated as requested"))
            });
            let half = half.map(|piece| piece.map_err(|never| match never {}));
            Body::from_stream(half.chain(broken))
        }
    };
    let mut response = with_body(given, retry_after, body);
    if fault != Some(AnswerFault::Huge) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(given.body.len()));
    }
    response
}

/// Never answers.
async fn never_answer(fault: AnswerFault, connection: &ConnectionHandle) -> Response {
    if fault == AnswerFault::Reset {
        connection.reset();
    }
    std::future::pending().await
}
