//! What a notice means for its command, as a rule of a file states it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a notice means for its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider) enum Sense {
    /// The provider has done what was asked.
    Completed,
    /// The provider's business "no".
    Declined,
    /// It accepted, and failed to do it for reasons of its own.
    Failed,
    /// It goes on: nothing is decided, and `result` is told with the call.
    Progress,
    /// It is worth asking: the operation's `lookup` is made, and its answer decides.
    Lookup,
    /// Nothing that decides anything.
    Nothing,
}

impl Sense {
    /// Whether a command ends by it.
    pub(super) fn decides(self) -> bool {
        matches!(self, Self::Completed | Self::Declined | Self::Failed)
    }
}
