//! Names that appear in routing keys, queue names and configuration.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::parsed_text;

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 63;

/// The name of a type, provider, operation, account or topology prefix: `[a-z][a-z0-9_-]{0,62}`.
///
/// Names become words of AMQP routing keys, so they hold no dot, and parts of queue names, so they
/// are short.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[a-z][a-z0-9_-]{0,62}$"))]
pub struct Name(String);

/// An error: a text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use a lower-case letter, then up to 62 of a-z, 0-9, `_` or `-`")]
pub struct InvalidName(String);

impl Name {
    /// Returns the name of the account that is used where none is named.
    #[must_use]
    pub fn default_account() -> Self {
        Self("default".to_owned())
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let tail = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_' || c == b'-';
        let valid = text.len() <= MAX_NAME_LEN
            && text.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
            && text.bytes().all(tail);
        if valid { Ok(Self(text.to_owned())) } else { Err(InvalidName(excerpt(text))) }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text::deserialize(deserializer)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Returns the start of a text that a message quotes, so that an error stays one short line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 80;
    let mut short: String = text.chars().take(MOST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_exactly_the_documented_alphabet_and_length() {
        for good in ["a", "stripe", "easy-post_2", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "Stripe", "a.b", "a b", "é", "a#", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }
}
