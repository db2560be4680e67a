//! Idempotency keys: under one key a provider acts once.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::command_id::CommandId;

/// The namespace of keys that had to be shortened to a UUID version 5 (RFC 9562, section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f3c_9f2e_7d0b_4c55_9a31_f0e2_5d7a_61c4);

/// The key a provider sees for one generation of a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key of a generation: the command's id, then `<id>.g<n>`; a UUID of that where the provider takes fewer characters.
    #[must_use]
    pub fn for_generation(id: &CommandId, generation: u32, max_length: Option<usize>) -> Self {
        let long = if generation == 0 { id.to_string() } else { format!("{id}.g{generation}") };
        if max_length.is_some_and(|max| long.len() > max) {
            Self(Uuid::new_v5(&NAMESPACE, long.as_bytes()).to_string())
        } else {
            Self(long)
        }
    }

    /// A key that travelled in a message, as it is.
    #[must_use]
    pub fn from_header(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The key as text.
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

/// The length of a shortened key; a provider whose `max_length` is smaller cannot be used with keys.
pub const SHORTENED_LENGTH: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, generation: u32, max_length: Option<usize>) -> String {
        IdempotencyKey::for_generation(&id.parse().unwrap(), generation, max_length).to_string()
    }

    #[test]
    fn a_key_names_its_generation() {
        assert_eq!(key("order-1", 0, None), "order-1");
        assert_eq!(key("order-1", 2, None), "order-1.g2");
    }

    #[test]
    fn a_key_too_long_for_the_provider_becomes_one_stable_uuid_per_generation() {
        let id = "x".repeat(65);
        let short = key(&id, 0, Some(64));
        assert_eq!(short.len(), SHORTENED_LENGTH);
        assert_eq!(short, key(&id, 0, Some(64)));
        assert_ne!(short, key(&id, 1, Some(64)));
        assert_eq!(key(&"x".repeat(64), 0, Some(64)).len(), 64);
        assert_eq!(key(&"x".repeat(62), 1, Some(64)).len(), SHORTENED_LENGTH);
    }
}
