use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::super::expression_scope::ScopeVariable;
use super::*;

fn compile(source: &str) -> Result<TextTemplate, ExpressionError> {
    TextTemplate::compile(source, &KnownVariables::in_request(&BTreeSet::new()))
}

fn scope() -> ExpressionScope<'static> {
    let payload = || json!({"n": 7, "s": "a b", "t": true, "f": 20.2, "no": null, "list": [1], "map": {"x": 1}});
    ExpressionScope::new([("payload", ScopeVariable::made(payload))])
}

#[test]
fn expressions_within_a_text_make_a_text() {
    let table = [
        ("plain", json!("plain")),
        ("", json!("")),
        ("{{ payload.n }}", json!(7)),
        ("{{payload.n}}", json!(7)),
        (" {{ payload.n }}", json!(" 7")),
        ("{{ payload.n }}{{ payload.t }}/{{ payload.f }}", json!("7true/20.2")),
        ("{{ '}}' }}", json!("}}")),
        ("{{ {'a': {'b': 1}} }}", json!({"a": {"b": 1}})),
        ("{{ {'a': {'b': 1}}.a.b }}x", json!("1x")),
        ("a } b", json!("a } b")),
        ("{ \"json\": \"{{ payload.s }}\" }", json!("{ \"json\": \"a b\" }")),
        ("{{ payload.map | tojson }}!", json!("{\"x\": 1}!")),
    ];
    for (source, expected) in table {
        assert_eq!(compile(source).unwrap().json(&scope()), Ok(Some(expected)), "{source}");
    }
}

#[test]
fn nothing_within_a_text_is_an_error_and_not_an_empty_text() {
    for source in [
        "x{{ payload.missing }}",
        "x{{ payload.no }}",
        "x{{ none }}",
        "x{{ payload.list }}",
        "x{{ payload.map }}",
    ] {
        assert!(compile(source).unwrap().json(&scope()).is_err(), "{source}");
    }
}

#[test]
fn as_text_a_value_is_a_scalar_or_left_out() {
    let table = [
        ("{{ payload.n }}", Ok(Some("7"))),
        ("{{ payload.missing }}", Ok(None)),
        ("{{ payload.list }}", Err(())),
    ];
    for (source, expected) in table {
        let text = compile(source).unwrap().string(&scope()).map_err(|_| ());
        assert_eq!(text, expected.map(|text| text.map(str::to_owned)), "{source}");
    }
}

#[test]
fn statements_and_open_expressions_are_refused() {
    for source in ["{% if x %}", "{# note #}", "{{ payload.a", "{{ payload.a }", "{{ 'x }}"] {
        assert!(compile(source).is_err(), "{source}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "[ -~ä{}'\"|.%]{0,60}") {
        if let Ok(text) = compile(&source) {
            let _ = text.json(&scope());
        }
    }
}
