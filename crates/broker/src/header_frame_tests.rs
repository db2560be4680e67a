use lapin::protocol::basic::gen_properties;
use lapin::types::{ByteArray, DecimalValue, FieldArray, LongString};
use proptest::prelude::*;

use super::*;

/// Returns the size of the frame that lapin writes, envelope included.
fn written(properties: &BasicProperties) -> usize {
    let (bytes, _) = gen_properties(properties)(Vec::new().into()).unwrap().into_inner();
    // The bytes include the two of the flags.
    FRAME + FIXED - 2 + bytes.len()
}

fn long(bytes: usize) -> AMQPValue {
    AMQPValue::LongString(LongString::from("x".repeat(bytes)))
}

fn with_headers(headers: &[(&str, AMQPValue)]) -> BasicProperties {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(ShortString::try_new(*name).unwrap(), value.clone());
    }
    BasicProperties::default().with_headers(table)
}

fn message(properties: BasicProperties) -> OutgoingMessage {
    OutgoingMessage {
        exchange: "e".into(),
        routing_key: "k".into(),
        properties,
        body: b"{}".to_vec(),
    }
}

fn value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        Just(AMQPValue::Float(1.5)),
        Just(AMQPValue::Double(1.5)),
        Just(AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 7 })),
        Just(AMQPValue::Void),
        ".{0,20}".prop_map(|text| AMQPValue::ShortString(ShortString::try_new(text).unwrap())),
        ".{0,300}".prop_map(|text| AMQPValue::LongString(LongString::from(text))),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| AMQPValue::ByteArray(ByteArray::from(bytes))),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| AMQPValue::FieldArray(FieldArray::from(items))),
            prop::collection::vec(("[a-z]{1,9}", inner), 0..4).prop_map(|entries| {
                let mut table = FieldTable::default();
                for (name, value) in entries {
                    table.insert(ShortString::try_new(name).unwrap(), value);
                }
                AMQPValue::FieldTable(table)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_header_frame_is_as_large_as_lapin_writes_it(
        headers in prop::option::of(prop::collection::vec(("[a-z-]{1,60}", value()), 0..6)),
        texts in prop::collection::vec(prop::option::of(".{0,40}"), 10),
        (mode, priority, timestamp) in any::<(Option<u8>, Option<u8>, Option<u64>)>(),
    ) {
        let mut properties = BasicProperties::default();
        if let Some(headers) = headers {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            properties = with_headers(&headers);
        }
        let setters = [
            BasicProperties::with_content_type, BasicProperties::with_content_encoding, BasicProperties::with_correlation_id,
            BasicProperties::with_reply_to, BasicProperties::with_expiration, BasicProperties::with_message_id,
            BasicProperties::with_type, BasicProperties::with_user_id, BasicProperties::with_app_id,
            BasicProperties::with_cluster_id,
        ];
        for (set, text) in setters.into_iter().zip(texts) {
            if let Some(text) = text {
                properties = set(properties, ShortString::try_new(text).unwrap());
            }
        }
        properties = mode.into_iter().fold(properties, BasicProperties::with_delivery_mode);
        properties = priority.into_iter().fold(properties, BasicProperties::with_priority);
        properties = timestamp.into_iter().fold(properties, BasicProperties::with_timestamp);
        prop_assert_eq!(header_frame_size(&properties), written(&properties));
    }
}

#[test]
fn the_broker_has_room_left_in_a_frame_of_any_size() {
    for (frame_max, largest) in [(4_096, 3_072), (16_384, 13_312), (131_072, 128_000)] {
        assert_eq!(largest_header_frame(frame_max), largest);
    }
}

#[test]
fn a_message_that_does_not_fit_loses_its_publishers_headers_first() {
    let large = message(
        with_headers(&[("ferry-kind", long(20)), ("tenant", long(200_000))])
            .with_message_id("m".into()),
    );
    let fitting = fit_header_frame(&large, 131_072).unwrap().into_owned();
    assert_eq!(
        fitting,
        message(with_headers(&[("ferry-kind", long(20))]).with_message_id("m".into()))
    );
    let own = message(with_headers(&[("ferry-history", long(130_000))]));
    assert_eq!(fit_header_frame(&own, 131_072), None);
    let small = message(with_headers(&[("ferry-history", long(120_000)), ("tenant", long(5_000))]));
    assert_eq!(fit_header_frame(&small, 131_072), Some(Cow::Borrowed(&small)));
}
