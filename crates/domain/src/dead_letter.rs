//! Dead letters: commands that ferryd gave up, kept whole for an operator, and the start of their
//! replay.
//!
//! The message body and properties stay as they were published; one header carries ferryd's
//! description of the dead letter.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command::EncodedIdentity;
use super::key::IdempotencyKey;
use super::lifecycle::{FailureKind, key_deadline};
use super::outcome::Failure;
use super::progress::{AttemptSummary, GenerationProgress};
use super::query::{ProviderQuery, QueryPurpose};

/// The header in which [`DeadLetter`] travels, as JSON.
pub const HEADER: &str = "ferry-dead-letter";

/// The description of a dead letter: its command, its failure and its calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeadLetter {
    /// The command, as far as it could be read.
    pub command: EncodedIdentity,
    /// The kind of failure for which the command was given up.
    pub kind: FailureKind,
    /// The provider's error code, or ferryd's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error message, for a person.
    pub message: String,
    /// The status of the last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The generation that failed.
    pub generation: u32,
    /// The number of the last call; where none was made, the one that would have been next.
    pub attempt: u32,
    /// The idempotency key of the calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The digest of the request sent under the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The token that the request had beside the command's id; empty where it had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// True if some call may have acted.
    pub unknown: bool,
    /// The time at which the first request was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The time at which the latest call that may have acted was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<Timestamp>,
    /// The provider's own id of the operation's result, where the provider has sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_reference: Option<String>,
    /// The time for which the provider remembers the key, in seconds; absent where the operation
    /// takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_retention_s: Option<u64>,
    /// The command's own expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The calls that were made, oldest first; of a long history the middle is left out.
    pub history: Vec<AttemptSummary>,
    /// The time at which the first call failed.
    pub first_failed_at: Timestamp,
    /// The time at which the command was dead-lettered.
    pub dead_lettered_at: Timestamp,
    /// The routing key under which the command was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<String>,
    /// The AMQP user that published the command, as the broker vouches; absent where the publisher
    /// did not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// True where the command was given up before its check against the routes and the publishers
    /// of its account; the check follows at its replay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
    /// The host that gave the command up.
    pub host: String,
    /// The version of ferryd on that host.
    pub version: String,
}

/// The place and time at which a command was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterOrigin {
    /// The routing key under which the command was published, where known.
    pub routing_key: Option<String>,
    /// The host.
    pub host: String,
    /// The version of ferryd.
    pub version: String,
    /// The time.
    pub at: Timestamp,
}

/// The options of a replay, for dead letters that may not be replayed without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayOptions {
    /// Sends under a new key although an earlier call may have acted: the decision of a named
    /// person.
    pub force_new_key: bool,
    /// A new expiry for a command that has expired.
    pub extend_to: Option<Timestamp>,
}

/// The reason why a dead letter is not replayed as requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayRefusal {
    /// The `expires_at` of the command has passed.
    #[error("it has expired; give it more time with --extend")]
    Expired,
    /// A call may have acted and can't be repeated under its key.
    #[error(
        "an earlier call may have acted and can't be repeated under its key; look it up at the provider, then use --force-new-key with --by and --reason"
    )]
    MayHaveActed,
    /// The message is no valid command, so a replay would fail again.
    #[error(
        "the message itself is wrong and would fail again; discard it, and let its publisher send a correct one"
    )]
    NotACommand,
}

impl DeadLetter {
    /// Describes a command given up as `kind`.
    #[must_use]
    pub fn new(
        command: &EncodedIdentity,
        kind: FailureKind,
        failure: Failure,
        progress: &GenerationProgress,
        place: DeadLetterOrigin,
    ) -> Self {
        Self {
            command: command.shortened(),
            kind,
            code: failure.code.map(|code| shorten(&code).to_owned()),
            message: shorten(&failure.message).to_owned(),
            http_status: failure.http_status,
            generation: progress.generation,
            attempt: progress.attempt,
            key: progress.key.as_ref().map(ToString::to_string),
            digest: progress.digest.clone(),
            token: progress.token.clone(),
            unknown: progress.unknown || kind == FailureKind::Unresolved,
            first_sent: progress.first_sent,
            unknown_since: progress.unknown_since,
            provider_reference: progress.provider_reference.clone(),
            key_retention_s: None,
            expires_at: None,
            history: progress.history.clone(),
            first_failed_at: progress.history.first().map_or(place.at, |call| call.at),
            dead_lettered_at: place.at,
            routing_key: place.routing_key,
            publisher: None,
            unchecked: false,
            host: place.host,
            version: place.version,
        }
    }

    /// Returns the progress with which a lookup of the last call begins, at `now`; `None` where it
    /// is certain that no call acted.
    #[must_use]
    pub fn look_up(&self, now: Timestamp) -> Option<GenerationProgress> {
        let query = ProviderQuery {
            tried: u32::MAX,
            ..ProviderQuery::new(u32::MAX, QueryPurpose::Lookup, now)
        };
        self.unknown.then(|| GenerationProgress {
            attempt: self.attempt,
            key: self.key.as_deref().map(IdempotencyKey::from_header),
            first_sent: self.first_sent,
            unknown: true,
            unknown_since: Some(self.unknown_since.unwrap_or(self.dead_lettered_at)),
            provider_reference: self.provider_reference.clone(),
            query: Some(query),
            digest: self.digest.clone(),
            token: self.token.clone(),
            history: self.history.clone(),
            ..GenerationProgress::of_generation(self.generation, now)
        })
    }

    /// Returns the start of the next generation: under the old key while the outcome is unknown,
    /// under a new one when it is certain that no call acted.
    ///
    /// # Errors
    /// [`ReplayRefusal`] where sending again is pointless or not safe.
    pub fn replay(
        &self,
        now: Timestamp,
        options: ReplayOptions,
    ) -> Result<GenerationProgress, ReplayRefusal> {
        if self.command.operation.is_none() || self.command.r#type.is_none() {
            return Err(ReplayRefusal::NotACommand);
        }
        let expiry = options.extend_to.or(self.expires_at);
        if expiry.is_some_and(|expiry| now > expiry) {
            return Err(ReplayRefusal::Expired);
        }
        let mut progress = GenerationProgress::of_generation(self.generation + 1, now);
        if !self.unknown || options.force_new_key {
            // The adapter knows whether the operation takes keys, and how long they may be.
            progress.key =
                Some(IdempotencyKey::for_generation(&self.command.id, progress.generation));
            return Ok(progress);
        }
        let (Some(key), Some(first_sent), Some(retention)) =
            (&self.key, self.first_sent, self.key_retention_s)
        else {
            return Err(ReplayRefusal::MayHaveActed);
        };
        if now > key_deadline(first_sent, Duration::from_secs(retention)) {
            return Err(ReplayRefusal::MayHaveActed);
        }
        progress.key = Some(IdempotencyKey::from_header(key));
        progress.first_sent = Some(first_sent);
        progress.digest.clone_from(&self.digest);
        progress.token.clone_from(&self.token);
        progress.unknown = true;
        Ok(progress)
    }
}

/// The maximum length of a text, in characters: the description travels in a header, which must fit
/// a frame.
const MAX_TEXT: usize = 2_000;

/// Returns the start of a text, as far as a dead letter holds it.
#[must_use]
pub fn shorten(text: &str) -> &str {
    text.char_indices().nth(MAX_TEXT).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
#[path = "dead_letter_tests.rs"]
mod tests;
