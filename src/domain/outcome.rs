//! What a provider's answer means.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What one call came to, as an adapter reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider did what was asked.
    Completed(Success),
    /// The provider took the request and finishes it later.
    Waiting(Success, Party),
    /// The provider's business "no": a final answer, not a fault.
    Declined(Failure),
    /// A technical refusal that trying again does not change.
    Rejected(Failure),
    /// The provider certainly did not act; the same call may be made again later.
    Transient(Failure, Option<RetryAfter>),
    /// The provider may or may not have acted.
    Unknown(Failure),
    /// The same, and the provider is to be asked rather than called again.
    Lookup(Failure),
}

/// What a poll came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// The provider did what was asked.
    Completed(Success),
    /// The provider's business "no".
    Declined(Failure),
    /// Not ended, or no answer that says so; with what was wrong about the answer, if anything.
    Still(Option<Failure>),
}

/// What a lookup came to.
#[derive(Debug, Clone, PartialEq)]
pub enum LookedUp {
    /// What the provider did was found, and means this.
    Found(Outcome),
    /// The provider says that there is none.
    Absent(Failure),
    /// The answer does not say.
    Unclear(Failure),
}

/// What the operation yielded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Success {
    /// The mapped result, as the provider file describes it.
    pub result: Option<Value>,
    /// The provider's own id for what it did.
    pub provider_reference: Option<String>,
    /// Result fields that could not be mapped, and warnings of the provider.
    pub warnings: Vec<String>,
    /// The status of the answer.
    pub http_status: Option<u16>,
}

/// Why a call did not end well.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The provider's error code, or ferryd's own word (`timeout`, `connect`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What a person should read.
    pub message: String,
    /// More from the provider, as its file maps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The provider's own id for what it did or refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
}

impl Failure {
    /// A failure that ferryd itself found, before or without an answer.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), message: message.into(), ..Self::default() }
    }
}

/// Who has to act before a waiting command can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The provider is still working.
    #[default]
    Provider,
    /// The customer has to do something, such as confirm a payment.
    Customer,
}

/// A provider's wish when to be called again (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// So many seconds from the answer.
    Seconds(u64),
    /// At a time of day.
    At(Timestamp),
}

impl RetryAfter {
    /// Seconds to wait as seen at `now`; zero when the time has passed.
    #[must_use]
    pub fn seconds_from(self, now: Timestamp) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::At(time) => u64::try_from(time.as_second() - now.as_second()).unwrap_or(0),
        }
    }
}

/// The word for an outcome in provider files, logs and histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// See [`Outcome::Completed`].
    Completed,
    /// See [`Outcome::Waiting`].
    Waiting,
    /// See [`Outcome::Declined`].
    Declined,
    /// See [`Outcome::Rejected`].
    Rejected,
    /// See [`Outcome::Transient`].
    Transient,
    /// See [`Outcome::Unknown`].
    Unknown,
    /// See [`Outcome::Lookup`].
    Lookup,
}

impl Verdict {
    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Waiting => "waiting",
            Self::Declined => "declined",
            Self::Rejected => "rejected",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Lookup => "lookup",
        }
    }
}

impl Outcome {
    /// The outcome without its data.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Completed(_) => Verdict::Completed,
            Self::Waiting(..) => Verdict::Waiting,
            Self::Declined(_) => Verdict::Declined,
            Self::Rejected(_) => Verdict::Rejected,
            Self::Transient(..) => Verdict::Transient,
            Self::Unknown(_) => Verdict::Unknown,
            Self::Lookup(_) => Verdict::Lookup,
        }
    }

    /// The outcome of a call that only asked for something: it did not act, whatever became of it.
    #[must_use]
    pub fn of_read(self) -> Self {
        match self {
            Self::Unknown(failure) | Self::Lookup(failure) => Self::Transient(failure, None),
            other => other,
        }
    }

    /// Why the call did not end well; `None` for a completed or waiting one.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Completed(_) | Self::Waiting(..) => None,
            Self::Declined(failure)
            | Self::Rejected(failure)
            | Self::Transient(failure, _)
            | Self::Unknown(failure)
            | Self::Lookup(failure) => Some(failure),
        }
    }
}
