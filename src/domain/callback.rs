//! A provider's webhook call as plain data, before and after it is believed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use url::Url;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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

/// What a provider wants to read when it asks whether an endpoint is really its owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeReply {
    /// The media type.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}
