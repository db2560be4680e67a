//! Records: what the ledger holds. How each is written is in the module `line` beside this one; `docs/LEDGER.md` documents
//! every kind.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::effects::RecordedEffects;
pub use super::job_mark::JobDecision;
pub use super::line::{AnyRecord, Line, Unreadable, VERSION};
pub use super::person::Person;
pub use super::prompt::{MadeQuery, NoticePrompt, Prompt, Prompted};
pub use super::record_id::{InvalidRecordId, RecordId};
pub use super::step::Step;
use crate::domain::command::Identity;
use crate::domain::command_id::CommandId;
use crate::domain::conflict::ConflictNote;
use crate::domain::event::Event;
use crate::domain::job::JobId;
use crate::domain::key::IdempotencyKey;
use crate::domain::money::MoneyAmount;
use crate::domain::progress::Attempted;

/// One line of the ledger about one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was written, by its writer's clock. For people: nothing is decided by it.
    pub at: Timestamp,
    /// The command.
    pub command: CommandId,
    /// What is said.
    pub fact: Fact,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// A command is known and waits; no call is under way.
    Opened(Box<Opened>),
    /// A call is about to be made.
    Started(Box<Started>),
    /// A call that was started is not going to be made.
    Released(Released),
    /// The one who started a call does not answer for it: whether it acted is unknown.
    TakenOver(TakenOver),
    /// A step is decided: by a call, before one, or by a person.
    Finished(Box<Finished>),
    /// The effects of a decision have been published and confirmed.
    Settled(Settled),
    /// A command that is not known yet shall not be carried out.
    CancelWished(CancelWished),
    /// A dead letter is sent again, as the next generation.
    Replayed(Box<Replayed>),
    /// Somebody else waits for the end of the command.
    Asked(Asked),
    /// Something contradicts what is known of the command, which is not touched by it.
    Conflicted(Box<ConflictNote>),
    /// The contents of a command that has ended are erased.
    Erased(ContentErasure),
    /// Something besides ferryd's own timers concerns the command; nothing is decided by it.
    Prompted(Prompted),
}

/// Which command, and what it asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opening {
    /// What events echo.
    pub identity: Identity,
    /// A digest of its content: two commands with the same id and the same content are one.
    pub content: String,
    /// Where its publisher waits for the end, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The AMQP user that published it, by the broker's word: ferryd's own for what came by the API. Absent where it is not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
}

/// See [`Fact::Opened`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// Which command.
    pub opening: Opening,
    /// The step that waits.
    pub step: Step,
    /// Whether it came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// Whether the message says that the ledger knew the command when it was sent on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// Why it waits.
    pub reason: Reason,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The caller who handed it in, of a command that came by the API; absent where a version wrote it that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Why a command waits without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was handed in and is on its way to the queue.
    Submitted,
    /// Its time has not come (`not_before`).
    Early,
    /// Its provider is busy.
    Busy,
    /// ferryd stopped before the call.
    Stopping,
}

/// What keeps a call from acting twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The provider, by an idempotency key. A copy of the message waits so many milliseconds for whoever was first, to spare
    /// the provider a call.
    Key(u64),
    /// The ledger: the first to start a step has it to itself for so many milliseconds.
    Claim(u64),
    /// Nothing: the call only reads.
    Harmless,
}

/// See [`Fact::Started`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the message, and a field of the record"
)]
pub struct Started {
    /// The call.
    pub step: Step,
    /// Which command, where the ledger may not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Whether the message came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// Whether the message says that the ledger knew the command when it was sent on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// What keeps the call from acting twice.
    pub guard: Guard,
    /// Whether the broker had given the message to somebody before, who may have died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// The start of the same step that this message has waited for in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_out: Option<RecordId>,
    /// Whether, by what the message says, an earlier call may have acted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// The key of the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// The digest of the request.
    pub digest: String,
    /// The token that the request has beside the command's id; empty where it has none. Absent: of a version that sent none,
    /// and knew the command by its id alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the command asks for, where the provider's file says where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<MoneyAmount>,
    /// When a request of this generation was first sent; absent: at this record's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
}

/// See [`Fact::Released`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Released {
    /// The record that started the call.
    pub started: RecordId,
}

/// See [`Fact::TakenOver`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TakenOver {
    /// The record that claimed the step.
    pub claim: RecordId,
}

/// See [`Fact::Finished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// The step that is decided.
    pub step: Step,
    /// Which command, where the ledger may not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
    /// Whether the message came from a publisher, and not from ferryd itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// The call that was made, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Attempted>,
    /// Whether some call of the generation may have acted without its end being known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Whether the provider was asked, and has said that none of the generation's calls acted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// The message itself, where its provider may ask for it while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Box<Kept>>,
    /// The question to the provider that has led to it, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<MadeQuery>,
    /// Who decided it, and on what condition.
    #[serde(default)]
    pub by: By,
    /// What follows.
    pub effects: RecordedEffects,
}

impl Finished {
    /// A decision that no call has led to, of somebody who does not hold the command's message: its event is all that follows.
    #[must_use]
    pub fn of_event(step: Step, by: By, event: Event, told: bool) -> Self {
        Self {
            step,
            opening: None,
            fresh: false,
            call: None,
            unknown: false,
            absent: false,
            kept: None,
            query: None,
            by,
            effects: RecordedEffects { event, told, carried: None },
        }
    }
}

/// The message of a command that waits, by which it can be looked up before its own time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Its body.
    pub body: String,
    /// Its AMQP property `message_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Its AMQP property `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// Who decided a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Whoever held the message.
    #[default]
    Holder,
    /// Somebody who cancels: counts only where no call was or may have been made.
    Canceller(Person),
    /// An operator, about a dead letter: counts only while it is one.
    Operator(Person),
    /// The same by a job of theirs.
    Job(JobDecision),
}

/// See [`Fact::Settled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settled {
    /// The decision.
    pub finished: RecordId,
}

/// See [`Fact::CancelWished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelWished {
    /// Who wishes it.
    pub person: Person,
}

/// See [`Fact::Replayed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// Which command, where the ledger may not know it any more.
    pub opening: Opening,
    /// The generation that failed.
    pub from: u32,
    /// Whether a call of an earlier generation may have acted.
    pub unknown: bool,
    /// The key of the new generation, where it keeps the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// When a request was first sent under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The token of that request, as in `started`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Who.
    pub person: Person,
    /// The job that did it for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// See [`Fact::Asked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// The queue to which the end is to be sent.
    pub reply_to: String,
    /// Goes with the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// See [`Fact::Erased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentErasure {
    /// The person who had it erased.
    pub person: Person,
}

impl Fact {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Started(_) => "started",
            Self::Released(_) => "released",
            Self::TakenOver(_) => "taken_over",
            Self::Finished(_) => "finished",
            Self::Settled(_) => "settled",
            Self::CancelWished(_) => "cancel_wished",
            Self::Replayed(_) => "replayed",
            Self::Asked(_) => "asked",
            Self::Conflicted(_) => "conflicted",
            Self::Erased(_) => "erased",
            Self::Prompted(_) => "prompted",
        }
    }

    /// Whether a reader that does not know the kind must not decide anything more about the command.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        !matches!(self, Self::Settled(_) | Self::Asked(_) | Self::Conflicted(_) | Self::Erased(_) | Self::Prompted(_))
    }
}

impl Fact {
    /// The job that has decided it.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Replayed(replayed) => replayed.job,
            Self::Finished(finished) => match &finished.by {
                By::Job(decision) => Some(decision.id),
                By::Holder | By::Canceller(_) | By::Operator(_) => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
