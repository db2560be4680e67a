//! One record of every call to a provider: request or message, response and duration; masked.
//!
//! A call is masked once, into an [`HttpCall`], which borrows the parts without secrets. The lines of
//! the log and of the stream are both written from that, see
//! [`EncodedCall`](super::encoded_call::EncodedCall).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

use super::call_method::CallMethod;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::http_call::{CallRecord, CallResult, HttpReply, HttpRequest};
use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_redact::{Mask, MaskedHeaders, with_cut_note};

/// The target of these records, for filters such as `ferryd::call=off`.
pub const TARGET: &str = "ferryd::call";

/// The name of this host, read once.
static HOST: LazyLock<String> =
    LazyLock::new(|| gethostname::gethostname().to_string_lossy().into_owned());

/// The command, operation and attempt to which a call belongs.
#[derive(Debug, Clone, Copy)]
pub struct StepLabel<'a> {
    /// The time at which the call began.
    pub at: Timestamp,
    /// The command.
    pub command: &'a CommandId,
    /// The provider that was called.
    pub provider: &'a Name,
    /// The operation of the command.
    pub operation: &'a Name,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
}

/// One call to a provider, masked: request and response. Later versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpCall<'a> {
    /// The time at which the call began, by the clock of the host that made it.
    pub at: Timestamp,
    /// The command.
    pub command: Cow<'a, CommandId>,
    /// The provider that was called.
    pub provider: Cow<'a, Name>,
    /// The operation of the command.
    pub operation: Cow<'a, Name>,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
    /// The host that made the call.
    pub host: Cow<'a, str>,
    /// The request.
    pub request: MaskedRequest<'a>,
    /// The certainty that the request reached the provider.
    pub sent: RequestSent,
    /// The response; absent where none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<MaskedReply<'a>>,
    /// The time from the beginning of the call to its end, in milliseconds.
    pub duration_ms: u64,
    /// The reason why there is no complete response; absent where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyFault<'a>>,
}

/// A masked request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallRequest")]
pub struct MaskedRequest<'a> {
    /// The method.
    pub method: CallMethod,
    /// The URL, its query decoded; of a message the broker's, with exchange and routing key as the
    /// query.
    pub url: Cow<'a, str>,
    /// The headers.
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: MaskedHeaders<'a>,
    /// The body as text, cut where it is long; none where the provider's bodies are not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
    /// The number of bytes that were cut from the body.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub body_cut: usize,
}

/// A masked response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallResponse")]
pub struct MaskedReply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers; none where the response ended before it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<MaskedHeaders<'a>>,
    /// The body as text, cut where it is long; none where the provider's bodies are not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
    /// The number of bytes that were cut from the body.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub body_cut: usize,
}

/// The reason why there is no complete response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallError")]
pub struct ReplyFault<'a> {
    /// The error code, such as `timeout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// The description of the error, for people.
    pub message: Cow<'a, str>,
}

/// The certainty that a request reached the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CallSent")]
#[serde(rename_all = "lowercase")]
pub enum RequestSent {
    /// The request certainly did not reach the provider.
    No,
    /// The request may have reached the provider.
    Maybe,
    /// The provider answered the request.
    Yes,
}

impl RequestSent {
    /// The value as records spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// Returns true if [`TARGET`] is enabled. If not, masking for the log alone is not worth its cost.
#[must_use]
pub fn is_heard() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

impl CallRecord for HttpCall<'_> {
    fn command(&self) -> &CommandId {
        &self.command
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn step(&self) -> (u32, u32) {
        (self.generation, self.attempt)
    }
}

impl<'a> HttpCall<'a> {
    /// Masks a call; bodies are included only if `bodies` allows it.
    #[must_use]
    pub fn new(
        step: &StepLabel<'a>,
        request: &'a HttpRequest,
        answer: &'a CallResult,
        elapsed: Duration,
        mask: &Mask,
        bodies: bool,
    ) -> Self {
        let body =
            |headers, body| if bodies { masked_body(mask, headers, body) } else { (None, 0) };
        let (sent, reply, failure) = parts(answer);
        let (request_body, request_cut) = body(&request.headers, &request.body);
        let whole = |reply: &'a HttpReply| {
            let (body, body_cut) = body(&reply.headers, &reply.body);
            MaskedReply {
                status: reply.status,
                headers: Some(mask.headers(&reply.headers)),
                body,
                body_cut,
            }
        };
        let broken = |status| MaskedReply { status, headers: None, body: None, body_cut: 0 };
        let request = MaskedRequest {
            method: request.method.into(),
            url: mask.url(&request.url).into(),
            headers: mask.headers(&request.headers),
            body: request_body,
            body_cut: request_cut,
        };
        let response = reply
            .map(whole)
            .or_else(|| failure.and_then(|failure| failure.http_status).map(broken));
        Self::of_parts(step, (request, sent, response, failure), elapsed, mask)
    }

