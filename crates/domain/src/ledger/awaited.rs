//! The step at which the ledger awaits a command's message, for a message whose own headers can't
//! be relied on.

use super::case::{Case, Phase};
use super::record::{Opening, Step};
use crate::lifecycle::State;

impl Case {
    /// Returns the step at which the command's message is: the call that is due or under way, or
    /// the call or query that follows from the latest decision.
    #[must_use]
    pub fn awaited_step(&self) -> Step {
        let Step { generation, attempt, inquiry } = self.step;
        match (&self.phase, self.state()) {
            (Phase::Decided { .. }, State::Pending) => Step::call(generation, attempt.saturating_add(1)),
            (Phase::Decided { .. }, State::Waiting | State::Processing) => {
                Step { inquiry: inquiry.saturating_add(1), ..self.step }
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
    pub fn is_other_than(&self, opening: &Opening) -> bool {
        self.is_other(true, Some(opening))
    }
}
