use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::*;

fn compiled(source: &str) -> Result<SubjectTemplate, SubjectError> {
    SubjectTemplate::compile(source, &KnownVariables::in_request(&BTreeSet::new()))
}

fn rendered(source: &str, payload: &Json) -> Result<String, SubjectValueError> {
    compiled(source).unwrap().render(&ExpressionScope::new([("payload", payload.into())]))
}

#[test]
fn a_value_stays_within_its_token() {
    assert_eq!(
        rendered("orders.{{ payload.a }}.new", &json!({"a": "north"})).unwrap(),
        "orders.north.new"
    );
    assert_eq!(rendered("orders.a-{{ payload.a }}", &json!({"a": 7})).unwrap(), "orders.a-7");
    for value in ["", "a.b", ".", "*", ">", "a b", "a\tb", "a\r\nPUB x 0", "a\u{0}", "\u{a0}"] {
        let error = rendered("orders.{{ payload.a }}", &json!({"a": value})).unwrap_err();
        assert!(error.to_string().contains("would lead elsewhere"), "{value:?}: {error}");
    }
    let error = rendered("orders.{{ payload.a }}", &json!({})).unwrap_err();
    assert!(matches!(error, SubjectValueError::Value(_)), "{error}");
}

#[test]
fn no_value_leads_to_subjects_of_the_server_or_to_one_that_is_too_long() {
    for (value, begin) in [("$JS", "$"), ("_INBOX", "_INBOX")] {
        let error = rendered("{{ payload.a }}.API", &json!({"a": value})).unwrap_err();
        assert_eq!(error, SubjectValueError::Reserved(begin));
    }
    let long = "x".repeat(LONGEST_SUBJECT);
    assert!(rendered("{{ payload.a }}", &json!({"a": long})).is_ok());
    let error = rendered("o.{{ payload.a }}", &json!({"a": long})).unwrap_err();
    assert_eq!(error, SubjectValueError::TooLong);
}

#[test]
fn a_subject_that_no_server_takes_is_a_fault_of_the_file() {
    for (source, text) in [
        ("", "empty token"),
        ("a..b", "empty token"),
        (".a", "empty token"),
        ("a.", "empty token"),
        ("orders.>", "`>` cannot stand"),
        ("orders.*", "`*` cannot stand"),
        ("or ders", "` ` cannot stand"),
        ("orders\n", "`\\n` cannot stand"),
        ("$JS.API.STREAM.PURGE.orders", "begins with `$`"),
        ("_INBOX.x", "begins with `_INBOX`"),
        ("orders.{{ body.a }}", "body"),
    ] {
        let error = compiled(source).unwrap_err().to_string();
        assert!(error.contains(text), "{source}: {error}");
    }
}
