//! What whoever holds a message of a command does with a ruling.
//!
//! Pure, so that the same function runs in the daemon and under the model checker.

use super::record::{Guard, Person, RecordId};
use super::ruling::{Decided, Ruling};
use crate::domain::event::Event;

/// What of a held message matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whether it came from a publisher, who waits for an answer, and not from ferryd itself.
    pub fresh: bool,
    /// The claim it has waited out, if it has.
    pub waited_out: Option<RecordId>,
}

/// What to do next, before a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Make the call, in time.
    Call {
        /// Whether an earlier call of the generation may have acted.
        unknown: bool,
    },
    /// Make no call: whether one acted is not known.
    Unknown,
    /// Wait for so long (milliseconds), then ask again, knowing this claim.
    WaitOut {
        /// The claim.
        claim: RecordId,
        /// For how long.
        ttl_ms: u64,
    },
    /// Say that the claim was waited out.
    TakeOver(RecordId),
    /// Publish what was decided before, then ack.
    Publish(Box<Decided>),
    /// Tell the publisher how the command ended, then ack.
    Answer(Box<Event>),
    /// Note who else waits for the end, then ack.
    Ask,
    /// Ask for the step again a little later.
    Again,
    /// Ack.
    Drop,
    /// Tell that the id is known with another content, then ack.
    Conflict,
    /// End the command as cancelled.
    Cancel(Person),
    /// Wait for a version that understands the ledger.
    Wait(String),
}

/// What to do about a message once its `started` is ruled on, or the ruling is known beforehand.
#[must_use]
pub fn next(held: Held, guard: Guard, ruling: Ruling) -> Next {
    match ruling {
        Ruling::Counts(granted) if granted.unknown && matches!(guard, Guard::Claim(_)) => Next::Unknown,
        Ruling::Counts(granted) => Next::Call { unknown: granted.unknown },
        Ruling::Unknown => Next::Unknown,
        Ruling::Claimed { claim, .. } if held.waited_out == Some(claim) => Next::TakeOver(claim),
        Ruling::Claimed { claim, ttl_ms } => Next::WaitOut { claim, ttl_ms },
        Ruling::Unsettled(decided) => Next::Publish(decided),
        Ruling::Ended(event) if held.fresh => Next::Answer(event),
        Ruling::Passed | Ruling::TooLate(_) | Ruling::Outrun { .. } if held.fresh => Next::Ask,
        Ruling::Passed | Ruling::TooLate(_) | Ruling::Outrun { .. } | Ruling::Ended(_) | Ruling::Contradicts(_) => {
            Next::Drop
        }
        Ruling::OtherContent => Next::Conflict,
        Ruling::Cancelled(person) => Next::Cancel(person),
        Ruling::Blocked(kind) => Next::Wait(kind),
    }
}

/// What to do about a message once its `taken_over` is ruled on.
#[must_use]
pub fn after_take_over(held: Held, ruling: Ruling) -> Next {
    match ruling {
        // The claim was given up meanwhile: the step is free, and nobody else may hold a message of it.
        Ruling::Passed => Next::Again,
        ruling => next(held, Guard::Claim(0), ruling),
    }
}
