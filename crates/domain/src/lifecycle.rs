//! The state machine of a command: the transition functions, as pure code.
//!
//! [`before_call`] decides if a call may be made at all, [`after_call`] what its outcome leads to.
//! Time and randomness are arguments. `docs/LIFECYCLE.md` draws the machine.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inquiry::{Accepted, Inquiry, LookupPolicy, PollPolicy, accepted, doubtful};
use super::outcome::{Failure, Outcome, RetryAfter, Success};
use super::progress::Progress;
use super::retry::{RetryPolicy, Rung};

/// The states a command passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Queued, or waiting for its next attempt.
    Pending,
    /// A call is being made.
    Processing,
    /// Accepted by the provider, finishes later.
    Waiting,
    /// Ended without the wanted effect, or with an unknown outcome; see [`Kind`].
    Failed,
    /// Ended with the wanted effect.
    Completed,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Processing, Self::Waiting, Self::Failed, Self::Completed];

    /// Returns the name of the state in events and routing keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Completed => "completed",
        }
    }

    /// Returns true if a command's life ends in this state, as far as ferryd goes on by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Completed)
    }

    /// Returns the states that may come next.
    #[must_use]
    pub fn next(self) -> &'static [Self] {
        match self {
            // A call that was taken for lost may answer while the next one is still pending.
            Self::Pending => &[Self::Processing, Self::Failed, Self::Completed],
            Self::Processing => &[Self::Pending, Self::Waiting, Self::Failed, Self::Completed],
            Self::Waiting => &[Self::Failed, Self::Completed],
            // A dead letter can be replayed, resolved or discarded, or superseded by a late answer.
            Self::Failed => &[Self::Pending, Self::Failed, Self::Completed],
            Self::Completed => &[],
        }
    }
}

/// The kind of a command's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The provider declined for a business reason: a final answer, no dead letter.
    Declined,
    /// The command itself is invalid.
    Invalid,
    /// A technical refusal by the provider.
    Rejected,
    /// The attempts are used up.
    Unavailable,
    /// `expires_at` passed before the next attempt.
    Expired,
    /// The outcome is unknown: the provider may have acted.
    Unresolved,
    /// Cancelled before it was sent.
    Cancelled,
    /// Handling the message failed in ferryd itself.
    Poison,
    /// An operator gave the command up for good.
    Discarded,
}

impl Kind {
    /// All kinds, for command lines and documentation.
    pub const ALL: [Self; 9] = [
        Self::Declined,
        Self::Invalid,
        Self::Rejected,
        Self::Unavailable,
        Self::Expired,
        Self::Unresolved,
        Self::Cancelled,
        Self::Poison,
        Self::Discarded,
    ];

    /// Returns the name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declined => "declined",
            Self::Invalid => "invalid",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Expired => "expired",
            Self::Unresolved => "unresolved",
            Self::Cancelled => "cancelled",
            Self::Poison => "poison",
            Self::Discarded => "discarded",
        }
    }

    /// Returns true if a command that fails with this kind is kept as a dead letter for an
    /// operator.
    #[must_use]
    pub fn dead_letters(self) -> bool {
        !matches!(self, Self::Declined | Self::Cancelled | Self::Discarded)
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("unknown kind `{word}`; known are {}", known.join(", "))
        })
    }
}

/// The limits of a command's attempts.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The retry schedule and `give_up_after`.
    pub policy: RetryPolicy,
    /// The time for which the provider remembers an idempotency key; `None` where the operation
    /// takes none.
    pub key_retention: Option<Duration>,
    /// No attempt starts before this time.
    pub not_before: Option<Timestamp>,
    /// No attempt starts after this time.
    pub expires_at: Option<Timestamp>,
    /// The time within which the provider has to finish an accepted command.
    pub deadline: Duration,
    /// The timing of polls until then; `None` where the operation has no poll.
    pub poll: Option<PollPolicy>,
    /// The conclusions that a lookup allows; `None` where the operation has none.
    pub lookup: Option<LookupPolicy>,
}

