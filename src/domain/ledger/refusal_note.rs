//! A message that was refused under an id, in short.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::case::Case;
use crate::domain::command_id::CommandId;

/// A message that was refused under an id, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusalNote {
    /// The id under which it is known: `<id>/refused/<digest>`.
    pub id: CommandId,
    /// When it was refused.
    pub at: Timestamp,
    /// Why, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, for people.
    pub message: String,
}

impl RefusalNote {
    /// Makes the note of a message whose end is known.
    #[must_use]
    pub fn of(id: CommandId, case: &Case) -> Option<Self> {
        let data = &case.ending.as_ref()?.event.data;
        let error = data.error.as_ref()?;
        Some(Self { id, at: data.occurred_at, code: error.code.clone(), message: error.message.clone() })
    }
}
