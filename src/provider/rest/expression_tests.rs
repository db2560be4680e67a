use serde_json::json;

use super::*;

fn secrets() -> BTreeSet<String> {
    BTreeSet::from(["api_key".to_owned()])
}

fn compile(source: &str) -> Result<Expression, ExpressionError> {
    Expression::compile(source, &Known::in_request(&secrets()))
}

fn scope() -> Scope {
    let payload = json!({
        "amount": 9_007_199_254_740_993_i64, "big": u64::MAX, "price": 20.2, "name": "Ann", "no": null, "yes": true,
        "items": [{"sku": "a"}, {"sku": "b"}], "map": {"a": 1, "b": 2}
    });
    let variables = [("payload", from_json(&payload)), ("body", unreadable("not there"))];
    Scope::new(variables.map(|(name, value)| (name.to_owned(), value)).into())
}

fn json_of(source: &str) -> Result<Option<Json>, EvalError> {
    compile(source).unwrap().json(&scope())
}

#[test]
fn one_expression_keeps_its_type() {
    let table = [
        ("payload.amount", json!(9_007_199_254_740_993_i64)),
        ("payload.big", json!(u64::MAX)),
        ("payload.price", json!(20.2)),
        ("payload.yes", json!(true)),
        ("payload.items[1].sku", json!("b")),
        ("payload['name']", json!("Ann")),
        ("payload.map", json!({"a": 1, "b": 2})),
        ("payload.items", json!([{"sku": "a"}, {"sku": "b"}])),
        ("payload.amount | decimal('EUR')", json!("90071992547409.93")),
        ("payload.name | lower", json!("ann")),
        ("payload.missing.deep | default('x')", json!("x")),
        ("payload.missing[3].deep | default('x')", json!("x")),
        ("payload.map | merge({'b': 9, 'c': 3})", json!({"a": 1, "b": 9, "c": 3})),
        ("payload.map | merge(payload.missing)", json!({"a": 1, "b": 2})),
        ("payload.items | map(attribute='sku') | join(',')", json!("a,b")),
        ("null()", Json::Null),
    ];
    for (source, expected) in table {
        assert_eq!(json_of(source), Ok(Some(expected)), "{source}");
    }
}

#[test]
fn nothing_leaves_out() {
    for source in
        ["payload.missing", "payload.missing.deep[0]", "none", "payload.no", "payload.name if payload.missing"]
    {
        assert_eq!(json_of(source), Ok(None), "{source}");
    }
}

#[test]
fn a_missing_value_never_becomes_text_or_zero_in_silence() {
    for source in [
        "payload.missing | lower",
        "payload.no | lower",
        "payload.missing | int",
        "payload.missing | string",
        "payload.missing | decimal('EUR')",
        "payload.price | decimal('EUR')",
        "payload.name | merge({})",
        "payload.missing + 1",
        "body.id",
        "body | default('x')",
    ] {
        let known = Known::in_answer(&BTreeSet::new()).names().any(|name| source.starts_with(name));
        assert!(known, "{source}");
        let expression = Expression::compile(source, &Known::in_answer(&secrets())).unwrap();
        assert!(expression.json(&scope()).is_err(), "{source}");
    }
}

#[test]
fn what_cannot_be_right_is_refused_when_the_file_is_read() {
    let table = [
        ("payload.", "Syntax"),
        ("", "Syntax"),
        ("payload.a b", "Syntax"),
        ("payloud.a", "Variable"),
        ("item.sku", "Variable"),
        ("status == 200", "OnlyInAnswers"),
        ("body.id", "OnlyInAnswers"),
        ("secrets.other", "Secret"),
        ("payload.a | lowr", "Word"),
        ("payload.a is strin", "Word"),
        ("launch('x')", "Variable"),
    ];
    for (source, expected) in table {
        let error = compile(source).map(|_| ()).unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{source}: {error:?}");
    }
    for source in ["secrets.api_key", "payload.a | default('| x is y')", "payload.a is not none", "callback_url", "key"]
    {
        assert!(compile(source).is_ok(), "{source}: {:?}", compile(source));
    }
}

#[test]
fn a_condition_that_cannot_be_evaluated_is_false() {
    let table = [
        ("payload.name == 'Ann'", true),
        ("payload.missing.deep == 'x'", false),
        ("payload.missing + 1 == 2", false),
        ("payload.missing > 1", false),
        // Nobody knows what a body says that could not be read.
        ("body.status == 'failed'", false),
        ("body.status != 'failed'", false),
        ("not body.error", false),
        ("payload.yes or body.error", true),
        ("payload.no", false),
    ];
    for (source, expected) in table {
        let condition = Condition::compile(source, &Known::in_answer(&secrets())).unwrap();
        assert_eq!(condition.holds(&scope()), expected, "{source}");
    }
    assert!(Condition::compile("{{ status == 200 }}", &Known::in_answer(&secrets())).is_err());
}

#[test]
fn an_expression_that_would_run_for_ever_runs_out_of_fuel() {
    let source = "range(9999) | map('string') | map('upper') | map('lower') | map('title') | join('x') | list | length";
    assert!(json_of(&format!("{source} + {source} + {source} + {source} + {source} + {source}")).is_err());
}
