//! What ferryd publishes about a command: `CloudEvents` 1.0, structured mode, on the exchange `ferry.events`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::Identity;
use super::command_id::CommandId;
use super::lifecycle::{Kind, State};
use super::name::Name;
use super::outcome::{Failure, Party, Success};

/// The content type of an event (`CloudEvents` AMQP and JSON format specifications).
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The word in routing keys for a part of a broken command that could not be read.
const UNKNOWN_WORD: &str = "unknown";

/// An event, ready to be published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "ferryd event")]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// `<command>/<generation>/<attempt>/<state>`; of a message that was refused, `<command>/refused/<digest>`. The same for
    /// every copy, so that a subscriber drops repeats by it.
    pub id: String,
    /// `/ferryd/<provider>`.
    pub source: String,
    /// `ferry.command.<state>`.
    pub r#type: String,
    /// The command's id.
    pub subject: String,
    /// When it happened.
    pub time: Timestamp,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// The command's W3C trace context, where it carried one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Goes with `traceparent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// What happened.
    pub data: EventData,
}

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventData {
    /// Which command.
    pub command: Identity,
    /// The state it is in now.
    pub state: State,
    /// 0 for the command as published; each replay starts the next.
    pub generation: u32,
    /// The call this is about, from 1; where none was made, the one that would have been next.
    pub attempt: u32,
    /// Grows along a command's way: an event with a lower number than one already seen is late. 0, the lowest, of a message
    /// that was refused: it is no part of a command's way.
    pub sequence: u64,
    /// Whether nothing can follow: true for `completed`, and for `failed` without a dead letter.
    pub r#final: bool,
    /// The mapped result, of `completed` and `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it failed, of `failed`; the last failure, of `pending`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EventError>,
    /// The provider's own id for what it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// Who has to act, of `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<Party>,
    /// When the next call is due, of `pending`; when the provider is asked first how far it is, of `waiting`, or
    /// its deadline where it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// What went wrong beside the operation, such as result fields that could not be mapped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// Why a command failed, or an attempt did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventError {
    /// The kind of failure; absent where the command goes on. Subscribers must tolerate new words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The provider's code, or ferryd's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    pub message: String,
    /// More from the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// The status of the provider's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Whether the command was kept as a dead letter for an operator.
    pub dead_lettered: bool,
}

/// Where on its way a command is when something happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The generation.
    pub generation: u32,
    /// The call this is about.
    pub attempt: u32,
    /// When it happened.
    pub at: Timestamp,
}

/// What happened, with just the data that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The command waits for its next attempt.
    Pending {
        /// When that is due.
        due: Timestamp,
        /// What the last attempt came to.
        failure: Failure,
    },
    /// A call is about to be made.
    Processing,
    /// The provider accepted.
    Waiting(Success, Party),
    /// The provider is going to be asked, about what it has accepted or what it may have done. This is never published: it
    /// is only for the record.
    Inquiring {
        /// Whether it has accepted the command.
        accepted: bool,
        /// When it is asked.
        due: Timestamp,
        /// What is wrong so far, if anything.
        failure: Option<Failure>,
    },
    /// Done.
    Completed(Success),
    /// Failed.
    Failed(Kind, Failure),
    /// Failed by the word of the provider, which had accepted it: for reasons of its own, and for good. There is no dead letter.
    FailedThere(Failure),
}

impl Happening {
    /// The state this leads to.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Pending { .. } => State::Pending,
            Self::Processing | Self::Inquiring { accepted: false, .. } => State::Processing,
            Self::Waiting(..) | Self::Inquiring { accepted: true, .. } => State::Waiting,
            Self::Completed(_) => State::Completed,
            Self::Failed(..) | Self::FailedThere(_) => State::Failed,
        }
    }
}

/// The number of every event about a message that was refused: lower than that of any event of a command.
pub const REFUSED_SEQUENCE: u64 = 0;

/// A number that grows along a command's way: generation first, attempt second, state last. Below 2^53 for the first
/// 2^30 generations of 2^20 attempts, so that JavaScript reads it exactly.
#[must_use]
pub fn sequence(generation: u32, attempt: u32, state: State) -> u64 {
    let rank = match state {
        State::Pending => 0,
        State::Processing => 1,
        State::Waiting => 2,
        State::Failed => 3,
        State::Completed => 4,
    };
    ((u64::from(generation) << 20) + u64::from(attempt.min((1 << 20) - 1))) * 8 + rank
}

/// The attempt in a [`sequence`].
#[must_use]
pub fn attempt_of(sequence: u64) -> u32 {
    u32::try_from((sequence >> 3) & ((1 << 20) - 1)).unwrap_or(u32::MAX)
}

