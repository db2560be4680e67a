//! The id under which a command is known to publishers, subscribers and operators, and the id of a
//! message that was refused.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::digest::PartialDigest;
use super::name::excerpt;
use super::parsed_text;

/// The word between the id that a publisher wrote and the digest of the message that was refused.
/// No publisher can write it: `/` is not in the alphabet of published ids.
const REFUSED: &str = "/refused/";

/// The length of a digest, in hexadecimal digits.
const DIGEST_LENGTH: usize = 32;

/// A command's id as its publisher gives it: 1 to 128 of `A-Z a-z 0-9 . _ : -`, unique over all
/// publishers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[A-Za-z0-9._:-]{1,128}$"))]
pub struct PublishedCommandId(#[schemars(with = "String")] CommandId);

/// The id by which the ledger and operators know a command: the one that its publisher gave. A
/// message that was refused claims no command's id and has one of a name space of its own,
/// `<id>/refused/<digest>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[schemars(extend("pattern" = "^[A-Za-z0-9._:-]{1,128}(/refused/[0-9a-f]{32})?$"))]
pub struct CommandId(String);

/// An error: a text is not a [`CommandId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a command id: use 1 to 128 of A-Z, a-z, 0-9, `.`, `_`, `:` or `-`")]
pub struct InvalidCommandId(String);

impl CommandId {
    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Derives an id from the content of a message which has none of its own, so that every copy of
    /// the message is reported under the same id.
    #[must_use]
    pub fn for_unidentified(body: &[u8]) -> Self {
        Self(format!("unidentified:{}", digest_of(&[body])))
    }

    /// Derives the id of a refused message in which its publisher wrote this id. `parts` identify
    /// the message when it is delivered again.
    #[must_use]
    pub fn for_refused(&self, parts: &[&[u8]]) -> Self {
        Self(format!("{}{REFUSED}{}", self.published_part(), digest_of(parts)))
    }

    /// Returns true if this is the id of a refused message, which claims no command's id.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.contains('/')
    }

    /// Returns the id that the publisher gave, of a refused message too.
    #[must_use]
    pub fn published_id(&self) -> Self {
        Self(self.published_part().to_owned())
    }

    fn published_part(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(published, _)| published)
    }

    /// Returns the beginning of the ids of all messages that were refused under this id, and the
    /// first text behind all of them.
    #[must_use]
    pub fn refused_range(&self) -> (String, String) {
        let published = self.published_part();
        // `0` follows `/` in ASCII.
        (format!("{published}{REFUSED}"), format!("{published}/refused0"))
    }
}

/// Returns a digest of 128 bits of several texts, in hexadecimal digits. The digest of a single
/// text is that of its bytes alone.
fn digest_of(parts: &[&[u8]]) -> String {
    let mut hash = PartialDigest::new();
    for part in parts {
        if parts.len() > 1 {
            hash.update(part.len().to_be_bytes());
        }
        hash.update(part);
    }
    hash.finish()
}

fn is_published_form(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b':' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_digest(text: &str) -> bool {
    text.len() == DIGEST_LENGTH
        && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
}

impl FromStr for CommandId {
    type Err = InvalidCommandId;

    fn from_str(text: &str) -> Result<Self, InvalidCommandId> {
        let published = match text.split_once(REFUSED) {
            Some((published, digest)) if is_digest(digest) => published,
            _ => text,
        };
        if is_published_form(published) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidCommandId(excerpt(text)))
        }
    }
}

impl FromStr for PublishedCommandId {
    type Err = InvalidCommandId;

    fn from_str(text: &str) -> Result<Self, InvalidCommandId> {
        if is_published_form(text) {
            Ok(Self(CommandId(text.to_owned())))
        } else {
            Err(InvalidCommandId(excerpt(text)))
        }
    }
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text::deserialize(deserializer)
    }
}

impl<'de> Deserialize<'de> for PublishedCommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed_text::deserialize(deserializer)
    }
}

impl From<CommandId> for String {
    fn from(id: CommandId) -> Self {
        id.0
    }
}

impl From<PublishedCommandId> for String {
    fn from(id: PublishedCommandId) -> Self {
        id.0.0
    }
}

impl From<PublishedCommandId> for CommandId {
    fn from(id: PublishedCommandId) -> Self {
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
            assert!(good.parse::<PublishedCommandId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a\n", &"x".repeat(129)] {
            assert!(bad.parse::<CommandId>().is_err(), "{bad}");
            assert!(bad.parse::<PublishedCommandId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_message_without_an_id_gets_the_same_valid_one_for_every_copy() {
        let id = CommandId::for_unidentified(b"not json");
        assert_eq!(id, CommandId::for_unidentified(b"not json"));
        assert_ne!(id, CommandId::for_unidentified(b"other"));
        assert!(id.as_str().parse::<CommandId>().is_ok());
    }

    #[test]
    fn a_refused_message_has_an_id_that_no_publisher_can_write() {
        let order: CommandId = "order-1".parse().unwrap();
        let refused = order.for_refused(&[b"acme", b"{}"]);
        assert!(refused.is_refused() && !order.is_refused());
        assert_eq!((refused.published_id(), order.published_id()), (order.clone(), order.clone()));
        assert_eq!(refused.as_str().parse::<CommandId>(), Ok(refused.clone()));
        assert!(refused.as_str().parse::<PublishedCommandId>().is_err());
        assert!(serde_json::from_value::<PublishedCommandId>(refused.as_str().into()).is_err());
        let others = [&[b"acme".as_slice(), b"[]"][..], &[b"acme{", b"}"], &[b"acme{}"]];
        for other in others {
            assert_ne!(order.for_refused(other), refused, "{other:?}");
        }
        let (first, behind) = order.refused_range();
        assert!(refused.as_str() > first.as_str() && refused.as_str() < behind.as_str());
        let digest = "0".repeat(32);
        for bad in [
            "order-1/refused/",
            "order-1/refused/0123",
            "/refused/{digest}",
            "a/b/refused/{digest}",
            "a/refused/{digest}0",
        ] {
            let bad = bad.replace("{digest}", &digest);
            assert!(bad.parse::<CommandId>().is_err(), "{bad}");
        }
    }
}
