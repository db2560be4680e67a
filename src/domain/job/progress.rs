//! What the owner of a job reports: how far it is, and why it ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::command_id::CommandId;

/// How far a job is, by its owner's word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobProgress {
    /// The dead letters that the ledger knew to be meant when the job began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The dead letters that were acted on without a record: asked about, or in a dry run.
    pub unrecorded: u64,
    /// The dead letters that were removed because their commands had ended or gone on meanwhile.
    pub closed: u64,
    /// The dead letters that were meant and stay.
    pub refused: u64,
    /// The first of those, with reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<LetterRefusal>,
    /// The dead letters that the ledger knows and that were in no queue: another job or reader held them.
    pub not_found: u64,
    /// The first of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<CommandId>,
    /// The number of times that the queues were gone through.
    pub rounds: u32,
    /// The replay that goes before all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReplay>,
}

/// A dead letter that stays although it was meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LetterRefusal {
    /// The command.
    pub id: CommandId,
    /// The queue it lies in.
    pub queue: String,
    /// Why.
    pub reason: String,
}

/// The first replay of a job, whose end decides about the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryReplay {
    /// The command.
    pub id: CommandId,
    /// The generation that its replay begins.
    pub generation: u32,
    /// True once it has ended well, or its provider has accepted it.
    pub passed: bool,
}

/// Why a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobEndReason {
    /// All that was meant is done, or refused for a reason that is told.
    Finished,
    /// Some of what was meant was in no queue.
    Incomplete,
    /// A person stopped it.
    Stopped,
    /// The first replay failed again, or did not end in time.
    CanaryFailed,
    /// Too many of the replayed commands failed again.
    FailedAgain,
}
