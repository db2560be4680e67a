//! The state of a job, and the rulings on the records about it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InstanceId;
pub use super::progress::{CanaryReplay, JobEndReason, JobProgress, LetterRefusal};
use super::record::{JobChange, JobClaim, JobEnding, JobRecord, JobReport, JobRequest};
use super::spec::{JobAction, JobSpec, Resolution};
use crate::ledger::record::Actor;

/// The text in the place of a reference in the filter of a job that has ended.
const NOT_KEPT: &str = "not kept";

/// The state of a job, as its records define it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobState {
    /// The specification of the job.
    pub spec: JobSpec,
    /// The time of the job's start.
    pub started_at: Timestamp,
    /// The time of the latest record about the job.
    pub updated_at: Timestamp,
    /// The number of instances that have run the job.
    pub term: u32,
    /// The instance that runs the job; none while it waits for one, is paused or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<InstanceId>,
    /// The person who has paused the job, while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Actor>,
    /// The person who requests the end of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Actor>,
    /// The progress in the owner's latest report.
    pub progress: JobProgress,
    /// The number of dead letters that the job replayed, discarded or resolved, each by one record
    /// that counts.
    pub recorded: u64,
    /// The number of replayed commands that have completed since.
    pub completed: u64,
    /// The number of replayed commands that are dead letters again.
    pub failed_again: u64,
    /// The end of the job, if it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<JobEnd>,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnd {
    /// The time of the end.
    pub at: Timestamp,
    /// The reason for the end.
    pub reason: JobEndReason,
    /// Further details for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The phase of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// No instance has taken the job yet, or none that lives.
    Waiting,
    /// An instance runs the job.
    Running,
    /// A person has paused the job.
    Paused,
    /// A person has stopped the job, which ends once the current work is done.
    Stopping,
    /// The job has ended.
    Ended,
}

/// The ruling on a record about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRuling {
    /// The record counts.
    Counts,
    /// The record has no effect: another was first, or the job has ended.
    Ignored,
}

/// The end of a command that a job replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayResult {
    /// The command has ended and needs no operator any more.
    Ended,
    /// The command is a dead letter again.
    FailedAgain,
}

impl JobState {
    /// Applies a record to the state of its job, and returns the ruling on the record.
    pub fn apply(slot: &mut Option<Self>, record: &JobRecord) -> JobRuling {
        match (slot.as_mut(), &record.change) {
            (None, JobChange::Started(spec)) => {
                *slot = Some(Self::begun(spec.as_ref().clone(), record.at));
                JobRuling::Counts
            }
            (Some(job), change) if job.end.is_none() => job.change(record.at, change),
            _ => JobRuling::Ignored,
        }
    }

    fn begun(spec: JobSpec, at: Timestamp) -> Self {
        Self {
            spec,
            started_at: at,
            updated_at: at,
            term: 0,
            owner: None,
            paused: None,
            stopped: None,
            progress: JobProgress::default(),
            recorded: 0,
            completed: 0,
            failed_again: 0,
            end: None,
        }
    }

    fn change(&mut self, at: Timestamp, change: &JobChange) -> JobRuling {
        let counts = match change {
            JobChange::Started(_) => false,
            JobChange::Taken(claim) => self.take(*claim),
            JobChange::Progressed(report) => self.report(report),
            JobChange::Paused(request) => self.pause(request),
            JobChange::Resumed(_) => self.paused.take().is_some(),
            JobChange::Stopped(request) => self.stop(request),
            JobChange::Ended(ending) => self.finish(at, ending),
        };
        if !counts {
            return JobRuling::Ignored;
        }
        self.updated_at = at;
        JobRuling::Counts
    }

    fn take(&mut self, claim: JobClaim) -> bool {
        let is_next = self.paused.is_none() && claim.term == self.term.saturating_add(1);
        if is_next {
            (self.owner, self.term) = (Some(claim.instance), claim.term);
        }
        is_next
    }

    /// The owner of a job that was paused meanwhile may still report its progress; the former owner
    /// of a job that was taken over may not.
    fn report(&mut self, report: &JobReport) -> bool {
        let is_owners = report.term == self.term;
        if is_owners {
            self.progress = report.progress.clone();
        }
        is_owners
    }

    fn pause(&mut self, request: &JobRequest) -> bool {
        let can_pause = self.paused.is_none() && self.stopped.is_none();
        if can_pause {
            // At a resumption the owner may be gone: the next instance to claim the job goes on.
            (self.paused, self.owner) = (Some(request.actor.clone()), None);
        }
        can_pause
    }

    fn stop(&mut self, request: &JobRequest) -> bool {
        let can_stop = self.stopped.is_none();
        if can_stop {
            (self.stopped, self.paused) = (Some(request.actor.clone()), None);
        }
        can_stop
    }

    fn finish(&mut self, at: Timestamp, ending: &JobEnding) -> bool {
        let is_owners = ending.term == self.term;
        if is_owners {
            self.progress = ending.progress.clone();
            self.end = Some(JobEnd { at, reason: ending.reason, detail: ending.detail.clone() });
            (self.owner, self.paused) = (None, None);
            if let Some(reference) = &mut self.spec.filter.reference {
                // It may be personal, and who erases the contents of commands does not look for it
                // here.
                NOT_KEPT.clone_into(reference);
            }
            if let JobAction::Resolve(Resolution::Completed { result, .. }) = &mut self.spec.action
            {
                // The records of the commands have the result, where an erasure finds it.
                *result = None;
            }
        }
        is_owners
    }

    /// Counts a dead letter that the job processed.
    pub fn count_recorded(&mut self) {
        self.recorded = self.recorded.saturating_add(1);
    }

    /// Counts the end of a command that the job replayed.
    pub fn count_result(&mut self, result: ReplayResult) {
        match result {
            ReplayResult::Ended => self.completed = self.completed.saturating_add(1),
            ReplayResult::FailedAgain => self.failed_again = self.failed_again.saturating_add(1),
        }
    }

    /// Returns the number of dead letters that were processed.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.recorded.saturating_add(self.progress.unrecorded)
    }

    /// Returns the phase of the job.
    #[must_use]
    pub fn phase(&self) -> JobPhase {
        match self {
            Self { end: Some(_), .. } => JobPhase::Ended,
            Self { stopped: Some(_), .. } => JobPhase::Stopping,
            Self { paused: Some(_), .. } => JobPhase::Paused,
            Self { owner: Some(_), .. } => JobPhase::Running,
            _ => JobPhase::Waiting,
        }
    }

    /// Returns the reason for which the job ends by itself, where too many of the replayed commands
    /// have failed again.
    #[must_use]
    pub fn exceeded(&self) -> Option<String> {
        let JobAction::Replay(terms) = &self.spec.action else { return None };
        let ended = self.completed.saturating_add(self.failed_again);
        let limit = terms.stop_at.filter(|limit| limit.is_exceeded(self.failed_again, ended))?;
        Some(format!(
            "{} of {ended} replayed commands that have ended failed again, more than {limit}",
            self.failed_again
        ))
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
