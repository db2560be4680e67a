use proptest::prelude::*;
use serde_json::json;

use super::*;

fn written(write: impl FnOnce(&mut JsonWriter<'_>)) -> String {
    let mut json = String::new();
    write(&mut JsonWriter::new(&mut json));
    json
}

#[test]
fn every_character_is_written_as_serde_writes_it_wherever_it_stands() {
    for c in ('\0'..='\u{2100}').chain(['\u{ffff}', '🦀', '\u{10ffff}']) {
        for before in 0..9 {
            let text = format!("{:before$}{c}{c}a", "");
            let expected = serde_json::to_string(&text).unwrap();
            assert_eq!(written(|json| json.text("", &text)), expected);
        }
    }
}

#[test]
fn numbers_flags_and_times_are_written_as_serde_writes_them() {
    for number in [0, 1, 9, 10, 4_096, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
        assert_eq!(written(|json| json.number("\"n\":", number)), format!("\"n\":{number}"));
    }
    assert_eq!(written(|json| json.flag(",", true)), ",true");
    assert_eq!(written(|json| json.flag("", false)), "false");
    let at = Timestamp::new(1_764_592_496, 120_000_000).unwrap();
    assert_eq!(written(|json| json.time("", at)), serde_json::to_string(&at).unwrap());
}

#[test]
fn a_member_that_is_absent_is_left_out() {
    let member = |is_there: bool| {
        written(|json| {
            json.raw_if(is_there, "\"a\":true");
            json.optional_text(",\"b\":", is_there.then_some("c"));
        })
    };
    assert_eq!((member(true).as_str(), member(false).as_str()), ("\"a\":true,\"b\":\"c\"", ""));
    assert_eq!(written(|json| json.serialized("1,", &json!({"a": [1]}))), "1,{\"a\":[1]}");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    r#"([a-z ~]{0,9}["\\\x00\x1f\x7f\x80é\u{200b}🦀]?){0,5}"#
}

proptest! {
    #[test]
    fn any_value_is_written_as_serde_writes_it(value in any_value()) {
        prop_assert_eq!(&*value.to_json(), serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn any_text_is_written_as_serde_writes_it(text in any::<String>()) {
        prop_assert_eq!(written(|json| json.text("", &text)), serde_json::to_string(&text).unwrap());
    }
}
