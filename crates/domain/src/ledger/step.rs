//! The place of one call, or of one query of a provider, in the life of a command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One call of a command, or the place of one; or a query about it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Step {
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call within the generation, from 1.
    pub attempt: u32,
    /// 0 for the call itself; else the number of the query about it, a poll or a lookup.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub query: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Step {
    /// Returns the step of a call.
    #[must_use]
    pub const fn call(generation: u32, attempt: u32) -> Self {
        Self { generation, attempt, query: 0 }
    }
}