/// The decision before a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Make the call.
    Call,
    /// The call is early: wait on this rung and check again.
    Park(Rung),
    /// The call is late, or not safe: take this decision without the call.
    Instead(Box<Decision>),
}

/// The decision that the outcome of a call leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The command is completed.
    Complete(Success),
    /// The command waits for the provider or the customer; the provider is queried meanwhile.
    Wait(Box<Accepted>),
    /// The provider is queried; with the problem so far, if any.
    Inquire(Inquiry, Option<Failure>),
    /// The call is made again after this rung.
    Retry {
        /// The rung on whose delay queue the command waits.
        rung: Rung,
        /// The time of the next attempt.
        due: Timestamp,
        /// The failure of this attempt.
        failure: Failure,
    },
    /// The command has failed.
    GiveUp(Kind, Failure),
}

/// Decides if a call may be made at `now`.
#[must_use]
pub fn before_call(progress: &Progress, limits: &Limits, now: Timestamp) -> Admission {
    let give_up = |kind, failure| Admission::Instead(Box::new(given_up(kind, failure, progress, limits, now)));
    if progress.unknown {
        match limits.key_retention {
            None => {
                let text =
                    "an earlier call may have acted, and the operation has no idempotency key to repeat it under";
                return give_up(Kind::Unresolved, last_failure(progress, "unknown_outcome", text));
            }
            Some(retention) if past_key(progress, retention, now) => {
                let text =
                    "an earlier call may have acted, and the provider may have forgotten its idempotency key by now";
                return give_up(Kind::Unresolved, last_failure(progress, "key_expired", text));
            }
            Some(_) => {}
        }
    }
    if limits.expires_at.is_some_and(|expiry| now > expiry) {
        return give_up(Kind::Expired, Failure::new("expired", "`expires_at` passed before this attempt could start"));
    }
    if progress.attempt > 1 && now > after(progress.since, limits.policy.give_up_after) {
        return give_up(Kind::Unavailable, last_failure(progress, "give_up_after", "`give_up_after` has passed"));
    }
    match limits.not_before {
        Some(start) if start > now => Admission::Park(Rung::at_most(until(now, start))),
        _ => Admission::Call,
    }
}

/// Decides how a command continues after the outcome of the call just made. `progress` is that of
/// the call; an unknown outcome is already marked in it (see [`mark`]). `random` is uniform in
/// `[0, 1)`.
#[must_use]
pub fn after_call(outcome: Outcome, progress: &Progress, limits: &Limits, now: Timestamp, random: f64) -> Decision {
    let (failure, hint) = match outcome {
        Outcome::Completed(success) => return Decision::Complete(success),
        Outcome::Waiting(success, party) => {
            return accepted(success, party, progress, limits, now);
        }
        Outcome::Declined(failure) => return Decision::GiveUp(Kind::Declined, failure),
        Outcome::Rejected(failure) => return given_up(Kind::Rejected, failure, progress, limits, now),
        Outcome::Transient(failure, hint) => (failure, hint),
        Outcome::Unknown(failure) if limits.key_retention.is_none() => {
            return doubtful(failure, progress, limits.lookup, now);
        }
        // Where no query is possible, the outcome is unknown like any other.
        Outcome::Lookup(failure) if limits.lookup.is_some() || limits.key_retention.is_none() => {
            return doubtful(failure, progress, limits.lookup, now);
        }
        Outcome::Unknown(failure) | Outcome::Lookup(failure) => (failure, None),
    };
    retried(failure, hint, progress, limits, now, random)
}

