//! The answers of the API about commands: what the daemon writes, and the command line reads.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::command_id::CommandId;
use crate::domain::conflict::ConflictNote;
use crate::domain::event::Event;
use crate::domain::key::IdempotencyKey;
use crate::domain::ledger::case::{Case, Phase};
use crate::domain::ledger::erasure::ContentRemoval;
use crate::domain::ledger::prompt::{PromptNote, QueryNote};
use crate::domain::ledger::record::{Person, Step};
use crate::domain::ledger::refusal_note::RefusalNote;
use crate::domain::ledger::transition::Transition;
use crate::domain::outcome::Party;
use crate::ledger::index::{Cursor, Row};
use crate::operator::erase::ErasureResult;
use crate::transport::exchange_log::Exchange;

/// What is known of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommandStory {
    /// The command in short, as it stands in a list.
    #[serde(flatten)]
    pub row: Row,
    /// Whether a call of this generation may have acted without its end being known.
    pub unknown: bool,
    /// The idempotency key of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// When a request was first sent under that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// Until when the provider, which has accepted it, may take to finish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Who wished it cancelled before it came, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Person>,
    /// The kind of a record about it that this version does not understand: a newer ferryd goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// How far it is.
    pub progress: CommandProgress,
    /// What has contradicted what is known of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictNote>,
    /// The messages that were refused under its id and are none of this command's, some of them where there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusalNote>,
    /// The reason why its contents are not known any more, where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removal: Option<ContentRemoval>,
    /// The event that told its end, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// What has concerned it besides ferryd's own timers: notices of its provider, and who or what else had the provider asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptNote>,
    /// What its provider was asked, why, and what came of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queries: Vec<QueryNote>,
    /// What happened to it, oldest first. Of very many steps the first and the latest are kept.
    pub timeline: Vec<Transition>,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandProgress {
    /// How far the call is that it is at.
    pub phase: CommandPhase,
    /// That call, and the number of the question about it.
    pub step: Step,
    /// Who has to act, of a command that waits and whose last event is not known to be published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<Party>,
    /// False where what was decided last is not known to be published yet.
    pub published: bool,
}

/// How far the call of a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CommandPhase {
    /// The command has not come: only a request to cancel it is known.
    Expected,
    /// Nobody has begun the call.
    Open,
    /// Somebody makes it.
    Started,
    /// Somebody may have made it and does not answer for it any more.
    ClaimExpired,
    /// It is decided what follows.
    Decided,
}

/// A page of commands, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandPage {
    /// The commands.
    pub commands: Vec<Row>,
    /// The `cursor` of the next page; null on the last one.
    pub next: Option<Cursor>,
}

/// What was said to the provider about a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandExchanges {
    /// The exchanges, by generation and attempt.
    pub exchanges: Vec<Exchange<'static>>,
    /// Whether all of the time was searched: a search ends after 10 s, or 8 MiB of exchanges.
    pub complete: bool,
    /// Whether a call can have been made: false where the ledger tells of none.
    pub called: bool,
    /// True where the contents of the command were erased; then nothing is shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// The command is cancelled; or it is not known yet, and will be cancelled if it comes (202).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelledCommand {
    /// The command.
    pub id: CommandId,
    /// What came of it.
    pub outcome: CancelOutcome,
}

/// What came of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelOutcome {
    /// The command has failed, for good, and was never carried out.
    Cancelled,
    /// The command is not known yet. It will be cancelled when it is taken up, if it ever is.
    Noted,
}

/// What came of the erasure of commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErasureReport {
    /// True where nothing was changed, and it is only told what would be done.
    pub dry_run: bool,
    /// The commands.
    pub commands: Vec<ErasureResult>,
}

impl CommandStory {
    /// Tells of a command, and of the messages that were refused under its id.
    pub(crate) fn new(id: CommandId, case: &Case, refused: Vec<RefusalNote>) -> Self {
        Self {
            row: Row::new(id, case.clone()),
            unknown: case.may_have_acted(),
            key: case.key.as_ref().map(|key| IdempotencyKey::as_str(key).to_owned()),
            first_sent: case.first_sent,
            deadline: case.deadline,
            cancel: case.cancel.clone(),
            blocked: case.blocked.clone(),
            progress: CommandProgress::of(case),
            conflicts: case.conflicts.clone(),
            refused,
            removal: case.removal.clone(),
            event: case.ending.as_ref().map(|ending| ending.event.clone()),
            prompts: case.prompts.clone(),
            queries: case.queries.clone(),
            timeline: case.history.clone(),
        }
    }
}

impl CommandProgress {
    fn of(case: &Case) -> Self {
        let unpublished = match &case.phase {
            Phase::Decided { effects, .. } => effects.as_ref(),
            _ => None,
        };
        let phase = match &case.phase {
            _ if case.opening.is_none() && case.cancel.is_some() => CommandPhase::Expected,
            Phase::Open => CommandPhase::Open,
            Phase::Started { .. } => CommandPhase::Started,
            Phase::TakenOver => CommandPhase::ClaimExpired,
            Phase::Decided { .. } => CommandPhase::Decided,
        };
        let waiting_for = unpublished.and_then(|effects| effects.event.data.waiting_for);
        Self { phase, step: case.step, waiting_for, published: unpublished.is_none() }
    }
}
