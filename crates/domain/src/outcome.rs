//! Outcomes of calls, polls and lookups: the meanings of a provider's answer.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The outcome of one call, as an adapter interprets the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider did what the command requests.
    Completed(Success),
    /// The provider took the request and finishes it later.
    Waiting(Success, WaitingFor),
    /// The provider declined for a business reason: a final answer, not a fault.
    Declined(Failure),
    /// A technical refusal that trying again does not change.
    Rejected(Failure),
    /// The provider certainly did not act; the same call may be made again later.
    Transient(Failure, Option<RetryAfter>),
    /// The provider may or may not have acted.
    Unknown(Failure),
    /// The provider may or may not have acted, and is to be queried rather than called again.
    Lookup(Failure),
}

/// The result of a poll.
#[derive(Debug, Clone, PartialEq)]
pub enum PollOutcome {
    /// The provider did what the command requests.
    Completed(Success),
    /// The provider declined for a business reason.
    Declined(Failure),
    /// The operation has not ended, or no answer proves its end; with the problem of the answer, if
    /// any.
    Still(Option<Failure>),
}

/// The result of a lookup.
#[derive(Debug, Clone, PartialEq)]
pub enum LookupOutcome {
    /// The provider has found the operation, with this outcome.
    Found(Outcome),
    /// The provider has not found the operation.
    Absent(Failure),
    /// The answer decides nothing.
    Unclear(Failure),
}

/// The data of a successful operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Success {
    /// The mapped result, as the provider file describes it.
    pub result: Option<Value>,
    /// The provider's own id of the operation's result.
    pub provider_reference: Option<String>,
    /// Warnings of the provider, and result fields that could not be mapped.
    pub warnings: Vec<String>,
    /// The status of the answer.
    pub http_status: Option<u16>,
}

/// The error of a call that did not succeed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The provider's error code, or ferryd's own (`timeout`, `connect`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error message, for a person.
    pub message: String,
    /// Further details from the provider, as its file maps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The provider's own id of the accepted or refused operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
}

impl Failure {
    /// Creates a failure that ferryd itself found, before or without an answer.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), message: message.into(), ..Self::default() }
    }
}

/// The party that has to act before a waiting command can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// The provider is still working.
    #[default]
    Provider,
    /// The customer has to do something, such as confirm a payment.
    Customer,
}

/// The time at which a provider allows the next call (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// A number of seconds after the answer.
    Seconds(u64),
    /// A point in time.
    At(Timestamp),
}

impl RetryAfter {
    /// Returns the seconds to wait as of `now`; zero when the time has passed.
    #[must_use]
    pub fn seconds_from(self, now: Timestamp) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::At(time) => u64::try_from(time.as_second() - now.as_second()).unwrap_or(0),
        }
    }
}

/// The name of an outcome in provider files, logs and histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeName {
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

impl OutcomeName {
    /// Returns the name as text.
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
    /// Returns the outcome without its data.
    #[must_use]
    pub fn outcome_name(&self) -> OutcomeName {
        match self {
            Self::Completed(_) => OutcomeName::Completed,
            Self::Waiting(..) => OutcomeName::Waiting,
            Self::Declined(_) => OutcomeName::Declined,
            Self::Rejected(_) => OutcomeName::Rejected,
            Self::Transient(..) => OutcomeName::Transient,
            Self::Unknown(_) => OutcomeName::Unknown,
            Self::Lookup(_) => OutcomeName::Lookup,
        }
    }

    /// Converts the outcome of a call that only reads: such a call did not act, whatever its
    /// outcome.
    #[must_use]
    pub fn for_read_only(self) -> Self {
        match self {
            Self::Unknown(failure) | Self::Lookup(failure) => Self::Transient(failure, None),
            other => other,
        }
    }

    /// Returns the error of a call that did not succeed; `None` for a completed or waiting one.
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
