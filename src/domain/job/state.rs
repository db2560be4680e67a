//! What is known of a job, and what each record about it comes to.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InstanceId;
pub use super::progress::{CanaryReplay, JobEndReason, JobProgress, LetterRefusal};
use super::record::{JobChange, JobClaim, JobEnding, JobRecord, JobReport, JobRequest};
use super::spec::{JobAction, JobSpec, Resolution};
use crate::domain::ledger::record::Person;

/// The text in the place of a reference in the filter of a job that has ended.
const NOT_KEPT: &str = "not kept";

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobState {
    /// What is to be done.
    pub spec: JobSpec,
    /// When it was started.
    pub started_at: Timestamp,
    /// When something was recorded of it last.
    pub updated_at: Timestamp,
    /// Counts the instances that have run it.
    pub term: u32,
    /// The instance that runs it; none while it waits for one, is paused or has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<InstanceId>,
    /// Who has paused it, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Person>,
    /// Who wants it to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Person>,
    /// How far it was when its owner told last.
    pub progress: JobProgress,
    /// The dead letters that it replayed, discarded or resolved: each is one record that counts.
    pub recorded: u64,
    /// The commands it replayed that have ended well since.
    pub completed: u64,
    /// The commands it replayed that are dead letters again.
    pub failed_again: u64,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<JobEnd>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: JobEndReason,
    /// More about that, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a job is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// No instance has taken it yet, or none that lives.
    Waiting,
    /// An instance runs it.
    Running,
    /// A person has paused it.
    Paused,
    /// A person has stopped it, and it ends once what is under way is done.
    Stopping,
    /// It has ended.
    Ended,
}

/// What a record about a job comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRuling {
    /// It counts.
    Counts,
    /// It changes nothing: somebody else was first, or the job has ended.
    Ignored,
}

/// How a command that a job replayed has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayResult {
    /// It needs nobody any more.
    Ended,
    /// It is a dead letter again.
    FailedAgain,
}

impl JobState {
    /// Applies a record to what is known of its job, and says what the record comes to.
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

    /// An owner whose job was paused meanwhile tells how far it came; one whose job was taken over has no say.
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
            // Whoever resumes it may find its owner gone: the next one to claim it goes on.
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
                // It may be personal, and who erases the contents of commands does not look for it here.
                NOT_KEPT.clone_into(reference);
            }
            if let JobAction::Resolve(Resolution::Completed { result, .. }) = &mut self.spec.action {
                // It is in the records of the commands, where erasing finds it.
                *result = None;
            }
        }
        is_owners
    }

    /// Counts a dead letter that the job acted on.
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

    /// The number of dead letters that were acted on.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.recorded.saturating_add(self.progress.unrecorded)
    }

    /// What it is at.
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

    /// Why the job ends by itself, where too many of the replayed commands have failed again.
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
