//! The meaning of an answer, as a rule of a file states it.

use schemars::JsonSchema;
use serde::Deserialize;

use ferryd_domain::outcome::OutcomeName;

/// The meaning of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AnswerMeaning {
    /// The provider did what the command asks for.
    Completed,
    /// The provider accepted the request, and finishes it later.
    Waiting,
    /// The provider refused for business reasons: a final answer, not a fault.
    Declined,
    /// The provider refused for technical reasons that a retry does not change.
    Rejected,
    /// The provider certainly did not act; the same call is retried later.
    Transient,
    /// The provider may or may not have acted.
    Unknown,
    /// The provider may or may not have acted, and the operation's `lookup` finds out instead of
    /// another call.
    Lookup,
}

impl From<AnswerMeaning> for OutcomeName {
    fn from(meaning: AnswerMeaning) -> Self {
        match meaning {
            AnswerMeaning::Completed => Self::Completed,
            AnswerMeaning::Waiting => Self::Waiting,
            AnswerMeaning::Declined => Self::Declined,
            AnswerMeaning::Rejected => Self::Rejected,
            AnswerMeaning::Transient => Self::Transient,
            AnswerMeaning::Unknown => Self::Unknown,
            AnswerMeaning::Lookup => Self::Lookup,
        }
    }
}
