//! The size of a message's content header frame, which AMQP 0-9-1 does not split.
//!
//! Properties and headers of a message travel in one frame (section 4.2.6.1 of the specification).
//! A broker closes a connection that publishes a larger frame than was negotiated, with 501, and
//! every unconfirmed message of that connection has to be published again. So a message is measured
//! before it is sent.

use std::borrow::Cow;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::message::OutgoingMessage;

/// The bytes of a frame besides its payload: type, channel and size before it, and one octet after
/// it.
const FRAME: usize = 7 + 1;
/// The bytes of the fixed fields: class, weight, size of the body and property flags.
const FIXED: usize = 2 + 2 + 8 + 2;
/// The bytes reserved for the broker's additions to a message on its way: counts of deliveries and
/// deaths, and times.
const RESERVE: usize = 3_072;

/// Returns the maximum size in bytes of a header frame that is sent where `frame_max` was
/// negotiated.
#[must_use]
pub fn largest_header_frame(frame_max: u32) -> usize {
    let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    frame_max - RESERVE.min(frame_max / 4)
}

/// Returns the size in bytes of the content header frame of a message with these properties.
#[must_use]
pub fn header_frame_size(properties: &BasicProperties) -> usize {
    let octet = |value: &Option<u8>| value.map_or(0, |_| 1);
    let texts = [
        properties.content_type(),
        properties.content_encoding(),
        properties.correlation_id(),
        properties.reply_to(),
        properties.expiration(),
        properties.message_id(),
        properties.kind(),
        properties.user_id(),
        properties.app_id(),
        properties.cluster_id(),
    ];
    let texts: usize = texts.into_iter().flatten().map(size_of_short).sum();
    let headers = properties.headers().as_ref().map_or(0, |table| 4 + size_of_table(table));
    let timestamp = properties.timestamp().map_or(0, |_| 8);
    let octets = octet(properties.delivery_mode()) + octet(properties.priority());
    FRAME + FIXED + texts + headers + timestamp + octets
}

/// Fits a message to `frame_max` as negotiated: the publisher's own headers, which ferryd does not
/// need, are left out where they do not fit. `None` where the message would be too large even so.
#[must_use]
pub fn fit_header_frame(
    message: &OutgoingMessage,
    frame_max: u32,
) -> Option<Cow<'_, OutgoingMessage>> {
    let largest = largest_header_frame(frame_max);
    let fits = |properties: &BasicProperties| header_frame_size(properties) <= largest;
    if fits(&message.properties) {
        return Some(Cow::Borrowed(message));
    }
    let mut own = FieldTable::default();
    for (name, value) in message.properties.headers().iter().flat_map(FieldTable::inner) {
        if name.as_str().starts_with("ferry-") {
            own.insert(name.clone(), value.clone());
        }
    }
    let properties = message.properties.clone().with_headers(own);
    fits(&properties).then(|| Cow::Owned(OutgoingMessage { properties, ..message.clone() }))
}

/// Returns the size in bytes of a header table, without the four bytes of its length.
pub(super) fn size_of_table(table: &FieldTable) -> usize {
    table.inner().iter().map(|(name, value)| size_of_short(name) + 1 + size_of_value(value)).sum()
}

fn size_of_short(text: &ShortString) -> usize {
    1 + text.as_str().len()
}

fn size_of_value(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::Void => 0,
        AMQPValue::Boolean(_) | AMQPValue::ShortShortInt(_) | AMQPValue::ShortShortUInt(_) => 1,
        AMQPValue::ShortInt(_) | AMQPValue::ShortUInt(_) => 2,
        AMQPValue::LongInt(_) | AMQPValue::LongUInt(_) | AMQPValue::Float(_) => 4,
        AMQPValue::DecimalValue(_) => 5,
        AMQPValue::LongLongInt(_) | AMQPValue::Double(_) | AMQPValue::Timestamp(_) => 8,
        AMQPValue::ShortString(text) => size_of_short(text),
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.as_slice().len(),
        AMQPValue::FieldTable(table) => 4 + size_of_table(table),
        AMQPValue::FieldArray(items) => {
            4 + items.as_slice().iter().map(|item| 1 + size_of_value(item)).sum::<usize>()
        }
    }
}

#[cfg(test)]
#[path = "header_frame_tests.rs"]
mod tests;
