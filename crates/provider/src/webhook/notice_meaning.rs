//! The meaning of a notice for its command, as a rule of a file states it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The meaning of a notice for its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeMeaningName {
    /// The provider did what the command asks for.
    Completed,
    /// The provider refused for business reasons.
    Declined,
    /// The provider had accepted, and failed for reasons of its own.
    Failed,
    /// The provider is still working: nothing is decided, and the event has `result`.
    Progress,
    /// The command is looked up, and the answer of the operation's `lookup` decides.
    Lookup,
    /// The notice decides nothing.
    Nothing,
}

impl NoticeMeaningName {
    /// Returns true if the meaning ends a command.
    pub(super) fn is_decisive(self) -> bool {
        matches!(self, Self::Completed | Self::Declined | Self::Failed)
    }
}
