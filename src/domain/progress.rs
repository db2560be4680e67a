//! How far a command has come. It travels in the message, so that any instance can go on with it.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::inquiry::{Inquiry, LookupPolicy, Purpose};
use super::key::IdempotencyKey;
use super::name::excerpt;
use super::outcome::{Outcome, Verdict};

/// The most attempts a history keeps; the first and the latest are what an operator needs.
const HISTORY_LIMIT: usize = 20;

/// What has happened to a command in its current generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// 0 for a command as published; each replay starts the next.
    pub generation: u32,
    /// The number of the call under way or to be made next, from 1.
    pub attempt: u32,
    /// When this generation was first taken up; `give_up_after` counts from here.
    pub since: Timestamp,
    /// The key of this generation, once chosen.
    pub key: Option<IdempotencyKey>,
    /// When a request of this generation was first sent, for the provider's retention of the key.
    pub first_sent: Option<Timestamp>,
    /// Whether some call of this generation may have acted. Only the provider's word that none did makes it false again.
    pub unknown: bool,
    /// When the latest such call was given up; how long a "there is none" proves nothing counts from here.
    pub unknown_since: Option<Timestamp>,
    /// Until when the provider, which has accepted the command, may take to finish it; `None` where it has not.
    pub deadline: Option<Timestamp>,
    /// The provider's own id for what it does, once it has told it.
    pub provider_reference: Option<String>,
    /// The question that is due, where not a call is.
    pub inquiry: Option<Inquiry>,
    /// The digest of the request that was sent under the key.
    pub digest: Option<String>,
    /// The token that request had beside the command's id; empty where it had none, `None` where nothing was sent yet, or by a
    /// version that knew none.
    pub token: Option<String>,
    /// The calls so far.
    pub history: Vec<Attempted>,
}

/// One call, as the history of a command tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempted {
    /// Its number within the generation.
    pub attempt: u32,
    /// When it was started.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What it came to.
    pub outcome: Verdict,
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

impl Attempted {
    /// The entry for a call that came to `outcome`.
    #[must_use]
    pub fn new(attempt: u32, at: Timestamp, duration: Duration, outcome: &Outcome) -> Self {
        let failure = outcome.failure();
        Self {
            attempt,
            at,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            outcome: outcome.verdict(),
            code: failure.and_then(|failure| failure.code.as_deref()).map(excerpt),
            http_status: failure.and_then(|failure| failure.http_status),
            message: failure.map(|failure| excerpt(&failure.message)),
        }
    }
}

impl Progress {
    /// A command as published, taken up at `now`.
    #[must_use]
    pub fn fresh(now: Timestamp) -> Self {
        Self::of_generation(0, now)
    }

    /// The start of a generation.
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
            inquiry: None,
            digest: None,
            token: None,
            history: Vec::new(),
        }
    }

    /// The number of the next question about this attempt.
    #[must_use]
    pub fn next_inquiry(&self) -> u32 {
        self.inquiry.map_or(0, |inquiry| inquiry.number).saturating_add(1)
    }

    /// Whether a lookup is due.
    #[must_use]
    pub fn is_looked_up(&self) -> bool {
        self.inquiry.is_some_and(|inquiry| inquiry.purpose == Purpose::Lookup)
    }

    /// The lookup that can be made of the command: one that needs the provider's own id, only where that is known.
    #[must_use]
    pub fn askable(&self, lookup: Option<LookupPolicy>) -> Option<LookupPolicy> {
        lookup.filter(|lookup| !lookup.needs_reference || self.provider_reference.is_some())
    }

    /// Whether an ending that claims to know would be wrong: a call may have acted, or the provider has accepted.
    #[must_use]
    pub fn is_doubtful(&self) -> bool {
        self.unknown || self.deadline.is_some()
    }

    /// Notes that a call may have acted.
    pub fn suspect(&mut self, now: Timestamp) {
        self.unknown = true;
        self.unknown_since = Some(now);
    }

    /// Notes that the provider has said that no call acted.
    pub fn acquit(&mut self) {
        self.unknown = false;
        self.unknown_since = None;
    }

    /// Adds a call to the history; from the middle of a long one entries are dropped.
    pub fn record(&mut self, call: Attempted) {
        if self.history.len() >= HISTORY_LIMIT {
            self.history.remove(HISTORY_LIMIT / 2);
        }
        self.history.push(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::outcome::Failure;

    #[test]
    fn a_long_history_keeps_the_first_and_the_latest_calls() {
        let mut progress = Progress::fresh(Timestamp::UNIX_EPOCH);
        let outcome = Outcome::Unknown(Failure::new("timeout", "no answer"));
        for attempt in 1..=100 {
            progress.record(Attempted::new(attempt, Timestamp::UNIX_EPOCH, Duration::ZERO, &outcome));
        }
        assert_eq!(progress.history.len(), HISTORY_LIMIT);
        assert_eq!(progress.history[0].attempt, 1);
        assert_eq!(progress.history[HISTORY_LIMIT - 1].attempt, 100);
    }
}
