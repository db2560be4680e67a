//! The properties and headers of a message of AMQP, as headers of a webhook.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The header with the property `message_id`.
pub const MESSAGE_ID: &str = "message-id";

const CORRELATION_ID: &str = "correlation-id";
const KIND: &str = "type";
const ROUTING_KEY: &str = "routing-key";
const CONTENT_TYPE: &str = "content-type";

/// The names of properties; a message's own headers cannot have them.
const PROPERTIES: [&str; 5] = [MESSAGE_ID, CORRELATION_ID, KIND, ROUTING_KEY, CONTENT_TYPE];

/// Reads the properties that name a message, then its own headers, with their names in lower case.
/// A header that is a list or a table is left out.
pub(super) fn read_headers(
    properties: &BasicProperties,
    routing_key: &str,
) -> Vec<(String, String)> {
    let of_properties = [
        (MESSAGE_ID, properties.message_id()),
        (CORRELATION_ID, properties.correlation_id()),
        (KIND, properties.kind()),
        (CONTENT_TYPE, properties.content_type()),
    ];
    let named = of_properties
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text.as_ref()?.to_string())))
        .chain([(ROUTING_KEY.to_owned(), routing_key.to_owned())]);
    let own = properties.headers().iter().flat_map(FieldTable::inner);
    let own = own
        .map(|(name, value)| (name.as_str().to_lowercase(), value))
        .filter(|(name, _)| !PROPERTIES.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name, text_of(value)?)));
    named.chain(own).collect()
}

fn text_of(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        AMQPValue::Boolean(value) => Some(value.to_string()),
        AMQPValue::ShortShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortShortUInt(value) => Some(value.to_string()),
        AMQPValue::ShortInt(value) => Some(value.to_string()),
        AMQPValue::ShortUInt(value) => Some(value.to_string()),
        AMQPValue::LongInt(value) => Some(value.to_string()),
        AMQPValue::LongUInt(value) => Some(value.to_string()),
        AMQPValue::LongLongInt(value) => Some(value.to_string()),
        AMQPValue::Timestamp(value) => Some(value.to_string()),
        AMQPValue::Float(value) => Some(value.to_string()),
        AMQPValue::Double(value) => Some(value.to_string()),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_cannot_be_replaced_by_headers_of_the_message() {
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("Correlation-Id", AMQPValue::LongString("forged".into())),
            ("message-id", AMQPValue::LongString("forged".into())),
            ("routing-key", AMQPValue::LongString("forged".into())),
            ("Tenant", AMQPValue::LongString("eu".into())),
            ("count", AMQPValue::LongUInt(3)),
            ("x-death", AMQPValue::FieldArray(lapin::types::FieldArray::default())),
        ] {
            headers.insert(name.into(), value);
        }
        let properties = BasicProperties::default()
            .with_message_id("m1".into())
            .with_type("order.done".into())
            .with_headers(headers);
        let read = read_headers(&properties, "answers");
        let mut read: Vec<_> =
            read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        read.sort_unstable();
        assert_eq!(
            read,
            [
                ("count", "3"),
                ("message-id", "m1"),
                ("routing-key", "answers"),
                ("tenant", "eu"),
                ("type", "order.done"),
            ]
        );
    }
}
