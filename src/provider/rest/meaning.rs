//! What an answer means, as a rule of a file states it.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::outcome::Verdict;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::provider) enum Meaning {
    /// The provider did what was asked.
    Completed,
    /// It took the request and finishes it later.
    Waiting,
    /// Its business "no": a final answer, not a fault.
    Declined,
    /// A technical refusal that trying again does not change.
    Rejected,
    /// It certainly did not act; the same call is made again later.
    Transient,
    /// It may or may not have acted.
    Unknown,
    /// The same, and the operation's `lookup` finds out rather than another call.
    Lookup,
}

impl From<Meaning> for Verdict {
    fn from(meaning: Meaning) -> Self {
        match meaning {
            Meaning::Completed => Self::Completed,
            Meaning::Waiting => Self::Waiting,
            Meaning::Declined => Self::Declined,
            Meaning::Rejected => Self::Rejected,
            Meaning::Transient => Self::Transient,
            Meaning::Unknown => Self::Unknown,
            Meaning::Lookup => Self::Lookup,
        }
    }
}
