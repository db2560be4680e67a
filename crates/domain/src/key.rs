//! Idempotency keys: under one key a provider acts once.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command_id::CommandId;

/// The namespace of keys that had to be shortened to a UUID version 5 (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f3c_9f2e_7d0b_4c55_9a31_f0e2_5d7a_61c4);

/// The idempotency key of one generation of a command, as its provider sees it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Returns the key of a generation: the command's id, then `<id>~<n>`. No id holds a `~`, so no
    /// other command has this key.
    #[must_use]
    pub fn for_generation(id: &CommandId, generation: u32) -> Self {
        Self(if generation == 0 { id.to_string() } else { format!("{id}~{generation}") })
    }

    /// Reads the id and the generation of a key that was not shortened; `None` for a text that is
    /// no such key.
    #[must_use]
    pub fn read_generation(text: &str) -> Option<(&str, u32)> {
        let Some((id, number)) = text.split_once('~') else { return Some((text, 0)) };
        let generation: u32 = number.parse().ok()?;
        (generation > 0 && generation.to_string() == number).then_some((id, generation))
    }

    /// Replaces a key that is too long for the provider by a UUID of it.
    #[must_use]
    pub fn shortened_to(self, max_length: Option<usize>) -> Self {
        if max_length.is_some_and(|max| self.0.len() > max) {
            Self(Uuid::new_v5(&NAMESPACE, self.0.as_bytes()).to_string())
        } else {
            self
        }
    }

    /// Reads a key from a message's header, unchanged.
    #[must_use]
    pub fn from_header(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length of a shortened key; a provider whose `max_length` is smaller cannot be used with
/// keys.
pub const SHORTENED_LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> CommandId {
        text.parse().unwrap()
    }

    fn key(text: &str, generation: u32, max_length: Option<usize>) -> String {
        IdempotencyKey::for_generation(&id(text), generation).shortened_to(max_length).to_string()
    }

    #[test]
    fn a_key_names_its_generation_as_no_id_can() {
        for (generation, expected) in [(0, "order-1"), (1, "order-1~1"), (2, "order-1~2")] {
            let key = key("order-1", generation, None);
            assert_eq!(key, expected);
            assert_eq!(key.parse::<CommandId>().is_ok(), generation == 0, "{key}");
        }
    }

    #[test]
    fn a_key_too_long_for_the_provider_becomes_one_stable_uuid_per_generation() {
        let id = "x".repeat(65);
        let short = key(&id, 0, Some(64));
        // Every version has to send the same key.
        assert_eq!(short, "895a021e-f36d-5390-9043-6400a71b77b1");
        assert_eq!(short.len(), SHORTENED_LENGTH);
        assert_ne!(short, key(&id, 1, Some(64)));
        assert_eq!(key(&"x".repeat(64), 0, Some(64)).len(), 64);
        assert_eq!(key(&"x".repeat(62), 1, Some(64)).len(), 64);
        assert_eq!(key(&"x".repeat(63), 1, Some(64)).len(), SHORTENED_LENGTH);
    }
}
