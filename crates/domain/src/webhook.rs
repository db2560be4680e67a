//! A provider's webhook as plain data, before and after its verification.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::command_id::CommandId;
use super::digest::PartialDigest;
use super::money::StatedAmount;
use super::outcome::{Failure, Success};

/// A webhook as it arrived, unverified.
///
/// It may hold personal data and signatures, so it has no readable `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct RawWebhook {
    /// The request method in upper case: `POST`, or `GET` where a provider verifies its endpoint.
    pub method: String,
    /// The URL as the provider called it: the configured public address with the call's own path
    /// and query.
    pub url: Url,
    /// Header names in lower case, with their values, in the order of arrival; bytes that are not
    /// UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
    /// The certificate that the call names as its signer's, where it is needed and was fetched. The
    /// certificate is not part of the call itself.
    pub certificate: Option<Bytes>,
}

impl RawWebhook {
    /// Returns the first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the first value of a parameter of the query, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for RawWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawWebhook({} {}, {} body bytes)", self.method, self.url.path(), self.body.len())
    }
}

/// The reason why the verification of a webhook failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum VerificationError {
    /// A part that the signature needs is missing or can't be read.
    #[error("the call carries no signature that can be read")]
    Unsigned,
    /// The URL that was called has no token.
    #[error("the URL that was called has no token of ferryd's in the parameter `ferry`")]
    NoToken,
    /// The token in the URL that was called is not one that ferryd made for this account.
    #[error(
        "the token in the URL that was called is none that ferryd made for this account with one of its keys"
    )]
    ForgedToken,
    /// The signature matches none of the secrets.
    #[error("the signature matches none of the secrets")]
    Forged,
    /// The signer's certificate leads to no authority that is trusted.
    #[error("the certificate of its signature leads to no authority that is trusted")]
    Untrusted,
    /// The call was signed too long ago, or too far in the future.
    #[error("it was signed too long ago, or in the future")]
    Stale,
}

/// One notice of a verified webhook: an item about at most one command.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookNotice {
    /// The provider's name for the event, such as `charge.dispute.created`.
    pub event: Option<String>,
    /// The provider's id of the notice: the same when the provider repeats the call.
    pub id: Option<String>,
    /// The command that the notice is about, where the call names it.
    pub command: Option<CommandId>,
    /// The token beside the command's id, which may prove that id.
    pub token: Option<String>,
    /// The generation of the command's calls that the notice is about, where a token proves it and
    /// the command.
    pub generation: Option<u32>,
    /// The provider's own id of the object that the notice is about.
    pub reference: Option<String>,
    /// The meaning of the notice for the command.
    pub meaning: NoticeMeaning,
    /// The amount that the notice states as done, where the provider's file selects one.
    pub amount: Option<StatedAmount>,
    /// The whole notice.
    pub body: Value,
}

/// One notice of an unverified call: what it is about, and nothing else of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnverifiedNotice {
    /// The provider's name for the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The provider's own id of the object that the notice is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// A digest of event, reference and the provider's id of the notice, in hexadecimal: the same
    /// when the provider repeats the call.
    pub digest: String,
    /// True where the provider is to be queried because of the notice.
    pub starts_query: bool,
}

impl UnverifiedNotice {
    /// Reduces a notice to what it is about.
    #[must_use]
    pub fn of(notice: &WebhookNotice) -> Self {
        let WebhookNotice { event, id, reference, meaning, .. } = notice;
        let mut hash = PartialDigest::new();
        for part in [event, id, reference] {
            let part = part.as_deref().unwrap_or_default().as_bytes();
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finish();
        // A final outcome in an unverified notice does not count: the provider is queried instead.
        let starts_query = !matches!(meaning, NoticeMeaning::Progress(_) | NoticeMeaning::Nothing);
        Self { event: event.clone(), reference: reference.clone(), digest, starts_query }
    }
}

impl From<UnverifiedNotice> for WebhookNotice {
    fn from(UnverifiedNotice { event, reference, digest, starts_query }: UnverifiedNotice) -> Self {
        let meaning = if starts_query { NoticeMeaning::Lookup } else { NoticeMeaning::Nothing };
        Self {
            event,
            id: Some(digest),
            command: None,
            token: None,
            generation: None,
            reference,
            meaning,
            amount: None,
            body: Value::Null,
        }
    }
}

/// The meaning of a notice for the command that it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum NoticeMeaning {
    /// The provider has done what the command requests.
    Completed(Success),
    /// The provider's business "no".
    Declined(Failure),
    /// The provider had accepted the command, and failed to carry it out for reasons of its own.
    Failed(Failure),
    /// The provider is still at work; with the result known so far.
    Progress(Option<Value>),
    /// The notice is worth a query of the provider: the notice alone decides nothing.
    Lookup,
    /// The notice concerns nothing of the command's own end.
    Nothing,
}

impl NoticeMeaning {
    /// Returns the name of the meaning in provider files and events.
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

/// Converts a provider's event name to a word of a routing key: `charge.dispute.created` becomes
/// `charge_dispute_created`.
#[must_use]
pub fn slug(event: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    let word: String = event.chars().map(letter).take(LONGEST_SLUG).collect();
    let word = word.trim_matches('_');
    if word.is_empty() { "webhook".to_owned() } else { word.to_owned() }
}

/// The maximum length of a word made from an event's name, in characters.
const LONGEST_SLUG: usize = 63;

/// The reply to a provider that verifies the owner of an endpoint by a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeReply {
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// True where the caller had to know a token of the account to get the reply.
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
            ("..#*", "webhook"),
            ("", "webhook"),
            ("naïve", "na_ve"),
        ] {
            assert_eq!(slug(event), word, "{event}");
        }
        assert_eq!(slug(&"x.".repeat(100)).len(), LONGEST_SLUG);
    }
}
