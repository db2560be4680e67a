//! The columns of a command that follow from its state alone.

use super::reference::ReferenceHashes;
use super::retention;
use ferryd_domain::ledger::command_state::CommandState;

/// The columns of a command that follow from its state alone. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StateColumns {
    /// The time of the first transition.
    pub created: Option<i64>,
    /// The time of the latest transition.
    pub updated: Option<i64>,
    pub over: bool,
    pub removal: i64,
    pub is_end_unpublished: bool,
    /// The references by which the command is found.
    pub references: ReferenceHashes,
}

impl StateColumns {
    /// Returns the columns of a state.
    pub fn of(state: &CommandState) -> Self {
        Self {
            created: state.history.first().map(|first| first.at.as_millisecond()),
            updated: state.history.last().map(|last| last.at.as_millisecond()),
            over: retention::is_over(state),
            removal: retention::removal_rank(state),
            is_end_unpublished: state.is_end_unpublished(),
            references: ReferenceHashes::of(state),
        }
    }
}
