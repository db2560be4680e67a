//! The state machine of a command: the transition functions, as pure code.
//!
//! [`decide_before_call`] decides if a call may be made at all, [`decide_after_call`] what its
//! outcome leads to. Time and randomness are arguments. `docs/LIFECYCLE.md` draws the machine.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outcome::{Failure, Outcome, RetryAfter, Success};
use super::progress::GenerationProgress;
use super::query::{
    AcceptedCommand, LookupPolicy, PollPolicy, ProviderQuery, decide_accepted, decide_unknown,
};
use super::retry::{RetryPolicy, Rung};

/// The states a command passes through.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LifecycleState {
    /// Queued, or waiting for its next attempt.
    Pending,
    /// A call is being made.
    Processing,
    /// Accepted by the provider, finishes later.
    Waiting,
    /// Ended without the wanted effect, or with an unknown outcome; see [`FailureKind`].
    Failed,
    /// Ended with the wanted effect.
    Completed,
}

impl LifecycleState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Processing, Self::Waiting, Self::Failed, Self::Completed];

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
pub enum FailureKind {
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

impl FailureKind {
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

impl std::str::FromStr for FailureKind {
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
pub struct AttemptLimits {
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
    Wait(Box<AcceptedCommand>),
    /// The provider is queried; with the problem so far, if any.
    Query(ProviderQuery, Option<Failure>),
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
    GiveUp(FailureKind, Failure),
}

/// Decides if a call may be made at `now`.
#[must_use]
pub fn decide_before_call(
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
) -> Admission {
    let give_up = |kind, failure| {
        Admission::Instead(Box::new(given_up(kind, failure, progress, limits, now)))
    };
    if progress.unknown {
        match limits.key_retention {
            None => {
                let text = "an earlier call may have acted, and the operation has no idempotency key to repeat it under";
                return give_up(
                    FailureKind::Unresolved,
                    last_failure(progress, "unknown_outcome", text),
                );
            }
            Some(retention) if past_key(progress, retention, now) => {
                let text = "an earlier call may have acted, and the provider may have forgotten its idempotency key by now";
                return give_up(
                    FailureKind::Unresolved,
                    last_failure(progress, "key_expired", text),
                );
            }
            Some(_) => {}
        }
    }
    if limits.expires_at.is_some_and(|expiry| now > expiry) {
        return give_up(
            FailureKind::Expired,
            Failure::new("expired", "`expires_at` passed before this attempt could start"),
        );
    }
    if progress.attempt > 1 && now > after(progress.since, limits.policy.give_up_after) {
        return give_up(
            FailureKind::Unavailable,
            last_failure(progress, "give_up_after", "`give_up_after` has passed"),
        );
    }
    match limits.not_before {
        Some(start) if start > now => Admission::Park(Rung::at_most(until(now, start))),
        _ => Admission::Call,
    }
}

/// Decides how a command continues after the outcome of the call just made. `progress` is that of
/// the call; an unknown outcome is already marked in it (see [`note_outcome`]). `random` is uniform
/// in `[0, 1)`.
#[must_use]
pub fn decide_after_call(
    outcome: Outcome,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
    random: f64,
) -> Decision {
    let (failure, hint) = match outcome {
        Outcome::Completed(success) => return Decision::Complete(success),
        Outcome::Waiting(success, waiting_for) => {
            return decide_accepted(success, waiting_for, progress, limits, now);
        }
        Outcome::Declined(failure) => return Decision::GiveUp(FailureKind::Declined, failure),
        Outcome::Rejected(failure) => {
            return given_up(FailureKind::Rejected, failure, progress, limits, now);
        }
        Outcome::Transient(failure, hint) => (failure, hint),
        Outcome::Unknown(failure) if limits.key_retention.is_none() => {
            return decide_unknown(failure, progress, limits.lookup, now);
        }
        // Where no query is possible, the outcome is unknown like any other.
        Outcome::Lookup(failure) if limits.lookup.is_some() || limits.key_retention.is_none() => {
            return decide_unknown(failure, progress, limits.lookup, now);
        }
        Outcome::Unknown(failure) | Outcome::Lookup(failure) => (failure, None),
    };
    decide_retry(failure, hint, progress, limits, now, random)
}

/// Decides when a call that did not end the command is made again, if it may be.
pub(super) fn decide_retry(
    failure: Failure,
    hint: Option<RetryAfter>,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
    random: f64,
) -> Decision {
    let hint = hint.map(|hint| Duration::from_secs(hint.seconds_from(now)));
    let Some(rung) = limits.policy.next(progress.attempt, hint, random) else {
        return given_up(FailureKind::Unavailable, failure, progress, limits, now);
    };
    let due = after(now, rung.duration());
    if limits.expires_at.is_some_and(|expiry| due > expiry) {
        return given_up(FailureKind::Expired, failure, progress, limits, now);
    }
    let key_gone = progress.unknown
        && limits.key_retention.is_some_and(|retention| past_key(progress, retention, due));
    if key_gone || due > after(progress.since, limits.policy.give_up_after) {
        return given_up(FailureKind::Unavailable, failure, progress, limits, now);
    }
    Decision::Retry { rung, due, failure }
}

/// Decides how a command ends that is given up. While a call may have acted, the outcome is
/// unknown, and a definite end is not possible.
fn given_up(
    kind: FailureKind,
    failure: Failure,
    progress: &GenerationProgress,
    limits: &AttemptLimits,
    now: Timestamp,
) -> Decision {
    match unless_unknown(progress, kind) {
        FailureKind::Unresolved => decide_unknown(failure, progress, limits.lookup, now),
        kind => Decision::GiveUp(kind, failure),
    }
}

/// Returns the kind of failure of a command that can't be called any more as its provider is
/// configured now. Only a command that was never called can be its publisher's mistake; the others
/// were valid once, and end with their outcome so far.
#[must_use]
pub fn misfit_kind(progress: &GenerationProgress) -> FailureKind {
    let kind =
        if progress.history.is_empty() { FailureKind::Invalid } else { FailureKind::Unavailable };
    unless_unknown(progress, kind)
}

/// Records in `progress` the consequences of a call that came to `outcome` at `now`. An unknown
/// outcome holds for the whole generation, and later queries use the provider's own id of the
/// result.
pub fn note_outcome(progress: &mut GenerationProgress, outcome: &Outcome, now: Timestamp) {
    if matches!(outcome, Outcome::Unknown(_) | Outcome::Lookup(_)) {
        progress.mark_unknown(now);
    }
    let reference = match outcome {
        Outcome::Completed(success) | Outcome::Waiting(success, _) => {
            success.provider_reference.as_ref()
        }
        other => other.failure().and_then(|failure| failure.provider_reference.as_ref()),
    };
    if reference.is_some() {
        progress.provider_reference = reference.cloned();
    }
}

/// Returns true if a call at `at` would be too late for a repetition under the key. If the first
/// use of the key is unknown, its retention counts from now on.
fn past_key(progress: &GenerationProgress, retention: Duration, at: Timestamp) -> bool {
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
fn unless_unknown(progress: &GenerationProgress, kind: FailureKind) -> FailureKind {
    if progress.is_doubtful() { FailureKind::Unresolved } else { kind }
}

/// Builds a failure found before a call, with the error of the last call.
fn last_failure(progress: &GenerationProgress, code: &str, text: &str) -> Failure {
    match progress.history.last() {
        Some(last) => {
            let said = last.message.as_deref().or(last.code.as_deref()).unwrap_or("no message");
            let message =
                format!("{text}; attempt {} ended {}: {said}", last.attempt, last.outcome.as_str());
            Failure { http_status: last.http_status, ..Failure::new(code, message) }
        }
        None => Failure::new(code, text),
    }
}

pub(super) fn after(start: Timestamp, delay: Duration) -> Timestamp {
    start
        .saturating_add(SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

pub(super) fn until(now: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