    /// Masks a call that is a message, with its [shown headers](MessageRequest::shown_headers).
    #[must_use]
    pub fn of_message(
        step: &StepLabel<'a>,
        (message, headers): (&'a MessageRequest, &'a [(String, String)]),
        result: &'a MessageResult,
        elapsed: Duration,
        mask: &Mask,
        bodies: bool,
    ) -> Self {
        let (body, body_cut) =
            if bodies { masked_body(mask, headers, &message.body) } else { (None, 0) };
        let (sent, failure) = match result {
            MessageResult::NotSent(failure) => (RequestSent::No, Some(failure)),
            MessageResult::Incomplete(failure) => (RequestSent::Maybe, Some(failure)),
            MessageResult::Acknowledged => (RequestSent::Yes, None),
        };
        let request = MaskedRequest {
            method: CallMethod::Publish,
            url: mask.url(&message.url()).into(),
            headers: mask.headers(headers),
            body,
            body_cut,
        };
        Self::of_parts(step, (request, sent, None, failure), elapsed, mask)
    }

    fn of_parts(
        step: &StepLabel<'a>,
        (request, sent, response, failure): (
            MaskedRequest<'a>,
            RequestSent,
            Option<MaskedReply<'a>>,
            Option<&'a Failure>,
        ),
        elapsed: Duration,
        mask: &Mask,
    ) -> Self {
        Self {
            at: step.at,
            command: Cow::Borrowed(step.command),
            provider: Cow::Borrowed(step.provider),
            operation: Cow::Borrowed(step.operation),
            generation: step.generation,
            attempt: step.attempt,
            host: Cow::Borrowed(HOST.as_str()),
            request,
            sent,
            response,
            duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            error: failure.map(|failure| ReplyFault {
                code: failure.code.as_deref().map(Cow::Borrowed),
                message: mask.masked(failure.message.as_str()).into_cow(),
            }),
        }
    }

    /// Writes the call to the log as an event, for a log whose lines are not JSON. Headers and bodies are texts there; headers are cut as `mask`
    /// cuts bodies.
    pub fn log(&self, mask: &Mask) {
        let Self { request, response, error, .. } = self;
        let headers = |headers: &MaskedHeaders<'_>| {
            let shown = mask.cut(headers.json());
            if shown.cut == 0 {
                shown.text.into_owned()
            } else {
                shown.with_cut_note().into_owned()
            }
        };
        let request_body =
            request.body.as_deref().map(|body| with_cut_note(body, request.body_cut));
        let response_headers =
            response.as_ref().and_then(|response| response.headers.as_ref()).map(headers);
        let response_body = response
            .as_ref()
            .and_then(|response| Some(with_cut_note(response.body.as_deref()?, response.body_cut)));
        tracing::info!(
            target: TARGET,
            {
            command.id = self.command.as_str(),
            provider = self.provider.as_str(),
            operation = self.operation.as_str(),
            generation = self.generation,
            attempt = self.attempt,
            http.request.method = request.method.as_str(),
            url.full = &*request.url,
            request.headers = headers(&request.headers),
            request.body = request_body.as_deref(),
            sent = self.sent.as_str(),
            http.response.status_code = response.as_ref().map(|response| response.status),
            response.headers = response_headers,
            response.body = response_body.as_deref(),
            duration_ms = self.duration_ms,
            error.type = error.as_ref().and_then(|error| error.code.as_deref()),
            error.message = error.as_ref().map(|error| &*error.message),
            },
            "call"
        );
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn masked_body<'a>(
    mask: &Mask,
    headers: &[(String, String)],
    body: &'a [u8],
) -> (Option<Cow<'a, str>>, usize) {
    let shown = mask.body(content_type(headers), body);
    (Some(shown.text), shown.cut)
}

/// Splits an answer into the certainty of sending, the response, and the failure.
fn parts(answer: &CallResult) -> (RequestSent, Option<&HttpReply>, Option<&Failure>) {
    match answer {
        CallResult::NotSent(failure) => (RequestSent::No, None, Some(failure)),
        CallResult::Incomplete(failure) => (RequestSent::Maybe, None, Some(failure)),
        CallResult::Reply(reply) => (RequestSent::Yes, Some(reply), None),
    }
}

fn content_type(headers: &[(String, String)]) -> Option<&str> {
    headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.as_str())
}

#[cfg(test)]
#[path = "call_log_tests.rs"]
mod tests;
