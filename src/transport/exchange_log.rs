//! One record of every exchange with a provider: what was asked, what came back, how long it took; masked.
//!
//! An exchange is masked once, into an [`Exchange`]: what of it shows nothing secret is borrowed, not copied. The log and the
//! stream of exchanges are written from that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

use crate::domain::command_id::CommandId;
use crate::domain::exchange::{Answer, CallRecord, Method, Reply, Request};
use crate::domain::name::Name;
use crate::domain::outcome::Failure;
use crate::redact::{Headers, Mask, told};

/// The target of these records, for filters such as `ferryd::exchange=off`.
pub const TARGET: &str = "ferryd::exchange";

/// The name of this machine, read once.
static HOST: LazyLock<String> = LazyLock::new(|| gethostname::gethostname().to_string_lossy().into_owned());

/// Whose call an exchange was.
#[derive(Debug, Clone, Copy)]
pub struct StepLabel<'a> {
    /// When the call began.
    pub at: Timestamp,
    /// The command.
    pub command: &'a CommandId,
    /// The provider that was called.
    pub provider: &'a Name,
    /// What it was asked to do.
    pub operation: &'a Name,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
}

/// One exchange, masked: what was sent to a provider, and what came of it. Later versions may add fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exchange<'a> {
    /// When the call began, by the clock of the host that made it.
    pub at: Timestamp,
    /// The command.
    pub command: Cow<'a, CommandId>,
    /// The provider that was called.
    pub provider: Cow<'a, Name>,
    /// What it was asked to do.
    pub operation: Cow<'a, Name>,
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
    /// The host that made the call.
    pub host: Cow<'a, str>,
    /// What was asked.
    pub request: Asked<'a>,
    /// Whether it reached the provider.
    pub sent: Sent,
    /// What came back, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Answered<'a>>,
    /// Milliseconds from the begin of the call to its end.
    pub duration_ms: u64,
    /// Why there is no complete answer, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault<'a>>,
}

/// A masked request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExchangeRequest")]
pub struct Asked<'a> {
    /// The method.
    pub method: Method,
    /// The URL, its query decoded.
    pub url: Cow<'a, str>,
    /// The headers.
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: Headers<'a>,
    /// The body as text, perhaps cut; none where the provider's bodies are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
    /// How many bytes of the body were cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub body_cut: usize,
}

/// A masked answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExchangeResponse")]
pub struct Answered<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers; none where the answer ended before it was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<BTreeMap<String, String>>")]
    pub headers: Option<Headers<'a>>,
    /// The body as text, perhaps cut; none where the provider's bodies are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Cow<'a, str>>,
    /// How many bytes of the body were cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub body_cut: usize,
}

/// Why there is no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExchangeError")]
pub struct Fault<'a> {
    /// A word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'a, str>>,
    /// What happened.
    pub message: Cow<'a, str>,
}

/// Whether a request reached the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ExchangeSent")]
#[serde(rename_all = "lowercase")]
pub enum Sent {
    /// Certainly not.
    No,
    /// Nobody knows.
    Maybe,
    /// It was answered.
    Yes,
}

impl Sent {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Maybe => "maybe",
            Self::Yes => "yes",
        }
    }
}

/// Whether anybody listens to [`TARGET`]: where nobody does, masking for the log alone is not worth its cost.
#[must_use]
pub fn is_heard() -> bool {
    tracing::enabled!(target: TARGET, Level::INFO)
}

impl CallRecord for Exchange<'_> {
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

impl<'a> Exchange<'a> {
    /// Masks an exchange; its bodies only where `bodies` says that they may be shown at all.
    #[must_use]
    pub fn new(
        step: &StepLabel<'a>,
        request: &'a Request,
        answer: &'a Answer,
        elapsed: Duration,
        mask: &Mask,
        bodies: bool,
    ) -> Self {
        let body = |headers, body| if bodies { masked_body(mask, headers, body) } else { (None, 0) };
        let (sent, reply, failure) = parts(answer);
        let (request_body, request_cut) = body(&request.headers, &request.body);
        let whole = |reply: &'a Reply| {
            let (body, body_cut) = body(&reply.headers, &reply.body);
            Answered { status: reply.status, headers: Some(mask.headers(&reply.headers)), body, body_cut }
        };
        let broken = |status| Answered { status, headers: None, body: None, body_cut: 0 };
        Self {
            at: step.at,
            command: Cow::Borrowed(step.command),
            provider: Cow::Borrowed(step.provider),
            operation: Cow::Borrowed(step.operation),
            generation: step.generation,
            attempt: step.attempt,
            host: Cow::Borrowed(HOST.as_str()),
            request: Asked {
                method: request.method,
                url: mask.url(&request.url).into(),
                headers: mask.headers(&request.headers),
                body: request_body,
                body_cut: request_cut,
            },
            sent,
            response: reply.map(whole).or_else(|| failure.and_then(|failure| failure.http_status).map(broken)),
            duration_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            error: failure.map(|failure| Fault {
                code: failure.code.as_deref().map(Cow::Borrowed),
                message: mask.masked(failure.message.as_str()).into_cow(),
            }),
        }
    }

    /// Writes the exchange to the log. Headers and bodies are texts there, headers cut where `mask` cuts bodies.
    pub fn log(&self, mask: &Mask) {
        let Self { request, response, error, .. } = self;
        let headers = |headers: &Headers<'_>| {
            let shown = mask.cut(headers.json());
            if shown.cut == 0 { shown.text.into_owned() } else { shown.told().into_owned() }
        };
        let request_body = request.body.as_deref().map(|body| told(body, request.body_cut));
        let response_headers = response.as_ref().and_then(|response| response.headers.as_ref()).map(headers);
        let response_body =
            response.as_ref().and_then(|response| Some(told(response.body.as_deref()?, response.body_cut)));
        tracing::info!(
            target: TARGET,
            {
            command.id = self.command.as_str(),
            provider = self.provider.as_str(),
            operation = self.operation.as_str(),
            generation = self.generation,
            attempt = self.attempt,
            http.request.method = request.method.as_str(),
            url = &*request.url,
            request.headers = headers(&request.headers),
            request.body = request_body.as_deref(),
            sent = self.sent.as_str(),
            response.status = response.as_ref().map(|response| response.status),
            response.headers = response_headers,
            response.body = response_body.as_deref(),
            duration_ms = self.duration_ms,
            error.code = error.as_ref().and_then(|error| error.code.as_deref()),
            error.message = error.as_ref().map(|error| &*error.message),
            },
            "exchange"
        );
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn masked_body<'a>(mask: &Mask, headers: &[(String, String)], body: &'a [u8]) -> (Option<Cow<'a, str>>, usize) {
    let shown = mask.body(content_type(headers), body);
    (Some(shown.text), shown.cut)
}

/// Whether the request was sent, and what came back: an answer, or the reason for none.
fn parts(answer: &Answer) -> (Sent, Option<&Reply>, Option<&Failure>) {
    match answer {
        Answer::NotSent(failure) => (Sent::No, None, Some(failure)),
        Answer::Incomplete(failure) => (Sent::Maybe, None, Some(failure)),
        Answer::Reply(reply) => (Sent::Yes, Some(reply), None),
    }
}

fn content_type(headers: &[(String, String)]) -> Option<&str> {
    headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type")).map(|(_, value)| value.as_str())
}

#[cfg(test)]
#[path = "exchange_log_tests.rs"]
mod tests;
