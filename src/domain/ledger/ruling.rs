//! What a record comes to at its place in the ledger.

use serde::{Deserialize, Serialize};

use super::effects::RecordedEffects;
use super::record::{Asked, Person, RecordId};
use crate::domain::event::Event;

/// What a record comes to. Its writer acts on it; everybody else comes to the same one, and does not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It counts: whoever wrote it does what it says.
    Counts(Granted),
    /// Another has the step to itself.
    Claimed {
        /// The record that claimed it.
        claim: RecordId,
        /// For how many milliseconds.
        ttl_ms: u64,
    },
    /// The step was decided before, and nobody is known to have published what follows.
    Unsettled(Box<Decided>),
    /// The command has ended, and its end was published.
    Ended(Box<Event>),
    /// A call of the step is taken for unknown by now: only an answer of the provider, or `unresolved`, counts.
    Unknown,
    /// The command has gone on beyond this; nothing is left to do.
    Passed,
    /// The id is known with another content.
    OtherContent,
    /// The command was cancelled before it came.
    Cancelled(Person),
    /// The command has ended otherwise.
    Contradicts(Box<Event>),
    /// An event with a higher number than the one this would lead to may have been seen: say it again with at least this
    /// attempt.
    Outrun {
        /// The least attempt.
        attempt: u32,
    },
    /// What is asked for is not possible any more, for this reason.
    TooLate(TooLate),
    /// Nothing may be decided about the command: the ledger holds something about it that this version does not
    /// understand.
    Blocked(String),
}

/// What goes with a record that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    /// Whether an earlier call of the generation may have acted.
    pub unknown: bool,
    /// Who else waits for the end, of a `finished` that ends the command.
    #[serde(default)]
    pub replies: Vec<Asked>,
}

/// A decision that counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// The record.
    pub by: RecordId,
    /// What follows from it.
    pub effects: RecordedEffects,
    /// Who else waits for the end.
    #[serde(default)]
    pub replies: Vec<Asked>,
}

/// Why something asked for is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLate {
    /// A call is under way.
    InFlight,
    /// A call was made, and nobody knows whether it acted.
    Unknown,
    /// The provider has accepted the command.
    Accepted,
    /// The command has completed.
    Completed,
    /// The command has failed.
    Failed,
    /// It has been sent again already.
    Replayed,
    /// It is not a dead letter.
    NotDead,
    /// The command has not ended.
    NotEnded,
    /// The command is a dead letter.
    DeadLetter,
    /// Its end is not known to be published.
    Unpublished,
}

impl std::fmt::Display for TooLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InFlight => "a call to its provider is under way",
            Self::Unknown => "a call was made, and nobody knows whether it acted",
            Self::Accepted => "its provider has accepted it",
            Self::Completed => "it has completed",
            Self::Failed => "it has failed",
            Self::Replayed => "it has been sent again",
            Self::NotDead => "it is not a dead letter",
            Self::NotEnded => "it has not ended",
            Self::DeadLetter => "it is a dead letter",
            Self::Unpublished => "its end is not known to be published yet",
        })
    }
}
