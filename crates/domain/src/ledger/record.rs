//! The records of the ledger. The module `line` beside this one has their encoding;
//! `docs/LEDGER.md` documents every kind.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::actor::Actor;
use super::effects::RecordedEffects;
pub use super::job_mark::JobDecision;
pub use super::line::{AnyRecord, LedgerLine, UnreadableLine, VERSION};
pub use super::prompt::{CommandPrompt, MadeQuery, NoticePrompt, PromptRecord};
pub use super::record_id::{InvalidRecordId, RecordId};
pub use super::step::Step;
use crate::command::EncodedIdentity;
use crate::command_id::CommandId;
use crate::conflict::ConflictNote;
use crate::event::EncodedEvent;
use crate::job::JobId;
use crate::key::IdempotencyKey;
use crate::money::MoneyAmount;
use crate::progress::AttemptSummary;

/// One line of the ledger about one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The time of writing, by the writer's clock. It is for people and decides nothing.
    pub at: Timestamp,
    /// The command that the record is about.
    pub command: CommandId,
    /// The kind of the record, with its data.
    pub fact: RecordBody,
}

/// The kind of a record, with its data.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordBody {
    /// A command is known and waits; no call is under way.
    Opened(Box<OpenedRecord>),
    /// A call is about to be made.
    Started(Box<StartedRecord>),
    /// A call that was started is not going to be made.
    Released(ReleasedRecord),
    /// The claim on a call has expired: it is unknown if the call acted.
    ClaimExpired(ClaimExpired),
    /// A step is decided: by a call, before one, or by a person.
    Finished(Box<FinishedRecord>),
    /// The effects of a decision have been published and confirmed.
    Settled(SettledRecord),
    /// A request to cancel a command that is not known yet.
    CancelRequested(CancelRequested),
    /// A dead letter is sent again, as the next generation.
    Replayed(Box<ReplayedRecord>),
    /// A further reply target waits for the end of the command.
    ReplyRequested(ReplyTarget),
    /// A contradiction of the recorded state, which does not change.
    Conflicted(Box<ConflictNote>),
    /// The contents of a command that has ended are erased.
    Erased(ContentErasure),
    /// A prompt besides ferryd's own timers concerns the command; it decides nothing.
    Prompted(PromptRecord),
}

/// The identity of a command, and a digest of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandIdentity {
    /// The identity that events echo.
    pub command: EncodedIdentity,
    /// A digest of the content: two commands with the same id and the same content are one.
    pub content_digest: String,
    /// The target at which the publisher waits for the end, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_target: Option<ReplyTarget>,
    /// The AMQP user that published the command, as the broker vouches: ferryd's own for commands
    /// of the API. Absent where the publisher did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
}

/// See [`RecordBody::Opened`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedRecord {
    /// The identity of the command.
    pub identity: CommandIdentity,
    /// The step that waits.
    pub step: Step,
    /// True if the message came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// True if the message states that the ledger knew the command when it was republished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// The reason for the wait.
    pub reason: WaitReason,
    /// The end of the wait, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The caller who submitted the command, of one that came by the API; absent where an older
    /// version wrote the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_by: Option<String>,
}

/// The reason why a command waits without a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// The command was submitted and is on its way to the queue.
    Submitted,
    /// The `not_before` of the command has not passed.
    Early,
    /// The provider is busy.
    Busy,
    /// ferryd stopped before the call.
    Stopping,
}

/// The guard that keeps a call from acting twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallGuard {
    /// The provider, by an idempotency key. A copy of the message waits so many milliseconds for
    /// the first one, to spare the provider a call.
    Key(u64),
    /// The ledger: the first to start a step holds it alone for so many milliseconds.
    Claim(u64),
    /// No guard: the call only reads.
    ReadOnly,
}

/// See [`RecordBody::Started`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about the message, and a field of the record"
)]
pub struct StartedRecord {
    /// The call that is started.
    pub step: Step,
    /// The identity of the command, where the ledger may not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<CommandIdentity>,
    /// True if the message came from a publisher, and not from ferryd itself.
    pub fresh: bool,
    /// True if the message states that the ledger knew the command when it was republished.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// The guard that keeps the call from acting twice.
    pub guard: CallGuard,
    /// True if the broker had delivered the message before, to a consumer that may have died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub redelivered: bool,
    /// The start of the same step that this message has waited for in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_claim: Option<RecordId>,
    /// True if the message states that an earlier call may have acted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// The key of the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// The digest of the request.
    pub request_digest: String,
    /// The token that the request has beside the command's id; empty where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The amount of the command, where the provider's file selects one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<MoneyAmount>,
    /// The time at which a request of this generation was first sent; absent: at this record's
    /// time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
}

