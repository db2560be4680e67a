//! The rulings on records at their places in the ledger.

use serde::{Deserialize, Serialize};

use super::effects::RecordedEffects;
use super::record::{Actor, RecordId, ReplyTarget};
use crate::event::EncodedEvent;

/// The ruling on a record. Its writer acts on it; all other instances come to the same one, and do
/// not act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// The record counts: its writer acts on it.
    Counts(RulingGrant),
    /// Another holds the step alone.
    Claimed {
        /// The record of that claim.
        claim: RecordId,
        /// The time of the claim, in milliseconds.
        ttl_ms: u64,
    },
    /// The step was decided before, and the effects may be unpublished.
    Unsettled(Box<DecidedCommand>),
    /// The command has ended, and its end was published.
    Ended(EncodedEvent),
    /// A call of the step is taken for unknown by now: only an answer of the provider, or
    /// `unresolved`, counts.
    Unknown,
    /// The command has gone on beyond this step; nothing is left to do.
    Superseded,
    /// The id is known with another content.
    ContentConflict,
    /// The command was cancelled before it arrived.
    Cancelled(Actor),
    /// The command has ended with another outcome.
    Contradicts(EncodedEvent),
    /// An event with a higher number than this decision's may have been published: decide again
    /// with at least this attempt.
    SequenceTooLow {
        /// The least attempt.
        attempt: u32,
    },
    /// The request is not possible any more, for this reason.
    TooLate(TooLate),
    /// Nothing may be decided about the command: the ledger holds a record about it that this
    /// version does not understand.
    Blocked(String),
}

/// The data that belongs to a record that counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RulingGrant {
    /// True if an earlier call of the generation may have acted.
    pub unknown: bool,
    /// The further reply targets that wait for the end, of a `finished` that ends the command.
    #[serde(default)]
    pub replies: Vec<ReplyTarget>,
}

/// A decision that counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecidedCommand {
    /// The record of the decision.
    pub by: RecordId,
    /// The effects of the decision.
    pub effects: RecordedEffects,
    /// The further reply targets that wait for the end.
    #[serde(default)]
    pub replies: Vec<ReplyTarget>,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLate {
    /// A call is under way.
    InFlight,
    /// A call was made, and its outcome is unknown.
    Unknown,
    /// The provider has accepted the command.
    Accepted,
    /// The command has completed.
    Completed,
    /// The command has failed.
    Failed,
    /// The command has been sent again already.
    Replayed,
    /// The command is not a dead letter.
    NotDead,
    /// The command has not ended.
    NotEnded,
    /// The command is a dead letter.
    DeadLetter,
    /// The end of the command may be unpublished.
    Unpublished,
}

impl std::fmt::Display for TooLate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::InFlight => "a call to its provider is under way",
            Self::Unknown => "a call was made, and it is unknown whether it acted",
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
