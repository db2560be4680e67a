//! The reports of a job's owner: the progress of the job, and the reason for its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::command_id::CommandId;

/// The progress of a job, as its owner reports it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobProgress {
    /// The number of matching dead letters in the ledger when the job began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The number of dead letters that were processed without a record: queried, or in a dry run.
    pub unrecorded: u64,
    /// The number of dead letters that were removed because their commands had ended or gone on
    /// meanwhile.
    pub closed: u64,
    /// The number of matching dead letters that stay.
    pub refused: u64,
    /// The first of the refused dead letters, with reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<LetterRefusal>,
    /// The number of dead letters that the ledger knows and that were in no queue: another job or
    /// reader held them.
    pub not_found: u64,
    /// The first of the dead letters that were not found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<CommandId>,
    /// The number of passes over the queues.
    pub rounds: u32,
    /// The replay that goes before all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryReplay>,
}

/// A matching dead letter that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LetterRefusal {
    /// The command.
    pub id: CommandId,
    /// The queue that holds the dead letter.
    pub queue: String,
    /// The reason.
    pub reason: String,
}

/// The first replay of a job, whose end decides about the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CanaryReplay {
    /// The command.
    pub id: CommandId,
    /// The generation that its replay begins.
    pub generation: u32,
    /// True once the replay has completed, or its provider has accepted the command.
    pub passed: bool,
}

/// The reason for which a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobEndReason {
    /// All matching dead letters are processed, or refused for a reason that is reported.
    Finished,
    /// Some of the matching dead letters were in no queue.
    Incomplete,
    /// A person stopped it.
    Stopped,
    /// The first replay failed again, or did not end in time.
    CanaryFailed,
    /// Too many of the replayed commands failed again.
    FailedAgain,
}