/// The id of an event, and its number among those of its command.
fn place(command: &CommandId, moment: Moment, happening: &Happening) -> (String, u64) {
    let Moment { generation, attempt, .. } = moment;
    let state = happening.state();
    match happening {
        _ if !command.is_refused() => {
            (format!("{command}/{generation}/{attempt}/{}", state.as_str()), sequence(generation, attempt, state))
        }
        Happening::Failed(Kind::Discarded, _) => (format!("{command}/{}", Kind::Discarded.as_str()), REFUSED_SEQUENCE),
        _ => (command.to_string(), REFUSED_SEQUENCE),
    }
}

impl Event {
    /// The event that tells of `happening`.
    #[must_use]
    pub fn new(command: Identity, moment: Moment, happening: Happening, trace: Trace) -> Self {
        let state = happening.state();
        let Moment { generation, attempt, at } = moment;
        let (id, sequence) = place(&command.id, moment, &happening);
        // Subscribers know a message by the id that its publisher gave it.
        let command = Identity { id: command.id.published(), ..command };
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
        data.fill(happening);
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: format!("/ferryd/{}", word(data.command.provider.as_ref())),
            r#type: format!("ferry.command.{}", state.as_str()),
            subject: data.command.id.to_string(),
            time: at,
            datacontenttype: "application/json".to_owned(),
            traceparent: trace.parent,
            tracestate: trace.state,
            data,
        }
    }

    /// The same of a command whose names were not known when it ended, once it has come with `command`; of any other, as it
    /// is.
    #[must_use]
    pub fn named(mut self, command: &Identity) -> Self {
        if self.data.command == Identity::unknown(command.id.clone()) {
            self.source = format!("/ferryd/{}", word(command.provider.as_ref()));
            self.data.command = command.clone();
        }
        self
    }

    /// `<type>.<provider>.<operation>.<state>`.
    #[must_use]
    pub fn routing_key(&self) -> String {
        routing_key(&self.data.command, self.data.state.as_str())
    }
}

/// The routing key of an event about a command: `<type>.<provider>.<operation>.<last>`.
#[must_use]
pub fn routing_key(command: &Identity, last: &str) -> String {
    let Identity { r#type, provider, operation, .. } = command;
    [word(r#type.as_ref()), word(provider.as_ref()), word(operation.as_ref()), last].join(".")
}

impl EventData {
    fn fill(&mut self, happening: Happening) {
        match happening {
            Happening::Processing => {}
            Happening::Pending { due, failure } => {
                self.next_attempt_at = Some(due);
                self.fail(None, false, failure);
            }
            Happening::Inquiring { due, failure, .. } => {
                self.next_attempt_at = Some(due);
                if let Some(failure) = failure {
                    self.fail(None, false, failure);
                }
            }
            Happening::Waiting(success, party) => {
                self.waiting_for = Some(party);
                self.succeed(success);
            }
            Happening::Completed(success) => {
                self.r#final = true;
                self.succeed(success);
            }
            Happening::Failed(kind, failure) => {
                self.r#final = !kind.dead_letters();
                self.fail(Some(kind), kind.dead_letters(), failure);
            }
            Happening::FailedThere(failure) => {
                self.r#final = true;
                self.fail(Some(Kind::Rejected), false, failure);
            }
        }
    }

    fn succeed(&mut self, success: Success) {
        self.result = success.result;
        self.provider_reference = success.provider_reference;
        self.warnings = success.warnings;
    }

    fn fail(&mut self, kind: Option<Kind>, dead_lettered: bool, failure: Failure) {
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

/// The W3C trace context a command carried in its headers, passed on untouched where it is no larger than the standard has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// `traceparent`.
    pub parent: Option<String>,
    /// `tracestate`.
    pub state: Option<String>,
}

impl Trace {
    /// The most bytes of a `traceparent` (W3C Trace Context, section 3.2.2).
    pub const LONGEST_PARENT: usize = 55;
    /// The most bytes of a `tracestate`: as many as everybody has to pass on (section 3.3.1.5).
    pub const LONGEST_STATE: usize = 512;

    /// Takes what may be passed on: a header that is too long is left out, and so is a `tracestate` without its `traceparent`.
    #[must_use]
    pub fn bounded(parent: Option<&str>, state: Option<&str>) -> Self {
        let parent = parent.filter(|parent| parent.len() <= Self::LONGEST_PARENT);
        let state = parent.and(state).filter(|state| state.len() <= Self::LONGEST_STATE);
        Self { parent: parent.map(str::to_owned), state: state.map(str::to_owned) }
    }
}

fn word(name: Option<&Name>) -> &str {
    name.map_or(UNKNOWN_WORD, Name::as_str)
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
