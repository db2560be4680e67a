//! The end of a command, as the ledger knows it.

use serde::{Deserialize, Serialize};

use super::record_id::RecordId;
use crate::domain::dead_letter::DeadLetter;
use crate::domain::event::Event;
use crate::domain::lifecycle::{Kind, State};

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// The record that says so.
    pub by: RecordId,
    /// The event that tells it.
    pub event: Event,
    /// What its dead letter says, where one was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<Box<DeadLetter>>,
}

impl Ending {
    /// Why it failed, if it did.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.event.data.error.as_ref().and_then(|error| error.kind)
    }

    /// Whether it is kept as a dead letter, for a person.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.event.data.state == State::Failed && !self.event.data.r#final
    }
}
