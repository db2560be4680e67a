//! Transitions: the history of a command, as the ledger remembers it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::Step;
use crate::domain::lifecycle::State;

/// Something that happened to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// When, by the clock of whoever did it.
    pub at: Timestamp,
    /// The state after it.
    pub state: State,
    /// The call it is about.
    pub step: Step,
    /// In a word or two, for people and programs.
    pub reason: String,
    /// More of it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Until when the command waits, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
