//! The action of a job on one dead letter.

use std::sync::Arc;

use super::context::JobContext;
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobAction, JobId, JobSpec};
use ferryd_domain::ledger::command_state::CommandState;

/// Outcome of an action on a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LetterOutcome {
    /// Removed: what takes the place of the dead letter is recorded and published. The record
    /// counts it.
    Acted,
    /// The same, recorded before by an owner of this job that did not come to remove it.
    Resumed,
    /// Removed: the command has ended or gone on meanwhile.
    Closed,
    /// Kept: the provider is being queried.
    LookupRequested,
    /// Kept: a dry run would have acted on the dead letter.
    Planned,
    /// Kept, for this reason.
    Refused(String),
}

impl LetterOutcome {
    /// Returns whether the dead letter is to be removed.
    pub fn removes(&self) -> bool {
        matches!(self, Self::Acted | Self::Resumed | Self::Closed)
    }

    /// A refusal.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self::Refused(reason.into())
    }
}

/// Acts on dead letters for one job.
pub(super) struct LetterWorker {
    pub context: Arc<JobContext>,
    pub job: JobId,
    pub spec: Arc<JobSpec>,
}

impl LetterWorker {
    /// Acts on a dead letter. Once this returns an outcome that [removes](LetterOutcome::removes)
    /// it, everything that takes its place is confirmed.
    pub async fn process_letter(
        &self,
        dead: &QueuedDeadLetter,
    ) -> Result<LetterOutcome, OperatorError> {
        match &self.spec.action {
            JobAction::Replay(terms) => self.replay(dead, terms).await,
            JobAction::Discard => self.close(dead, None).await,
            JobAction::Resolve(resolution) => self.close(dead, Some(resolution)).await,
            JobAction::Lookup => self.request_lookup(dead).await,
        }
    }

    /// Returns the ledger's state of a command.
    pub fn command_state(&self, id: &CommandId) -> Option<Arc<CommandState>> {
        self.context.ledger.command_state(id)
    }

    /// Distinguishes a dead letter that this job has acted on before from one whose command has
    /// gone on otherwise.
    pub fn gone_on(&self, id: &CommandId) -> LetterOutcome {
        let mark = self.command_state(id).and_then(|state| state.job);
        if mark.is_some_and(|mark| mark.id == self.job) {
            LetterOutcome::Resumed
        } else {
            LetterOutcome::Closed
        }
    }
}