/// Decides when a call that did not end the command is made again, if it may be.
pub(super) fn retried(
    failure: Failure,
    hint: Option<RetryAfter>,
    progress: &Progress,
    limits: &Limits,
    now: Timestamp,
    random: f64,
) -> Decision {
    let hint = hint.map(|hint| Duration::from_secs(hint.seconds_from(now)));
    let Some(rung) = limits.policy.next(progress.attempt, hint, random) else {
        return given_up(Kind::Unavailable, failure, progress, limits, now);
    };
    let due = after(now, rung.duration());
    if limits.expires_at.is_some_and(|expiry| due > expiry) {
        return given_up(Kind::Expired, failure, progress, limits, now);
    }
    let key_gone = progress.unknown && limits.key_retention.is_some_and(|retention| past_key(progress, retention, due));
    if key_gone || due > after(progress.since, limits.policy.give_up_after) {
        return given_up(Kind::Unavailable, failure, progress, limits, now);
    }
    Decision::Retry { rung, due, failure }
}

/// Decides how a command ends that is given up. While a call may have acted, the outcome is
/// unknown, and a definite end is not possible.
fn given_up(kind: Kind, failure: Failure, progress: &Progress, limits: &Limits, now: Timestamp) -> Decision {
    match unless_unknown(progress, kind) {
        Kind::Unresolved => doubtful(failure, progress, limits.lookup, now),
        kind => Decision::GiveUp(kind, failure),
    }
}

/// Returns the kind of failure of a command that can't be called any more as its provider is
/// configured now. Only a command that was never called can be its publisher's mistake; the others
/// were valid once, and end with their outcome so far.
#[must_use]
pub fn unfit(progress: &Progress) -> Kind {
    let kind = if progress.history.is_empty() { Kind::Invalid } else { Kind::Unavailable };
    unless_unknown(progress, kind)
}

/// Records in `progress` the consequences of a call that came to `outcome` at `now`. An unknown
/// outcome holds for the whole generation, and later queries use the provider's own id of the
/// result.
pub fn mark(progress: &mut Progress, outcome: &Outcome, now: Timestamp) {
    if matches!(outcome, Outcome::Unknown(_) | Outcome::Lookup(_)) {
        progress.suspect(now);
    }
    let reference = match outcome {
        Outcome::Completed(success) | Outcome::Waiting(success, _) => success.provider_reference.as_ref(),
        other => other.failure().and_then(|failure| failure.provider_reference.as_ref()),
    };
    if reference.is_some() {
        progress.provider_reference = reference.cloned();
    }
}

/// Returns true if a call at `at` would be too late for a repetition under the key. If the first
/// use of the key is unknown, its retention counts from now on.
fn past_key(progress: &Progress, retention: Duration, at: Timestamp) -> bool {
    progress.first_sent.is_some_and(|first_sent| at > key_deadline(first_sent, retention))
}

/// Returns the time until which a call may be repeated under the key first sent at `first_sent`: an
/// hour before the provider forgets it (half the time where it remembers less than two hours),
/// because clocks differ and a call takes time.
#[must_use]
pub fn key_deadline(first_sent: Timestamp, retention: Duration) -> Timestamp {
    let margin = Duration::from_hours(1).min(retention / 2);
    after(first_sent, retention.saturating_sub(margin))
}

/// Replaces a definite kind by `unresolved` after an unknown outcome.
fn unless_unknown(progress: &Progress, kind: Kind) -> Kind {
    if progress.is_doubtful() { Kind::Unresolved } else { kind }
}

/// Builds a failure found before a call, with the error of the last call.
fn last_failure(progress: &Progress, code: &str, text: &str) -> Failure {
    match progress.history.last() {
        Some(last) => {
            let said = last.message.as_deref().or(last.code.as_deref()).unwrap_or("no message");
            let message = format!("{text}; attempt {} ended {}: {said}", last.attempt, last.outcome.as_str());
            Failure { http_status: last.http_status, ..Failure::new(code, message) }
        }
        None => Failure::new(code, text),
    }
}

pub(super) fn after(start: Timestamp, delay: Duration) -> Timestamp {
    start.saturating_add(SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

pub(super) fn until(now: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
