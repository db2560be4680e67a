//! A provider's webhook call as plain data, before and after it is believed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use url::Url;

use super::command_id::CommandId;
use super::money::StatedAmount;
use super::outcome::{Failure, Success};

/// A webhook call as it arrived. Nothing in it is believed yet.
///
/// It may hold personal data and signatures, so it has no readable `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCallback {
    /// The request method in upper case: `POST`, or `GET` where a provider verifies its endpoint.
    pub method: String,
    /// The URL that the provider called, as it sees it: the configured public address with the call's own path and query.
    pub url: Url,
    /// Header names in lower case, with their values, in the order in which they came; what is not UTF-8 is replaced.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl RawCallback {
    /// The first value of a header, its name given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a parameter of the query, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for RawCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawCallback({} {}, {} body bytes)", self.method, self.url.path(), self.body.len())
    }
}

/// Why a webhook call is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unverified {
    /// What the signature needs is missing or can't be read.
    #[error("the call carries no signature that can be read")]
    Unsigned,
    /// The signature matches none of the secrets.
    #[error("the signature matches none of the secrets")]
    Forged,
    /// It was signed too long ago, or too far in the future.
    #[error("it was signed too long ago, or in the future")]
    Stale,
}

/// One thing that a verified webhook call tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The provider's name for what happened, such as `charge.dispute.created`.
    pub event: Option<String>,
    /// The provider's id for this telling of it: the same when it calls again.
    pub id: Option<String>,
    /// The command it is about, where the call names it.
    pub command: Option<CommandId>,
    /// The token beside that, which may prove it.
    pub token: Option<String>,
    /// The generation of the command's calls that it is about, where a token tells it: the command is proven then.
    pub generation: Option<u32>,
    /// The provider's own id for what it is about.
    pub reference: Option<String>,
    /// What it means for the command.
    pub meaning: Meaning,
    /// The amount that it says was done, where the provider's file says where that is.
    pub amount: Option<StatedAmount>,
    /// All of it.
    pub body: Value,
}

/// What a notice means for the command that it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// The provider has done what was asked.
    Completed(Success),
    /// The provider's business "no".
    Declined(Failure),
    /// It accepted, and failed to do it for reasons of its own.
    Failed(Failure),
    /// It goes on; with what is known so far.
    Progress(Option<Value>),
    /// Something that is worth asking the provider about: the call alone is not believed so far.
    Lookup,
    /// Nothing of the command's own end.
    Nothing,
}

impl Meaning {
    /// The word for it in provider files and events.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Declined(_) => "declined",
            Self::Failed(_) => "failed",
            Self::Progress(_) => "progress",
            Self::Lookup => "lookup",
            Self::Nothing => "nothing",
        }
    }
}

/// A provider's name for what happened, as a word of a routing key: `charge.dispute.created` is `charge_dispute_created`.
#[must_use]
pub fn slug(event: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let word: String = event.chars().map(letter).take(LONGEST_SLUG).collect();
    let word = word.trim_matches('_');
    if word.is_empty() { "callback".to_owned() } else { word.to_owned() }
}

/// The most characters of a word made from an event's name.
const LONGEST_SLUG: usize = 63;

/// What a provider wants to read when it asks whether an endpoint is really its owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeReply {
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// True where the call had to know a token of the account to get it.
    pub needs_token: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_events_become_words_of_routing_keys() {
        for (event, word) in [
            ("charge.dispute.created", "charge_dispute_created"),
            ("AUTHORISATION", "authorisation"),
            ("tracker.updated", "tracker_updated"),
            ("PAYMENT.CAPTURE.COMPLETED", "payment_capture_completed"),
            ("..#*", "callback"),
            ("", "callback"),
            ("naïve", "na_ve"),
        ] {
            assert_eq!(slug(event), word, "{event}");
        }
        assert_eq!(slug(&"x.".repeat(100)).len(), LONGEST_SLUG);
    }
}
