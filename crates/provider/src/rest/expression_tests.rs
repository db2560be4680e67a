use serde_json::json;

use super::super::expression_scope::ScopeVariable;
use super::super::expression_source::is_known;
use super::*;

fn secrets() -> BTreeSet<String> {
    BTreeSet::from(["api_key".to_owned()])
}

fn compile(source: &str) -> Result<Expression, ExpressionError> {
    Expression::compile(source, &KnownVariables::in_request(&secrets()))
}

impl Expression {
    fn json(&self, scope: &ExpressionScope<'_>) -> Result<Option<Json>, EvalError> {
        self.value(scope).map(|value| value.map(Cow::into_owned))
    }
}

fn scope() -> ExpressionScope<'static> {
    let payload = json!({
        "amount": 9_007_199_254_740_993_i64, "big": u64::MAX, "price": 20.2, "name": "Ann", "no": null, "yes": true,
        "items": [{"sku": "a"}, {"sku": "b"}], "map": {"a": 1, "b": 2}
    });
    ExpressionScope::new([
        ("payload", ScopeVariable::made(move || payload.clone())),
        ("body", unreadable("not there").into()),
    ])
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
fn a_variable_is_found_wherever_an_expression_names_it() {
    for source in [
        "payload.name[:2]",
        "payload.items[:1]",
        "[payload.name] | first",
        "{'a': payload.name}['a']",
        "'x.' ~ payload.name",
        "payload.name if 1. else payload.name",
        "payload['name']",
    ] {
        assert!(json_of(source).unwrap().is_some(), "{source}");
    }
}

#[test]
fn a_path_yields_what_the_engine_yields() {
    let document = json!({
        "n": 9_007_199_254_740_993_i64, "big": u64::MAX, "f": 20.0, "e": 1e300, "text": "é", "no": null, "yes": false,
        "list": [1, {"a": 2}], "map": {"z": 1, "a": {"b": null, "c": [null]}}, "items": 3, "true": 4, "": 5
    });
    let value = || Value::from(minijinja::value::Serde(&document));
    let fields = document.as_object().unwrap();
    let scopes = [
        ExpressionScope::new([("payload", fields.into())]),
        ExpressionScope::new([("payload", (&document).into())]),
        ExpressionScope::new([("payload", ScopeVariable::made(|| document.clone()))]),
        ExpressionScope::new([("payload", value().into())]),
        ExpressionScope::new([("payload", unreadable("not there").into())]),
        ExpressionScope::new([("payload", Value::UNDEFINED.into())]),
        ExpressionScope::new([]),
    ];
    for steps in [
        "",
        ".n",
        ".big",
        ".f",
        ".e",
        ".text",
        ".no",
        ".yes",
        ".list",
        ".map",
        ".map.z",
        ".map.a",
        ".map.a.b",
        ".map.a.c",
        ".items",
        ".true",
        ".missing",
        ".missing.deep",
        ".no.deep",
        ".text.deep",
        ".n.deep",
        ".list.deep",
    ] {
        let path = compile(&format!("payload{steps}")).unwrap();
        let computed = compile(&format!("(payload{steps})")).unwrap();
        assert_eq!((path.path.is_empty(), computed.path.is_empty()), (false, true), "{steps}");
        for (number, scope) in scopes.iter().enumerate() {
            let [found, expected] = [&path, &computed]
                .map(|expression| expression.json(scope).map_err(|error| error.problem));
            assert_eq!(found, expected, "payload{steps} in {number}");
        }
    }
}

#[test]
fn nothing_leaves_out() {
    for source in [
        "payload.missing",
        "payload.missing.deep[0]",
        "none",
        "payload.no",
        "payload.name if payload.missing",
    ] {
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
        let known = KnownVariables::in_answer(&BTreeSet::new())
            .names()
            .any(|name| source.starts_with(name));
        assert!(known, "{source}");
        let expression =
            Expression::compile(source, &KnownVariables::in_answer(&secrets())).unwrap();
        assert!(expression.json(&scope()).is_err(), "{source}");
    }
}

#[test]
fn an_expression_that_would_use_up_the_stack_is_refused() {
    for source in
        [format!("1{}", "+1".repeat(1_024)), format!("{}1{}", "(".repeat(33), ")".repeat(33))]
    {
        assert!(matches!(compile(&source), Err(ExpressionError::TooMuch(_))), "{source}");
    }
    for source in
        [format!("1{}", "+1".repeat(1_023)), format!("{}1{}", "(".repeat(32), ")".repeat(32))]
    {
        assert!(compile(&source).is_ok(), "{source}");
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
    for source in [
        "secrets.api_key",
        "payload.a | default('| x is y')",
        "payload.a is not none",
        "webhook_url",
        "key",
    ] {
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
        // The content of an unparsable body is unknown.
        ("body.status == 'failed'", false),
        ("body.status != 'failed'", false),
        ("not body.error", false),
        ("payload.yes or body.error", true),
        ("payload.no", false),
    ];
    for (source, expected) in table {
        let condition = Condition::compile(source, &KnownVariables::in_answer(&secrets())).unwrap();
        assert_eq!(condition.holds(&scope()), expected, "{source}");
    }
    assert!(
        Condition::compile("{{ status == 200 }}", &KnownVariables::in_answer(&secrets())).is_err()
    );
}

#[test]
fn an_expression_that_would_run_for_ever_runs_out_of_fuel() {
    let source = "range(9999) | map('string') | map('upper') | map('lower') | map('title') | join('x') | list | length";
    assert!(
        json_of(&format!("{source} + {source} + {source} + {source} + {source} + {source}"))
            .is_err()
    );
}

#[test]
fn the_largest_payload_has_fuel_enough_and_an_endless_text_does_not() {
    let large = "ä".repeat(500_000);
    let payload = json!({ "text": large, "list": vec![json!({"sku": "x"}); 20_000] });
    let scope = ExpressionScope::new([("payload", (&payload).into())]);
    for source in [
        "payload.text | upper",
        "payload | tojson",
        "payload.list | map(attribute='sku') | join(',')",
        "payload",
    ] {
        let value = compile(source).unwrap().json(&scope);
        assert!(value.is_ok(), "{source}: {:?}", value.err());
    }
    assert!(json_of("'x' * 100000000").is_err());
}

#[test]
fn every_documented_filter_exists() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/PROVIDERS.md"))
            .unwrap();
    let listed = document.split("Those of minijinja: `").nth(1).unwrap().split('`').next().unwrap();
    let unknown: Vec<&str> =
        listed.split_whitespace().filter(|name| !is_known(name, "filter")).collect();
    assert_eq!(unknown, Vec::<&str>::new());
    assert!(
        is_known("decimal", "filter")
            && is_known("merge", "filter")
            && !is_known("nothing", "filter")
    );
}

#[test]
fn an_error_never_quotes_the_value() {
    for source in [
        "payload.name | int",
        "payload.name | round",
        "payload.name + 1",
        "payload.name | map(payload.name)",
    ] {
        let error = compile(source).unwrap().json(&scope()).unwrap_err().to_string();
        assert!(!error.contains("Ann"), "{error}");
    }
}
