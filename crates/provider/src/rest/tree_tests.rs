use std::collections::BTreeSet;

use serde_json::json;

use super::super::expression::unreadable;
use super::super::expression_scope::ScopeVariable;
use super::*;
use ferryd_settings::findings::FindingList;

fn compile(value: &Json) -> Option<TreeTemplate> {
    let faults = FindingList::default();
    let secrets = BTreeSet::new();
    let tree = TreeTemplate::compile(value, &KnownVariables::in_answer(&secrets), &faults.place());
    assert_eq!(tree.is_some(), faults.located(&[]).is_empty());
    tree
}

fn scope() -> ExpressionScope<'static> {
    let payload = json!({"a": 1, "lines": [{"sku": "x", "n": 2}, {"sku": "y"}], "text": "t", "orders": [{"ids": [1, 2]}, {"ids": [3]}]});
    ExpressionScope::new([
        ("payload", ScopeVariable::made(move || payload.clone())),
        ("body", unreadable("not there").into()),
    ])
}

fn render(value: &Json, faults: &mut LeafErrorPolicy<'_>) -> Result<Option<Json>, String> {
    let tree = compile(value).unwrap();
    let is_strict = matches!(faults, LeafErrorPolicy::Fail);
    let json =
        tree.json(&scope(), TreeKey::Root("body"), faults).map_err(|error| error.to_string());
    if is_strict {
        let mut text = Vec::new();
        let written = tree.write_json(&scope(), TreeKey::Root("body"), &mut text);
        let expected = json.as_ref().map(|json| json.as_ref().map(Json::to_string));
        let text = String::from_utf8(text).unwrap();
        match written {
            Ok(is_written) => assert_eq!(Ok(is_written.then_some(text)), expected, "{value}"),
            Err(error) => assert_eq!(Err(&error.to_string()), expected, "{value}"),
        }
    }
    json
}

#[test]
fn leaves_are_filled_in_or_left_out() {
    let tree = json!({
        "a": "{{ payload.a }}", "gone": "{{ payload.b.c }}", "null": "{{ null() }}", "const": [1, 20.2, true, "x"],
        "list": ["{{ payload.b }}", "{{ payload.a }}"], "deep": {"gone": "{{ none }}"}
    });
    let expected =
        json!({"a": 1, "null": null, "const": [1, 20.2, true, "x"], "list": [1], "deep": {}});
    assert_eq!(render(&tree, &mut LeafErrorPolicy::Fail), Ok(Some(expected)));
}

#[test]
fn lists_are_mapped_item_by_item() {
    let each =
        |items: &str, name: &str, item: Json| json!({"$each": items, "$as": name, "$item": item});
    let table = [
        (
            json!({"l": each("payload.lines", "line", json!({"id": "{{ line.sku }}", "n": "{{ line.n }}"}))}),
            json!({"l": [{"id": "x", "n": 2}, {"id": "y"}]}),
        ),
        (json!({"l": each("payload.missing", "line", json!("{{ line }}"))}), json!({})),
        (
            json!({"l": each("payload.orders", "o", each("o.ids", "id", json!("{{ o.ids | length }}:{{ id }}")))}),
            json!({"l": [["2:1", "2:2"], ["1:3"]]}),
        ),
    ];
    for (tree, expected) in table {
        assert_eq!(render(&tree, &mut LeafErrorPolicy::Fail), Ok(Some(expected)), "{tree}");
    }
    let error = render(
        &json!({"l": each("payload.text", "x", json!("{{ x }}"))}),
        &mut LeafErrorPolicy::Fail,
    )
    .unwrap_err();
    assert_eq!(error, "body.l: `payload.text` is not a list");
}

#[test]
fn a_leaf_that_fails_is_reported_by_its_place_or_noted() {
    let tree = json!({"a": "{{ payload.a }}", "list": [{"b": "{{ body.id }}"}]});
    let error = render(&tree, &mut LeafErrorPolicy::Fail).unwrap_err();
    assert!(error.starts_with("body.list[0].b: `body.id` cannot be evaluated"), "{error}");
    let mut notes = Vec::new();
    let value = render(&tree, &mut LeafErrorPolicy::Note(&mut notes));
    assert_eq!(value, Ok(Some(json!({"a": 1, "list": [{"b": null}]}))));
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_mapped_list_without_its_three_keys_or_with_a_taken_name_is_refused() {
    for tree in [
        json!({"$each": "payload.lines"}),
        json!({"$each": "payload.lines", "$as": "x", "$item": "", "more": 1}),
        json!({"$each": "payload.lines", "$as": "payload", "$item": ""}),
        json!({"$each": "payload.lines", "$as": "A b", "$item": ""}),
        json!({"$each": "payload.lines", "$as": "x", "$item": "{{ y.sku }}"}),
        json!({"$else": 1}),
    ] {
        assert!(compile(&tree).is_none(), "{tree}");
    }
}
