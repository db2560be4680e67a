//! The progress of a command. It travels in the message, so that any instance can continue the
//! command.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::IdempotencyKey;
use super::name::excerpt;
use super::outcome::{Outcome, OutcomeName};
use super::query::{LookupPolicy, ProviderQuery, QueryPurpose};

/// The maximum number of attempts in a history; an operator needs the first and the latest.
const HISTORY_LIMIT: usize = 20;

/// The progress of a command in its current generation.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationProgress {
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call under way or to be made next, from 1.
    pub attempt: u32,
    /// The time at which this generation was first taken up; `give_up_after` counts from here.
    pub since: Timestamp,
    /// The key of this generation, once chosen.
    pub key: Option<IdempotencyKey>,
    /// The time at which a request of this generation was first sent; the provider's retention of
    /// the key counts from here.
    pub first_sent: Option<Timestamp>,
    /// True if some call of this generation may have acted. Only the provider's answer that none
    /// did makes it false again.
    pub unknown: bool,
    /// The time at which the latest such call was given up. The time for which "not found" proves
    /// nothing counts from here.
    pub unknown_since: Option<Timestamp>,
    /// The time by which the provider has to finish an accepted command; `None` where it has not
    /// accepted.
    pub deadline: Option<Timestamp>,
    /// The provider's own id of the operation's result, once the provider has sent it.
    pub provider_reference: Option<String>,
    /// The query that is due, where no call is.
    pub query: Option<ProviderQuery>,
    /// The digest of the request that was sent under the key.
    pub digest: Option<String>,
    /// The token that the request had beside the command's id; empty where it had none.
    pub token: String,
    /// The calls so far.
    pub history: Vec<AttemptSummary>,
}

/// One call in the history of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptSummary {
    /// The number of the call within the generation.
    pub attempt: u32,
    /// The time at which the call was started.
    pub at: Timestamp,
    /// The duration of the call, in milliseconds.
    pub duration_ms: u64,
    /// The outcome of the call, without its data.
    pub outcome: OutcomeName,
    /// The error code, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The HTTP status, if there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The error message, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AttemptSummary {
    /// Creates the entry of a call that came to `outcome`.
    #[must_use]
    pub fn new(attempt: u32, at: Timestamp, duration: Duration, outcome: &Outcome) -> Self {
        let failure = outcome.failure();
        Self {
            attempt,
            at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            outcome: outcome.outcome_name(),
            code: failure.and_then(|failure| failure.code.as_deref()).map(excerpt),
            http_status: failure.and_then(|failure| failure.http_status),
            message: failure.map(|failure| excerpt(&failure.message)),
        }
    }
}

impl GenerationProgress {
    /// Returns the progress of a command as published, taken up at `now`.
    #[must_use]
    pub fn first_generation(now: Timestamp) -> Self {
        Self::of_generation(0, now)
    }

    /// Returns the progress at the start of a generation.
    #[must_use]
    pub fn of_generation(generation: u32, now: Timestamp) -> Self {
        Self {
            generation,
            attempt: 1,
            since: now,
            key: None,
            first_sent: None,
            unknown: false,
            unknown_since: None,
            deadline: None,
            provider_reference: None,
            query: None,
            digest: None,
            token: String::new(),
            history: Vec::new(),
        }
    }

    /// Returns the number of the next query about this attempt.
    #[must_use]
    pub fn next_query(&self) -> u32 {
        self.query.map_or(0, |query| query.number).saturating_add(1)
    }

    /// Returns true if a lookup is due.
    #[must_use]
    pub fn is_looked_up(&self) -> bool {
        self.query.is_some_and(|query| query.purpose == QueryPurpose::Lookup)
    }

    /// Returns the lookup that is possible for the command: one that needs the provider's own id,
    /// only where that is known.
    #[must_use]
    pub fn askable_lookup(&self, lookup: Option<LookupPolicy>) -> Option<LookupPolicy> {
        lookup.filter(|lookup| !lookup.needs_reference || self.provider_reference.is_some())
    }

    /// Returns true if a definite end would be wrong: a call may have acted, or the provider has
    /// accepted.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.unknown || self.deadline.is_some()
    }

    /// Records that a call may have acted.
    pub fn mark_unknown(&mut self, now: Timestamp) {
        self.unknown = true;
        self.unknown_since = Some(now);
    }

    /// Records that the provider has answered that no call acted.
    pub fn clear_unknown(&mut self) {
        self.unknown = false;
        self.unknown_since = None;
    }

    /// Adds a call to the history; from the middle of a long one entries are dropped.
    pub fn record_attempt(&mut self, call: AttemptSummary) {
        if self.history.len() >= HISTORY_LIMIT {
            self.history.remove(HISTORY_LIMIT / 2);
        }
        self.history.push(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Failure;

    #[test]
    fn a_long_history_keeps_the_first_and_the_latest_calls() {
        let mut progress = GenerationProgress::first_generation(Timestamp::UNIX_EPOCH);
        let outcome = Outcome::Unknown(Failure::new("timeout", "no answer"));
        for attempt in 1..=100 {
            progress.record_attempt(AttemptSummary::new(
                attempt,
                Timestamp::UNIX_EPOCH,
                Duration::ZERO,
                &outcome,
            ));
        }
        assert_eq!(progress.history.len(), HISTORY_LIMIT);
        assert_eq!(progress.history[0].attempt, 1);
        assert_eq!(progress.history[HISTORY_LIMIT - 1].attempt, 100);
    }
}
