//! The answers of the API about commands: what the daemon writes, and the command line reads.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operator::erase::ErasureResult;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictNote;
use ferryd_domain::event::EncodedEvent;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::content_removal::ContentRemoval;
use ferryd_domain::ledger::prompt::{PromptNote, QueryNote};
use ferryd_domain::ledger::record::{Actor, Step};
use ferryd_domain::ledger::refusal_note::RefusalNote;
use ferryd_domain::ledger::transition::StateTransition;
use ferryd_domain::outcome::WaitingFor;
use ferryd_ledger::index::{CommandRow, PageCursor};
use ferryd_transport::call_log::HttpCall;

/// The state and the history of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandStory {
    /// The summary of the command, as it stands in a list.
    #[serde(flatten)]
    pub row: CommandRow,
    /// True where a call of this generation may have acted and its outcome is unknown.
    pub unknown: bool,
    /// The idempotency key of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The time at which a request was first sent under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The time until which the provider, which has accepted the command, may take to finish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The person who requested a cancel before the command came, and the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Actor>,
    /// The kind of a record about the command that this version does not understand; a newer
    /// version of ferryd has to continue the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The progress of the command.
    pub progress: CommandProgress,
    /// Everything that contradicts the recorded state of the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictNote>,
    /// The messages that were refused under the command's id and do not belong to the command, some
    /// of them where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusalNote>,
    /// The reason why the contents are no longer kept, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<ContentRemoval>,
    /// The terminal event, if the command has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EncodedEvent>,
    /// Notices of the provider, and the requests and commands that caused a query: everything that
    /// concerned the command besides ferryd's own timers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptNote>,
    /// The queries of the provider, with their reasons and results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryNote>,
    /// The transitions of the command, oldest first. Of very many the first and the latest are
    /// kept.
    pub timeline: Vec<StateTransition>,
}

/// The progress of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandProgress {
    /// The phase of the current call.
    pub phase: CommandPhase,
    /// The current call, and the number of the query about it.
    pub step: Step,
    /// The party that has to act, for a command that waits and whose last event is not known to be
    /// published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// False where the effects of the last decision are not known to be published yet.
    pub published: bool,
}

/// The phase of a command's current call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandPhase {
    /// The command has not come: only a request to cancel it is recorded.
    Expected,
    /// No process has begun the call.
    Open,
    /// A process is making the call.
    Started,
    /// A process may have made the call, and its claim has expired.
    ClaimExpired,
    /// The outcome of the call is decided.
    Decided,
}

/// A page of commands, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandPage {
    /// The commands of the page.
    pub commands: Vec<CommandRow>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<PageCursor>,
}

/// The HTTP calls that were made for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandCalls {
    /// The calls, by generation and attempt.
    pub calls: Vec<HttpCall<'static>>,
    /// True where all of the time was searched: a search ends after 10 s, or 8 MiB of calls.
    pub complete: bool,
    /// False where the ledger shows that no call was made.
    pub called: bool,
    /// True where the contents of the command were erased; then no calls are shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// The command is cancelled; or it is not known yet, and will be cancelled if it comes (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelledCommand {
    /// The id of the command.
    pub id: CommandId,
    /// The result of the request.
    pub outcome: CancelOutcome,
}

/// The result of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// The command has failed, for good, and was never carried out.
    Cancelled,
    /// The command is not known yet. It will be cancelled when it is taken up, if it ever is.
    Noted,
}

/// The results of an erasure of commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureReport {
    /// True where nothing was changed, and the results say what would be done.
    pub dry_run: bool,
    /// The result for each command.
    pub commands: Vec<ErasureResult>,
}

impl CommandStory {
    /// Describes a command, with the messages that were refused under its id.
    pub(crate) fn new(id: CommandId, state: &CommandState, refused: Vec<RefusalNote>) -> Self {
        Self {
            row: CommandRow::new(id, state),
            unknown: state.may_have_acted(),
            key: state.key.as_ref().map(|key| IdempotencyKey::as_str(key).to_owned()),
            first_sent: state.first_sent,
            deadline: state.deadline,
            cancel: state.cancel.clone(),
            blocked: state.blocked.clone(),
            progress: CommandProgress::of(state),
            conflicts: state.conflicts.clone(),
            refused,
            removal: state.removal.clone(),
            event: state.ending.as_ref().map(|ending| ending.event.clone()),
            prompts: state.prompts.clone(),
            queries: state.queries.clone(),
            timeline: state.history.clone(),
        }
    }
}

impl CommandProgress {
    fn of(state: &CommandState) -> Self {
        let unpublished = match &state.phase {
            CallPhase::Decided { effects, .. } => effects.as_ref(),
            _ => None,
        };
        let phase = match &state.phase {
            _ if state.identity.is_none() && state.cancel.is_some() => CommandPhase::Expected,
            CallPhase::Open => CommandPhase::Open,
            CallPhase::Started { .. } => CommandPhase::Started,
            CallPhase::ClaimExpired => CommandPhase::ClaimExpired,
            CallPhase::Decided { .. } => CommandPhase::Decided,
        };
        let waiting_for = unpublished.and_then(|effects| effects.event.data.waiting_for);
        Self { phase, step: state.step, waiting_for, published: unpublished.is_none() }
    }
}
