//! A message's properties and headers in a form that can be printed.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};

use ferryd_broker::headers::DEAD;

/// The properties that are there, with the headers last; without ferryd's own record, which is
/// shown by itself.
#[must_use]
pub fn to_json(properties: &BasicProperties) -> Map<String, Value> {
    let text =
        |value: &Option<lapin::types::ShortString>| value.as_ref().map(|text| json!(text.as_str()));
    let number = |value: Option<u64>| value.map(|number| json!(number));
    let fields = [
        ("content_type", text(properties.content_type())),
        ("content_encoding", text(properties.content_encoding())),
        ("delivery_mode", number(properties.delivery_mode().map(u64::from))),
        ("priority", number(properties.priority().map(u64::from))),
        ("correlation_id", text(properties.correlation_id())),
        ("reply_to", text(properties.reply_to())),
        ("expiration", text(properties.expiration())),
        ("message_id", text(properties.message_id())),
        ("timestamp", number(*properties.timestamp())),
        ("type", text(properties.kind())),
        ("user_id", text(properties.user_id())),
        ("app_id", text(properties.app_id())),
        (
            "headers",
            properties.headers().as_ref().map(table).filter(|headers| *headers != json!({})),
        ),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn table(table: &FieldTable) -> Value {
    let fields = table.inner().iter().filter(|(name, _)| name.as_str() != DEAD);
    fields.map(|(name, field)| (name.to_string(), value(field))).collect::<Map<_, _>>().into()
}

fn value(field: &AMQPValue) -> Value {
    match field {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::DecimalValue(value) => json!({ "scale": value.scale, "value": value.value }),
        AMQPValue::ShortString(value) => json!(value.as_str()),
        AMQPValue::LongString(value) => json!(String::from_utf8_lossy(value.as_bytes())),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(self::value).collect(),
        AMQPValue::FieldTable(fields) => table(fields),
        AMQPValue::ByteArray(value) => json!(value.as_slice()),
        AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_shown_and_the_record_is_left_out() {
        let mut headers = FieldTable::default();
        headers.insert(DEAD.into(), AMQPValue::LongString("{}".into()));
        headers.insert("tenant".into(), AMQPValue::LongString("eu".into()));
        headers.insert(
            "tries".into(),
            AMQPValue::FieldArray(vec![AMQPValue::LongInt(1), AMQPValue::Void].into()),
        );
        let properties =
            BasicProperties::default().with_message_id("a".into()).with_headers(headers);
        let expected =
            json!({ "message_id": "a", "headers": { "tenant": "eu", "tries": [1, null] } });
        assert_eq!(Value::Object(to_json(&properties)), expected);
    }
}
