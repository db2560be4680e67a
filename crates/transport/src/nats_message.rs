//! A message as NATS carries it.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use ferryd_domain::message_call::{MessageAddress, MessageRequest};
use ferryd_domain::outcome::Failure;

/// The header by which a stream recognises a repeat.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A message ready to be published.
pub(super) struct NatsMessage {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl NatsMessage {
    /// Converts a message.
    ///
    /// # Errors
    /// A [`Failure`] with the code `invalid_message`, for a text that would end its line. Such a
    /// message is refused when it is rendered; this is the second line of defence.
    pub(super) fn new(message: &MessageRequest) -> Result<Self, Failure> {
        let MessageAddress::Nats { subject } = &message.address else {
            return Err(Failure::new("wrong_link", "the provider is not reached in this way"));
        };
        if subject.is_empty() || subject.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid("subject"));
        }
        let mut headers = HeaderMap::new();
        let own = message.content_type.map(|kind| ("Content-Type", kind));
        let stated = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let id = (MESSAGE_ID, message.message_id.as_str());
        for (name, value) in own.into_iter().chain(stated).chain([id]) {
            let header: HeaderName = name.parse().map_err(|_| invalid(name))?;
            let value: HeaderValue = value.parse().map_err(|_| invalid(name))?;
            headers.insert(header, value);
        }
        Ok(Self { subject: subject.clone(), headers, body: message.body.clone() })
    }
}

fn invalid(place: &str) -> Failure {
    let text = format!("{} has a character that NATS does not carry", place.escape_debug());
    Failure::new("invalid_message", text)
}

#[cfg(test)]
#[path = "nats_message_tests.rs"]
mod tests;
