//! The end of a command, as the ledger knows it.

use serde::{Deserialize, Serialize};

use super::record_id::RecordId;
use crate::dead_letter::DeadLetter;
use crate::event::EncodedEvent;
use crate::lifecycle::{FailureKind, LifecycleState};

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandEnding {
    /// The record of the decision.
    pub by: RecordId,
    /// The terminal event.
    pub event: EncodedEvent,
    /// The description of the dead letter, where one was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Box<DeadLetter>>,
}

impl CommandEnding {
    /// Returns the kind of failure of a failed command.
    #[must_use]
    pub fn kind(&self) -> Option<FailureKind> {
        self.event.data.error.as_ref().and_then(|error| error.kind)
    }

    /// Returns true if the command is kept as a dead letter, for an operator.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.event.data.state == LifecycleState::Failed && !self.event.data.r#final
    }
}
