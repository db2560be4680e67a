//! Transitions: the history of a command, as the ledger keeps it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::Step;
use crate::lifecycle::LifecycleState;

/// One transition of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateTransition {
    /// The time, by the clock of the one who decided.
    pub at: Timestamp,
    /// The state after the transition.
    pub state: LifecycleState,
    /// The call that the transition is about.
    pub step: Step,
    /// The reason in a word or two, for people and programs.
    pub reason: String,
    /// Further details for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The end of the command's wait, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
