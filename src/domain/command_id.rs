//! The id under which a command is known to publishers, subscribers and operators.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::name::excerpt;

/// A command's id: 1 to 128 of `A-Z a-z 0-9 . _ : -`, unique over all publishers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[A-Za-z0-9._:-]{1,128}$"))]
pub struct CommandId(String);

/// Why a text is not a [`CommandId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a command id: use 1 to 128 of A-Z, a-z, 0-9, `.`, `_`, `:` or `-`")]
pub struct InvalidCommandId(String);

impl CommandId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that stands for a message which has none of its own: derived from its content, so that every copy of the
    /// message is reported under the same id.
    #[must_use]
    pub fn of_unidentified(body: &[u8]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&Sha256::digest(body)[..16]);
        Self(format!("unidentified:{:032x}", u128::from_be_bytes(half)))
    }
}

impl FromStr for CommandId {
    type Err = InvalidCommandId;

    fn from_str(text: &str) -> Result<Self, InvalidCommandId> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-');
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommandId(excerpt(text)))
        }
    }
}

impl TryFrom<String> for CommandId {
    type Error = InvalidCommandId;

    fn try_from(text: String) -> Result<Self, InvalidCommandId> {
        text.parse()
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.0
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_exactly_the_documented_alphabet_and_length() {
        for good in ["a", "shop.order-1001.charge", "A:b_C", &"x".repeat(128)] {
            assert!(good.parse::<CommandId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_without_an_id_gets_the_same_valid_one_for_every_copy() {
        let id = CommandId::of_unidentified(b"not json");
        assert_eq!(id, CommandId::of_unidentified(b"not json"));
        assert_ne!(id, CommandId::of_unidentified(b"other"));
        assert!(id.as_str().parse::<CommandId>().is_ok());
    }
}
