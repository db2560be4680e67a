use std::collections::BTreeSet;
use std::path::Path;

use url::form_urlencoded;

use super::super::query::{PageQuery, QueryParameters};
use super::*;

#[test]
fn the_file_in_docs_is_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/openapi.json");
    let expected = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is out of date: run the tests with UPDATE_SCHEMAS=1",
        path.display()
    );
}

/// Collects every `$ref` in a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_to_a_schema_and_every_schema_is_one() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
    }
}

#[test]
fn types_that_are_sent_and_answered_have_the_same_schema() {
    let mut schemas = SchemaRegistry::new();
    for route in ApiRoute::ALL {
        route.endpoint().document(&mut schemas);
    }
    let (sent, answered) =
        (schemas.read.take_definitions(true), schemas.written.take_definitions(true));
    for (name, schema) in &sent {
        assert!(answered.get(name).is_none_or(|other| other == schema), "{name}");
    }
}

/// Returns true where a schema of the document accepts a value.
fn takes(schema: &Value, value: &Value) -> bool {
    let document = document();
    let whole = json!({ "components": document["components"], "allOf": [schema] });
    jsonschema::validator_for(&whole).unwrap().is_valid(value)
}

#[test]
fn a_command_for_the_api_has_an_id() {
    let schema = json!({ "$ref": "#/components/schemas/CommandBody" });
    let command = |id: Value| json!({ "id": id, "type": "payment", "operation": "charge" });
    assert!(takes(&schema, &command(json!("order-1"))));
    assert!(!takes(&schema, &command(Value::Null)));
    assert!(!takes(&schema, &json!({ "type": "payment", "operation": "charge" })));
}

#[test]
fn filters_and_cursors_are_described_as_they_are_read() {
    let table = [
        ("provider", "acme-pay", true),
        ("account", "Default", false),
        ("type", "", false),
        ("operation", "charge.card", false),
        ("state", "waiting", true),
        ("state", "done", false),
        ("kind", "declined", true),
        ("kind", "sad", false),
        ("older_than", "36h", true),
        ("older_than", "1h 30m", true),
        ("newer_than", "2026-01-31T12:00:00Z", true),
        ("newer_than", "2026-01-31T12:00:00.5+01:00", true),
        ("newer_than", "yesterday", false),
        ("cursor", "1f.0a1b2c3d.order-1", true),
        ("cursor", "-1.2.x", false),
        ("cursor", "+1.0a1b2c3d.x", false),
        ("cursor", "1.0a1b2c3.x", false),
        ("cursor", "1.0A1B2C3D.x", false),
        ("cursor", "ffffffffffffffff1.0a1b2c3d.x", false),
        ("cursor", "1.0a1b2c3d.", false),
    ];
    for route in [ApiRoute::Commands, ApiRoute::DeadLetters] {
        let document = route.endpoint().document(&mut SchemaRegistry::new());
        let all = document["parameters"].as_array().unwrap();
        for (name, value, valid) in table {
            let parameter = all.iter().find(|parameter| parameter["name"] == name).unwrap();
            assert_eq!(takes(&parameter["schema"], &json!(value)), valid, "{name}={value}");
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let read = QueryParameters::read(Some(&query))
                .and_then(|mut query| Ok((query.filter()?, query.take::<PageQuery>()?)));
            assert_eq!(read.is_ok(), valid, "{name}={value}: {read:?}");
        }
    }
}

#[test]
fn a_command_for_the_api_is_one_for_the_queue() {
    let (api, queue) = (document(), crate::schema::command());
    let api = &api["components"]["schemas"]["CommandBody"];
    let names = |schema: &Value| {
        schema["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(names(api), names(&queue));
    // On the queue a command may have its id in the message's properties.
    assert_eq!(
        (&api["required"], &queue["required"]),
        (&json!(["id", "type", "operation"]), &json!(["type", "operation"]))
    );
    assert_eq!(api["patternProperties"], queue["patternProperties"]);
}
