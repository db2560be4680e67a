//! Messages on their way to the broker.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

/// The delivery mode of messages that outlive the broker.
const PERSISTENT: u8 = 2;

/// A persistent message, ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingMessage {
    /// The exchange; empty for the default exchange.
    pub exchange: ShortString,
    /// The routing key.
    pub routing_key: ShortString,
    /// The properties and headers.
    pub properties: BasicProperties,
    /// The body.
    pub body: Vec<u8>,
}

/// An error: a text has more than 255 bytes and does not fit AMQP's short string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}…` is longer than the 255 bytes AMQP takes there")]
pub struct TextTooLong(String);

/// Converts a text to AMQP's short string.
///
/// # Errors
/// [`TextTooLong`] above 255 bytes.
pub fn short_string(text: &str) -> Result<ShortString, TextTooLong> {
    ShortString::try_new(text).map_err(|_| TextTooLong(text.chars().take(40).collect()))
}

/// Converts a text to AMQP's short string, for texts that are short by construction: names have at
/// most 63 bytes, ids 128. An over-long text becomes empty, which the broker refuses.
#[must_use]
pub fn short_or_empty(text: &str) -> ShortString {
    short_string(text).unwrap_or_default()
}

/// Returns the properties of a message that the broker writes to disk before it confirms.
#[must_use]
pub fn persistent_properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(PERSISTENT)
}

/// Sets the user of the connection in the properties of a new command. The broker refuses any
/// other.
///
/// # Errors
/// [`TextTooLong`] above 255 bytes.
pub fn set_user(
    properties: BasicProperties,
    user: Option<&str>,
) -> Result<BasicProperties, TextTooLong> {
    Ok(match user {
        Some(user) => properties.with_user_id(short_string(user)?),
        None => properties,
    })
}

/// Puts a text into a header table.
pub fn put_text(headers: &mut FieldTable, name: &'static str, value: &str) {
    headers.insert(ShortString::from(name), AMQPValue::LongString(LongString::from(value)));
}

/// Reads a text from a header table.
#[must_use]
pub fn get_text<'a>(headers: Option<&'a FieldTable>, name: &str) -> Option<&'a str> {
    match headers?.inner().get(name)? {
        AMQPValue::LongString(value) => std::str::from_utf8(value.as_bytes()).ok(),
        AMQPValue::ShortString(value) => Some(value.as_str()),
        _ => None,
    }
}

/// Reads a whole number from a header table, whatever width its publisher chose.
#[must_use]
pub fn get_number(headers: Option<&FieldTable>, name: &str) -> Option<i64> {
    match *headers?.inner().get(name)? {
        AMQPValue::ShortShortInt(value) => Some(value.into()),
        AMQPValue::ShortShortUInt(value) => Some(value.into()),
        AMQPValue::ShortInt(value) => Some(value.into()),
        AMQPValue::ShortUInt(value) => Some(value.into()),
        AMQPValue::LongInt(value) => Some(value.into()),
        AMQPValue::LongUInt(value) => Some(value.into()),
        AMQPValue::LongLongInt(value) => Some(value),
        _ => None,
    }
}
