//! One message to a provider as plain data: the message that an adapter describes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::digest::PartialDigest;
use super::outcome::Failure;

/// A message, described but not published.
///
/// It may hold secrets, so it has no readable `Debug`; the log of calls masks it.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageRequest {
    /// The address of the broker, without credentials.
    pub server: Url,
    /// The place at the broker to which the message is published.
    pub address: MessageAddress,
    /// The id of the message, by which its receiver recognises a repeat: the idempotency key, where
    /// the operation has one.
    pub message_id: String,
    /// The content type of the body; `None` for no body.
    pub content_type: Option<&'static str>,
    /// The headers, with their values.
    pub headers: Vec<(String, String)>,
    /// The encoded body; empty for none.
    pub body: Bytes,
    /// The longest time for connecting, publishing and the broker's confirm together.
    pub timeout: Duration,
}

/// The place at a broker to which a message is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageAddress {
    /// AMQP 0-9-1.
    Amqp {
        /// The exchange; empty for the default exchange, which routes to queues by their names.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
}

/// The result of publishing a message.
#[derive(Debug, Clone, PartialEq)]
pub enum MessageResult {
    /// The broker has certainly not taken the message: it was unreachable, it refused the message,
    /// or no queue is bound.
    NotSent(Failure),
    /// The message, or a part of it, was sent, and it is unknown whether the broker has taken it.
    Incomplete(Failure),
    /// The broker has taken the message and routed it to a queue.
    Acknowledged,
}

impl MessageRequest {
    /// Returns the address as a URL, for people: broker, exchange and routing key.
    #[must_use]
    pub fn url(&self) -> Url {
        let mut url = self.server.clone();
        let MessageAddress::Amqp { exchange, routing_key } = &self.address;
        url.query_pairs_mut()
            .append_pair("exchange", exchange)
            .append_pair("routing_key", routing_key);
        url
    }

    /// Lists the headers with the properties that are shown like them: the id and the content type.
    #[must_use]
    pub fn shown_headers(&self) -> Vec<(String, String)> {
        let content_type =
            self.content_type.map(|kind| ("content-type".to_owned(), kind.to_owned()));
        let id = ("message-id".to_owned(), self.message_id.clone());
        content_type.into_iter().chain([id]).chain(self.headers.iter().cloned()).collect()
    }

    /// Returns a digest of the operation's input: address, headers and body.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = PartialDigest::new();
        let MessageAddress::Amqp { exchange, routing_key } = &self.address;
        for part in ["publish", self.server.as_str(), exchange, routing_key] {
            hash.update(part);
            hash.update([0]);
        }
        hash.update(&self.body);
        for part in self.headers.iter().flat_map(|(name, value)| [name, value]) {
            hash.update([0]);
            hash.update(part);
        }
        hash.finish()
    }

    /// Returns true if the message contains a text of letters, digits, `-` and `_`, which no
    /// encoding changes.
    #[must_use]
    pub fn holds(&self, text: &str) -> bool {
        let MessageAddress::Amqp { routing_key, .. } = &self.address;
        let in_headers = || self.headers.iter().any(|(_, value)| value.contains(text));
        let in_body = || self.body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        text.is_empty() || routing_key.contains(text) || in_headers() || in_body()
    }
}

impl fmt::Debug for MessageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} body bytes)", self.address, self.body.len())
    }
}
