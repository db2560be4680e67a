//! The events about commands that ferryd publishes: `CloudEvents` 1.0, structured mode, on the
//! exchange `ferry.events`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::{EchoedIdentity, EncodedIdentity};
use super::command_id::CommandId;
use super::encoded_value::EncodedValue;
use super::lifecycle::{FailureKind, LifecycleState};
use super::name::Name;
use super::outcome::{Failure, Success, WaitingFor};

/// The content type of an event (`CloudEvents` AMQP and JSON format specifications).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The word in routing keys for a part of an invalid command that could not be read.
const UNKNOWN_WORD: &str = "unknown";

/// An event, ready to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ferryd event")]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// `<command>/<generation>/<attempt>/<state>`; of a message that was refused,
    /// `<command>/refused/<digest>`. Every copy has the same id, so a subscriber drops repeats by
    /// it.
    pub id: String,
    /// `/ferryd/<provider>`.
    pub source: String,
    /// `ferry.command.<state>`.
    pub r#type: String,
    /// The command's id.
    pub subject: String,
    /// The time at which the command changed.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The command's W3C trace context, where it carried one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The W3C `tracestate` that belongs to `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The change of the command.
    pub data: EventData,
}

/// An event that is recorded or published.
pub type EncodedEvent = EncodedValue<Event>;

/// A change of a command: its new state, and the data that belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// The command that changed.
    pub command: EncodedIdentity,
    /// The state of the command after the change.
    pub state: LifecycleState,
    /// 0 for the command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call that the event is about, from 1; where none was made, the one that
    /// would have been next.
    pub attempt: u32,
    /// A number that grows along a command's life: an event with a lower number than one already
    /// seen is late. 0, the lowest, for a message that was refused, because it is no command.
    pub sequence: u64,
    /// True if no further event can follow: for `completed`, and for `failed` without a dead
    /// letter.
    pub r#final: bool,
    /// The mapped result, of `completed` and `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The failure, of `failed`; the last failure, of `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
    /// The provider's own id of the operation's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// The party that has to act, of `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// The time of the next call, of `pending`; of the first query of the provider, of `waiting`,
    /// or the deadline where the provider can't be queried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// Problems beside the operation, such as result fields that could not be mapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The time at which the command changed.
    pub occurred_at: Timestamp,
}

/// The failure of a command, or of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventError {
    /// The kind of failure; absent where the command goes on. Subscribers must tolerate new kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// The provider's error code, or ferryd's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error message, for a person.
    pub message: String,
    /// Further details from the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The status of the provider's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// True if the command was kept as a dead letter for an operator.
    pub dead_lettered: bool,
}

/// The generation, attempt and time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventMoment {
    /// The generation.
    pub generation: u32,
    /// The number of the call that the event is about.
    pub attempt: u32,
    /// The time of the event.
    pub at: Timestamp,
}

/// The kind of an event about a command, with the data that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The command waits for its next attempt.
    Pending {
        /// The time of the next attempt.
        due: Timestamp,
        /// The failure of the last attempt.
        failure: Failure,
    },
    /// A call is about to be made.
    Processing,
    /// The provider accepted the command, and finishes it later.
    Waiting(Success, WaitingFor),
    /// The provider is going to be queried about an accepted command, or about a call that may have
    /// acted. This is recorded and never published.
    Querying {
        /// True if the provider has accepted the command.
        accepted: bool,
        /// The time of the query.
        due: Timestamp,
        /// The problem so far, if any.
        failure: Option<Failure>,
    },
    /// The command is completed.
    Completed(Success),
    /// The command has failed.
    Failed(FailureKind, Failure),
    /// The command has failed at the provider, which had accepted it: for reasons of the provider's
    /// own, and for good. There is no dead letter.
    FailedThere(Failure),
}

impl EventKind {
    /// Returns the state that the event leads to.
    #[must_use]
    pub fn state(&self) -> LifecycleState {
        match self {
            Self::Pending { .. } => LifecycleState::Pending,
            Self::Processing | Self::Querying { accepted: false, .. } => LifecycleState::Processing,
            Self::Waiting(..) | Self::Querying { accepted: true, .. } => LifecycleState::Waiting,
            Self::Completed(_) => LifecycleState::Completed,
            Self::Failed(..) | Self::FailedThere(_) => LifecycleState::Failed,
        }
    }
}

/// The sequence number of every event about a refused message: lower than that of any event of a
/// command.
pub const REFUSED_SEQUENCE: u64 = 0;

/// Computes a number that grows along a command's life: generation first, attempt second, state
/// last. The number stays below 2^53 for the first 2^30 generations of 2^20 attempts, so that
/// JavaScript reads it exactly.
#[must_use]
pub fn sequence(generation: u32, attempt: u32, state: LifecycleState) -> u64 {
    let rank = match state {
        LifecycleState::Pending => 0,
        LifecycleState::Processing => 1,
        LifecycleState::Waiting => 2,
        LifecycleState::Failed => 3,
        LifecycleState::Completed => 4,
    };
    ((u64::from(generation) << 20) + u64::from(attempt.min((1 << 20) - 1))) * 8 + rank
}

/// Returns the attempt in a [`sequence`].
#[must_use]
pub fn attempt_of(sequence: u64) -> u32 {
    u32::try_from((sequence >> 3) & ((1 << 20) - 1)).unwrap_or(u32::MAX)
}

