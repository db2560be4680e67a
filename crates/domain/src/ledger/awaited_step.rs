//! The step at which the ledger awaits a command's message, for a message whose own headers can't
//! be relied on.

use super::command_state::{CallPhase, CommandState};
use super::record::{CommandIdentity, Step};
use crate::lifecycle::LifecycleState;

impl CommandState {
    /// Returns the step at which the command's message is: the call that is due or under way, or
    /// the call or query that follows from the latest decision.
    #[must_use]
    pub fn awaited_step(&self) -> Step {
        let Step { generation, attempt, query } = self.step;
        match (&self.phase, self.state()) {
            (CallPhase::Decided { .. }, LifecycleState::Pending) => {
                Step::call(generation, attempt.saturating_add(1))
            }
            (CallPhase::Decided { .. }, LifecycleState::Waiting | LifecycleState::Processing) => {
                Step { query: query.saturating_add(1), ..self.step }
            }
            _ => self.step,
        }
    }

    /// Returns true if ferryd has ever sent a message of this command to `step`, as far as is
    /// known: it is the awaited step, or one that is over.
    #[must_use]
    pub fn knows_step(&self, step: Step) -> bool {
        step <= self.awaited_step()
    }

    /// Returns true if a message is that of another command, published under the same id.
    #[must_use]
    pub fn is_other_than(&self, identity: &CommandIdentity) -> bool {
        self.is_other(true, Some(identity))
    }
}
