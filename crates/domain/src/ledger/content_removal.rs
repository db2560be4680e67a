//! The reason why the contents of a command were removed.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::actor::Actor;

/// The reason why the contents of a command were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentRemoval {
    /// The contents are past `ledger.retention`. The ids by which others know the command stay.
    Aged,
    /// A person had the contents erased, and with them the ids by which others know the command.
    Erased {
        /// The time of the erasure, by its writer's clock.
        at: Timestamp,
        /// The person who had the contents erased, and the reason.
        actor: Actor,
    },
}
