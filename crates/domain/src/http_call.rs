//! One HTTP call as plain data: the request that an adapter describes, and the answer that the
//! transport receives.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use url::Url;

use super::command_id::CommandId;
use super::digest::PartialDigest;
use super::outcome::Failure;

/// The record of a call, with the properties that distinguish calls.
pub trait CallRecord: DeserializeOwned + Clone + PartialEq {
    /// Returns the command of the call.
    fn command(&self) -> &CommandId;
    /// Returns the time at which the call began, by the clock of the host that made it.
    fn at(&self) -> Timestamp;
    /// Returns the command's generation, and the number of the call within it.
    fn step(&self) -> (u32, u32);
}

/// A request method that providers use.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Read something.
    Get,
    /// Do something.
    Post,
    /// Replace something.
    Put,
    /// Change something.
    Patch,
    /// Remove something.
    Delete,
}

impl HttpMethod {
    /// Returns the method as it stands in the request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A request, described but not sent.
///
/// It holds secrets (in headers, perhaps in the URL or body), so it has no readable `Debug`; the
/// log of calls masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// The whole URL, its host fixed by the provider's `base_url`.
    pub url: Url,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The names of those headers that are part of the operation's input, such as one that names an
    /// account.
    pub input_headers: Vec<String>,
    /// The encoded body; empty for none.
    pub body: Bytes,
    /// The longest time for the whole call.
    pub timeout: Duration,
}

impl HttpRequest {
    /// Returns a digest of the operation's input: method, URL, body, and the headers that are part
    /// of it. The other headers are left out, because credentials may rotate between two attempts
    /// of the same call.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = PartialDigest::new();
        for part in [self.method.as_str().as_bytes(), self.url.as_str().as_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(&self.body);
        for (name, value) in
            self.headers.iter().filter(|(name, _)| self.input_headers.contains(name))
        {
            for part in [name, value] {
                hash.update([0]);
                hash.update(part);
            }
        }
        hash.finish()
    }
}

impl HttpRequest {
    /// Returns true if the request contains a text of letters, digits, `-` and `_`, which no
    /// encoding changes.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let in_headers = || self.headers.iter().any(|(_, value)| value.contains(text));
        let in_body = || self.body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        text.is_empty() || self.url.as_str().contains(text) || in_headers() || in_body()
    }
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request({} {}, {} body bytes)",
            self.method.as_str(),
            self.url.path(),
            self.body.len()
        )
    }
}

/// A provider's complete answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, with their values; bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// The body, at most the maximum response size.
    pub body: Bytes,
}

impl HttpReply {
    /// Returns the first value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The result of sending a request.
#[derive(Debug, Clone, PartialEq)]
pub enum CallResult {
    /// Nothing of the request reached the provider: DNS, connect or TLS failed.
    NotSent(Failure),
    /// The request, or a part of it, was sent, and no complete answer came.
    Incomplete(Failure),
    /// A complete answer.
    Reply(HttpReply),
}
