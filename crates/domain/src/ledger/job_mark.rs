//! Marks of jobs in the records and the state of commands, by which every instance counts the same
//! for each job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use crate::job::JobId;

/// A decision that a job makes for the person who started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDecision {
    /// The id of the job.
    pub id: JobId,
    /// The person who started the job, and the reason.
    #[serde(flatten)]
    pub actor: Actor,
}

/// A job that acted on the dead letter of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMark {
    /// The id of the job.
    pub id: JobId,
    /// True while the command that it replayed has not ended.
    pub awaits_end: bool,
}