/// Returns the id of an event, and its sequence number among those of its command.
fn place(command: &CommandId, moment: EventMoment, kind: &EventKind) -> (String, u64) {
    let EventMoment { generation, attempt, .. } = moment;
    let state = kind.state();
    match kind {
        _ if !command.is_refused() => {
            let (command, state_name) = (command.as_str(), state.as_str());
            let (generation_text, attempt_text) = (generation.to_string(), attempt.to_string());
            // Joined, the text is allocated once.
            let id = [command, &generation_text, &attempt_text, state_name].join("/");
            (id, sequence(generation, attempt, state))
        }
        EventKind::Failed(FailureKind::Discarded, _) => {
            (format!("{command}/{}", FailureKind::Discarded.as_str()), REFUSED_SEQUENCE)
        }
        _ => (command.to_string(), REFUSED_SEQUENCE),
    }
}

impl Event {
    /// Builds the event of `kind`.
    #[must_use]
    pub fn new(
        command: impl Into<EncodedIdentity>,
        moment: EventMoment,
        kind: EventKind,
        trace: TraceContext,
    ) -> Self {
        let state = kind.state();
        let EventMoment { generation, attempt, at } = moment;
        let command = command.into();
        let (id, sequence) = place(&command.id, moment, &kind);
        // Subscribers know a message by the id that its publisher gave it.
        let command = command.published();
        let mut data = EventData {
            state,
            generation,
            attempt,
            sequence,
            r#final: false,
            result: None,
            error: None,
            provider_reference: None,
            waiting_for: None,
            next_attempt_at: None,
            warnings: Vec::new(),
            occurred_at: at,
            command,
        };
        data.fill(kind);
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: source(&data.command),
            r#type: ["ferry.command.", state.as_str()].concat(),
            subject: data.command.id.to_string(),
            time: at,
            datacontenttype: "application/json".to_owned(),
            traceparent: trace.parent,
            tracestate: trace.state,
            data,
        }
    }

    fn set_names(&mut self, command: &EncodedIdentity) {
        self.source = source(command);
        self.data.command = command.clone();
    }

    /// Returns the routing key of the event: `<type>.<provider>.<operation>.<state>`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        routing_key(&self.data.command, self.data.state.as_str())
    }
}

/// Returns the routing key of an event about a command: `<type>.<provider>.<operation>.<last>`.
#[must_use]
pub fn routing_key(command: &EchoedIdentity, last: &str) -> String {
    let EchoedIdentity { r#type, provider, operation, .. } = command;
    [word(r#type.as_ref()), word(provider.as_ref()), word(operation.as_ref()), last].join(".")
}

impl EncodedEvent {
    /// Fills in the names of a command that ended before they were known, from the later `command`;
    /// any other event stays as it is.
    #[must_use]
    pub fn with_names(&self, command: &EncodedIdentity) -> Self {
        if self.data.command.is_unknown() && self.data.command.id == command.id {
            self.with_changes(|event| event.set_names(command))
        } else {
            self.clone()
        }
    }
}

impl EventData {
    fn fill(&mut self, event_kind: EventKind) {
        match event_kind {
            EventKind::Processing => {}
            EventKind::Pending { due, failure } => {
                self.next_attempt_at = Some(due);
                self.fail(None, false, failure);
            }
            EventKind::Querying { due, failure, .. } => {
                self.next_attempt_at = Some(due);
                if let Some(failure) = failure {
                    self.fail(None, false, failure);
                }
            }
            EventKind::Waiting(success, waiting_for) => {
                self.waiting_for = Some(waiting_for);
                self.succeed(success);
            }
            EventKind::Completed(success) => {
                self.r#final = true;
                self.succeed(success);
            }
            EventKind::Failed(kind, failure) => {
                self.r#final = !kind.dead_letters();
                self.fail(Some(kind), kind.dead_letters(), failure);
            }
            EventKind::FailedThere(failure) => {
                self.r#final = true;
                self.fail(Some(FailureKind::Rejected), false, failure);
            }
        }
    }

    fn succeed(&mut self, success: Success) {
        self.result = success.result;
        self.provider_reference = success.provider_reference;
        self.warnings = success.warnings;
    }

    fn fail(&mut self, kind: Option<FailureKind>, dead_lettered: bool, failure: Failure) {
        self.provider_reference = failure.provider_reference;
        self.error = Some(EventError {
            kind,
            code: failure.code,
            message: failure.message,
            details: failure.details,
            http_status: failure.http_status,
            dead_lettered,
        });
    }
}

/// The W3C trace context of a command's headers, passed on unchanged where it is no larger than the
/// standard allows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

impl TraceContext {
    /// The maximum size of a `traceparent`, in bytes (W3C Trace Context, section 3.2.2).
    pub const LONGEST_PARENT: usize = 55;
    /// The maximum size of a `tracestate` that everyone has to pass on, in bytes (section 3.3.1.5).
    pub const LONGEST_STATE: usize = 512;

    /// Keeps the parts that may be passed on: a header that is too long is left out, and so is a
    /// `tracestate` without its `traceparent`.
    #[must_use]
    pub fn from_headers(parent: Option<&str>, state: Option<&str>) -> Self {
        let parent = parent.filter(|parent| parent.len() <= Self::LONGEST_PARENT);
        let state = parent.and(state).filter(|state| state.len() <= Self::LONGEST_STATE);
        Self { parent: parent.map(str::to_owned), state: state.map(str::to_owned) }
    }
}

fn source(command: &EchoedIdentity) -> String {
    ["/ferryd/", word(command.provider.as_ref())].concat()
}

fn word(name: Option<&Name>) -> &str {
    name.map_or(UNKNOWN_WORD, Name::as_str)
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
