//! One message to a provider as plain data: the message that an adapter describes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use url::Url;

use super::digest::PartialDigest;
use super::outcome::Failure;

/// A message, described but not published.
///
/// A message may hold secrets, so it has no readable `Debug`; the log of calls masks it.
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
    /// NATS JetStream.
    Nats {
        /// The subject.
        subject: String,
    },
}

impl MessageAddress {
    /// Lists the parts of the address with the names that people write.
    fn parts(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Amqp { exchange, routing_key } => {
                vec![("exchange", exchange.as_str()), ("routing_key", routing_key.as_str())]
            }
            Self::Nats { subject } => vec![("subject", subject.as_str())],
        }
    }

    /// The part that a command may choose.
    fn chosen_part(&self) -> &str {
        match self {
            Self::Amqp { routing_key, .. } => routing_key,
            Self::Nats { subject } => subject,
        }
    }

    /// The name of the property that holds the message's id.
    fn id_name(&self) -> &'static str {
        match self {
            Self::Amqp { .. } => "message-id",
            Self::Nats { .. } => "Nats-Msg-Id",
        }
    }
}

/// The result of publishing a message.
#[derive(Debug, Clone, PartialEq)]
pub enum MessageResult {
    /// The broker has certainly not taken the message: it was unreachable, it refused the message,
    /// or no queue is bound and no stream listens.
    NotSent(Failure),
    /// The message, or a part of it, was sent, and it is unknown whether the broker has taken it.
    Incomplete(Failure),
    /// The broker has taken the message and routed it to a queue, or stored it in a stream.
    Acknowledged,
}

impl MessageRequest {
    /// Returns the address as a URL, for people: the broker, then exchange and routing key, or the
    /// subject.
    #[must_use]
    pub fn url(&self) -> Url {
        let mut url = self.server.clone();
        url.query_pairs_mut().extend_pairs(self.address.parts());
        url
    }

    /// Lists the headers with the properties that are shown like them: the id and the content type.
    #[must_use]
    pub fn shown_headers(&self) -> Vec<(String, String)> {
        let content_type =
            self.content_type.map(|kind| ("content-type".to_owned(), kind.to_owned()));
        let id = (self.address.id_name().to_owned(), self.message_id.clone());
        content_type.into_iter().chain([id]).chain(self.headers.iter().cloned()).collect()
    }

    /// Returns a digest of the operation's input: address, headers and body.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = PartialDigest::new();
        let parts = self.address.parts().into_iter().map(|(_, part)| part);
        for part in ["publish", self.server.as_str()].into_iter().chain(parts) {
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
        let in_headers = || self.headers.iter().any(|(_, value)| value.contains(text));
        let in_body = || self.body.windows(text.len().max(1)).any(|part| part == text.as_bytes());
        text.is_empty() || self.address.chosen_part().contains(text) || in_headers() || in_body()
    }
}

impl fmt::Debug for MessageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} body bytes)", self.address, self.body.len())
    }
}
