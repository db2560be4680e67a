//! What the ledger holds about a job.
//!
//! `{"v":1,"kind":"job_taken","critical":false,"at":"…","job":"…","data":{…}}`: a line about a job and no command, which an older
//! version passes over.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::progress::{JobEndReason, JobProgress};
use super::spec::JobSpec;
use super::{InstanceId, JobId};
use crate::domain::ledger::record::Person;

/// One line of the ledger about one job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// When it was written, by its writer's clock. For people: nothing is decided by it.
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// What is said.
    pub change: JobChange,
}

/// What a record says about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobChange {
    /// A person has started it.
    Started(Box<JobSpec>),
    /// An instance claims to run it.
    Taken(JobClaim),
    /// The instance that runs it is alive, and so far.
    Progressed(Box<JobReport>),
    /// A person wants it to pause.
    Paused(JobRequest),
    /// A person wants it to go on.
    Resumed(JobRequest),
    /// A person wants it to end.
    Stopped(JobRequest),
    /// It has ended.
    Ended(Box<JobEnding>),
}

/// See [`JobChange::Taken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobClaim {
    /// The instance, as a writer of the ledger.
    pub instance: InstanceId,
    /// Counts the owners of the job, from 1. Of several that claim the same, the first in the ledger has it.
    pub term: u32,
}

/// See [`JobChange::Progressed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobReport {
    /// The term of the owner that reports.
    pub term: u32,
    /// How far it is.
    pub progress: JobProgress,
}

/// See [`JobChange::Paused`], [`JobChange::Resumed`] and [`JobChange::Stopped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRequest {
    /// Who wants it, and why.
    pub actor: Person,
}

/// See [`JobChange::Ended`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnding {
    /// The term of the owner that ended it.
    pub term: u32,
    /// How far it came.
    pub progress: JobProgress,
    /// Why it ended.
    pub reason: JobEndReason,
    /// More about that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl JobChange {
    /// The word for its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "job_started",
            Self::Taken(_) => "job_taken",
            Self::Progressed(_) => "job_progress",
            Self::Paused(_) => "job_paused",
            Self::Resumed(_) => "job_resumed",
            Self::Stopped(_) => "job_stopped",
            Self::Ended(_) => "job_ended",
        }
    }
}
