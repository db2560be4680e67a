//! Records of the ledger about jobs.
//!
//! `{"v":1,"kind":"job_taken","critical":false,"at":"…","job":"…","data":{…}}`: a line about a job
//! and no command, which an older version skips.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::progress::{JobEndReason, JobProgress};
use super::spec::JobSpec;
use super::{InstanceId, JobId};
use crate::ledger::record::Actor;

/// One line of the ledger about one job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// The time of writing, by the writer's clock. It is for people and decides nothing.
    pub at: Timestamp,
    /// The job.
    pub job: JobId,
    /// The change of the job.
    pub change: JobChange,
}

/// A change of a job that a record reports.
#[derive(Debug, Clone, PartialEq)]
pub enum JobChange {
    /// A person has started the job.
    Started(Box<JobSpec>),
    /// An instance claims to run the job.
    Taken(JobClaim),
    /// The instance that runs the job reports its progress.
    Progressed(Box<JobReport>),
    /// A person requests a pause of the job.
    Paused(JobRequest),
    /// A person requests that the job goes on.
    Resumed(JobRequest),
    /// A person requests the end of the job.
    Stopped(JobRequest),
    /// The job has ended.
    Ended(Box<JobEnding>),
}

/// See [`JobChange::Taken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobClaim {
    /// The instance, as a writer of the ledger.
    pub instance: InstanceId,
    /// The number of the claim among the job's owners, from 1. Of several claims with one number,
    /// the first in the ledger wins.
    pub term: u32,
}

/// See [`JobChange::Progressed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobReport {
    /// The term of the owner that reports.
    pub term: u32,
    /// The progress of the job.
    pub progress: JobProgress,
}

/// See [`JobChange::Paused`], [`JobChange::Resumed`] and [`JobChange::Stopped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobRequest {
    /// The person who requests the change, and the reason.
    pub actor: Actor,
}

/// See [`JobChange::Ended`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnding {
    /// The term of the owner that ended it.
    pub term: u32,
    /// The final progress of the job.
    pub progress: JobProgress,
    /// The reason for the end.
    pub reason: JobEndReason,
    /// Further details for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl JobChange {
    /// Returns the name of the record's kind.
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
