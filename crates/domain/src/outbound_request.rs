//! A request to a provider, whichever way it goes.

use std::time::Duration;

use super::http_call::HttpRequest;
use super::message_call::MessageRequest;

/// A request to a provider, described but not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundRequest {
    /// An HTTP request.
    Http(HttpRequest),
    /// A message to the provider's broker.
    Message(MessageRequest),
}

impl OutboundRequest {
    /// Returns the HTTP request; `None` for a message.
    #[must_use]
    pub fn into_http(self) -> Option<HttpRequest> {
        match self {
            Self::Http(request) => Some(request),
            Self::Message(_) => None,
        }
    }

    /// Returns a digest of the operation's input, without the credentials.
    #[must_use]
    pub fn digest(&self) -> String {
        match self {
            Self::Http(request) => request.digest(),
            Self::Message(message) => message.digest(),
        }
    }

    /// Returns true if the request contains a text of letters, digits, `-` and `_`, which no
    /// encoding changes.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Http(request) => request.holds(text),
            Self::Message(message) => message.holds(text),
        }
    }

    /// Returns the longest time for the whole call.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        match self {
            Self::Http(request) => request.timeout,
            Self::Message(message) => message.timeout,
        }
    }
}
