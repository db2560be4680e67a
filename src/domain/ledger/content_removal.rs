//! The reason why the contents of a command are not known any more.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::person::Person;

/// The reason why the contents of a command are not known any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContentRemoval {
    /// The contents are older than `ledger.retention`. The ids by which others know the command stay.
    Aged,
    /// A person had the contents erased, and the ids by which others know the command with them.
    Erased {
        /// When, by the clock of whoever wrote it down.
        at: Timestamp,
        /// By whom, and why.
        person: Person,
    },
}
