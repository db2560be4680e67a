//! A message that was refused under an id, in short.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command_state::CommandState;
use crate::command_id::CommandId;

/// A message that was refused under an id, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusalNote {
    /// The id of the refused message: `<id>/refused/<digest>`.
    pub id: CommandId,
    /// The time of the refusal.
    pub at: Timestamp,
    /// The error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error message, for a person.
    pub message: String,
}

impl RefusalNote {
    /// Creates the note of a refused message, from its state in the ledger.
    #[must_use]
    pub fn of(id: CommandId, state: &CommandState) -> Option<Self> {
        let data = &state.ending.as_ref()?.event.data;
        let error = data.error.as_ref()?;
        Some(Self {
            id,
            at: data.occurred_at,
            code: error.code.clone(),
            message: error.message.clone(),
        })
    }
}
