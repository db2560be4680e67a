//! A message as AMQP carries it, measured before it is sent.
//!
//! A name or a header frame that is too long would end the connection, and with it put every other
//! message on that connection in doubt. So such a message is refused here.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use ferryd_domain::message_call::{MessageAddress, MessageRequest};
use ferryd_domain::outcome::Failure;

/// The delivery mode of a message that survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// The maximum size of a name, key or id in AMQP 0-9-1, in bytes.
const LONGEST_SHORT_TEXT: usize = 255;

/// The bytes of a header frame besides its properties: the envelope of eight, class, weight, size of
/// the body and property flags (sections 2.3.5 and 4.2.6.1 of AMQP 0-9-1).
const HEADER_FRAME: usize = 8 + 2 + 2 + 8 + 2;

/// The bytes reserved for the broker's additions to a message on its way: counts of deliveries and
/// deaths, and times.
const RESERVE: usize = 3_072;

/// A message ready to be published.
pub(super) struct AmqpMessage {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    header_frame: usize,
}

impl AmqpMessage {
    /// Converts a message.
    ///
    /// # Errors
    /// A [`Failure`] with the code `too_large`, for a text that is longer than AMQP allows.
    pub(super) fn new(message: &MessageRequest) -> Result<Self, Failure> {
        let MessageAddress::Amqp { exchange, routing_key } = &message.address else {
            return Err(Failure::new("wrong_link", "the provider is not reached in this way"));
        };
        let content_type = message.content_type.unwrap_or_default();
        let message_id = short_text("message id", &message.message_id)?;
        let mut properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(message_id);
        let mut size = HEADER_FRAME + 1 + 1 + message.message_id.len();
        if message.content_type.is_some() {
            properties = properties.with_content_type(short_text("content type", content_type)?);
            size += 1 + content_type.len();
        }
        if !message.headers.is_empty() {
            let mut headers = FieldTable::default();
            size += 4;
            for (name, value) in &message.headers {
                let short = short_text("name of a header", name)?;
                headers.insert(short, AMQPValue::LongString(value.as_str().into()));
                size += 1 + name.len() + 1 + 4 + value.len();
            }
            properties = properties.with_headers(headers);
        }
        Ok(Self {
            exchange: short_text("exchange", exchange)?,
            routing_key: short_text("routing key", routing_key)?,
            properties,
            body: message.body.clone(),
            header_frame: size,
        })
    }

    /// Returns an error with the code `too_large` where the headers do not fit into a frame, as
    /// negotiated with the broker.
    pub(super) fn check_header_frame(&self, frame_max: u32) -> Result<(), Failure> {
        let largest = largest_header_frame(frame_max);
        if self.header_frame <= largest {
            return Ok(());
        }
        let size = self.header_frame;
        Err(Failure::new(
            "too_large",
            format!(
                "the headers of the message need {size} bytes; at most {largest} are sent: \
                 move data into the body"
            ),
        ))
    }
}

fn largest_header_frame(frame_max: u32) -> usize {
    let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    frame_max - RESERVE.min(frame_max / 4)
}

fn short_text(subject: &str, text: &str) -> Result<ShortString, Failure> {
    if text.len() > LONGEST_SHORT_TEXT {
        let size = text.len();
        return Err(Failure::new(
            "too_large",
            format!("the {subject} has {size} bytes; AMQP allows {LONGEST_SHORT_TEXT}"),
        ));
    }
    Ok(text.into())
}

#[cfg(test)]
#[path = "amqp_message_tests.rs"]
mod tests;
