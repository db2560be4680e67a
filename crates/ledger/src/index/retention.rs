//! The end of a command and the removal of its contents, by which the index keeps it.

use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::content_removal::ContentRemoval;

/// The rank of a command whose contents are in the index.
pub(super) const WITH_CONTENTS: i64 = 0;
/// The rank of a command whose contents are past their retention, or that has none.
pub(super) const AGED: i64 = 1;
/// The rank of a command whose contents were erased.
pub(super) const ERASED: i64 = 2;

/// Returns the rank by which the index orders commands: how much of a command's contents is
/// removed.
pub(super) fn removal_rank(state: &CommandState) -> i64 {
    match state.removal {
        Some(ContentRemoval::Erased { .. }) => ERASED,
        Some(ContentRemoval::Aged) => AGED,
        // A command that never arrived has no contents that could pass their retention.
        None if state.ending.is_none() && is_over(state) => AGED,
        None => WITH_CONTENTS,
    }
}

/// Returns true if a command is over. A dead letter is not over, because an operator has to decide
/// about it. Neither is a command with an event that may not have been published. A request to
/// cancel a command that never arrived is over.
pub(super) fn is_over(state: &CommandState) -> bool {
    let is_published = !matches!(state.phase, CallPhase::Decided { effects: Some(_), .. });
    match &state.ending {
        Some(ending) => !ending.is_dead() && is_published,
        None => state.identity.is_none() && state.phase == CallPhase::Open,
    }
}
