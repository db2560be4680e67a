//! What jobs leave in the records and the state of commands, by which every instance counts the same for each job.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::record::{By, Fact, Person};
use crate::domain::job::JobId;
use crate::domain::job::state::ReplayResult;

/// A decision that a job makes for the person who started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDecision {
    /// The job.
    pub id: JobId,
    /// Who started it, and why.
    #[serde(flatten)]
    pub person: Person,
}

/// A job that acted on the dead letter of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMark {
    /// The job.
    pub id: JobId,
    /// True while the command that it replayed has not ended.
    pub awaits_end: bool,
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

impl Case {
    /// Notes that the command has ended since a job replayed it, and says which job and how. Says so once.
    pub fn take_replay_result(&mut self) -> Option<(JobId, ReplayResult)> {
        let is_dead = self.ending.as_ref()?.is_dead();
        let mark = self.job.as_mut().filter(|mark| mark.awaits_end)?;
        mark.awaits_end = false;
        Some((mark.id, if is_dead { ReplayResult::FailedAgain } else { ReplayResult::Ended }))
    }
}