/// See [`RecordBody::Released`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReleasedRecord {
    /// The record that started the call.
    pub started: RecordId,
}

/// See [`RecordBody::ClaimExpired`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimExpired {
    /// The record that claimed the step.
    pub claim: RecordId,
}

/// See [`RecordBody::Finished`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FinishedRecord {
    /// The step that is decided.
    pub step: Step,
    /// The identity of the command, where the ledger may not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<CommandIdentity>,
    /// True if the message came from a publisher, and not from ferryd itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// The call that was made, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<AttemptSummary>,
    /// True if some call of the generation may have acted without its end being known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// True if the provider was queried, and has answered that none of the generation's calls
    /// acted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_found: bool,
    /// The message of a command that waits for queries of its provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained_message: Option<Box<RetainedMessage>>,
    /// The query of the provider that has led to the decision, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<MadeQuery>,
    /// The one who decided, and the condition on which the decision counts.
    pub decided_by: DecidedBy,
    /// The effects of the decision.
    pub effects: RecordedEffects,
}

impl FinishedRecord {
    /// Builds a decision without a call, of one who does not hold the command's message: its only
    /// effect is the event.
    #[must_use]
    pub fn for_event(step: Step, by: DecidedBy, event: EncodedEvent, publish_event: bool) -> Self {
        Self {
            step,
            identity: None,
            fresh: false,
            call: None,
            unknown: false,
            not_found: false,
            retained_message: None,
            query: None,
            decided_by: by,
            effects: RecordedEffects { event, publish_event, message: None },
        }
    }
}

/// The message of a command that waits, by which it can be looked up early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetainedMessage {
    /// The body of the message.
    pub body: String,
    /// The AMQP property `message_id` of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The AMQP property `correlation_id` of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// The one who decided a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// The holder of the message.
    Holder,
    /// A person who cancels: the decision counts only where no call was or may have been made.
    Canceller(Actor),
    /// An operator, about a dead letter: the decision counts only while it is one.
    Operator(Actor),
    /// A job of an operator's, on the same condition.
    Job(JobDecision),
}

/// See [`RecordBody::Settled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettledRecord {
    /// The record of the decision.
    pub finished: RecordId,
}

/// See [`RecordBody::CancelRequested`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {
    /// The person who requests the cancellation.
    pub actor: Actor,
}

/// See [`RecordBody::Replayed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayedRecord {
    /// The identity of the command, where the ledger may not know it any more.
    pub identity: CommandIdentity,
    /// The generation that failed.
    pub from: u32,
    /// True if a call of an earlier generation may have acted.
    pub unknown: bool,
    /// The key of the new generation, where it keeps the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub key: Option<IdempotencyKey>,
    /// The time at which a request was first sent under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_digest: Option<String>,
    /// The token of that request, as in `started`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// The person who decided, and the reason.
    pub actor: Actor,
    /// The job that replayed the command for the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// See [`RecordBody::ReplyRequested`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplyTarget {
    /// The queue to which the end is published.
    pub reply_to: String,
    /// The `correlation_id` of the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// See [`RecordBody::Erased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContentErasure {
    /// The person who had it erased.
    pub actor: Actor,
}

impl RecordBody {
    /// Returns the name of the record's kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "opened",
            Self::Started(_) => "started",
            Self::Released(_) => "released",
            Self::ClaimExpired(_) => "claim_expired",
            Self::Finished(_) => "finished",
            Self::Settled(_) => "settled",
            Self::CancelRequested(_) => "cancel_requested",
            Self::Replayed(_) => "replayed",
            Self::ReplyRequested(_) => "reply_requested",
            Self::Conflicted(_) => "conflicted",
            Self::Erased(_) => "erased",
            Self::Prompted(_) => "prompted",
        }
    }

    /// Returns true if a reader that does not know the kind must not decide anything more about the
    /// command.
    #[must_use]
    pub fn is_critical(&self) -> bool {
        !matches!(
            self,
            Self::Settled(_)
                | Self::ReplyRequested(_)
                | Self::Conflicted(_)
                | Self::Erased(_)
                | Self::Prompted(_)
        )
    }
}

impl RecordBody {
    /// Returns the job that has decided.
    #[must_use]
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::Replayed(replayed) => replayed.job,
            Self::Finished(finished) => match &finished.decided_by {
                DecidedBy::Job(decision) => Some(decision.id),
                DecidedBy::Holder | DecidedBy::Canceller(_) | DecidedBy::Operator(_) => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
