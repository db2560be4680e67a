//! The reference of the configuration in `docs/` has every key, with the words of its schema.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::config::Config;

/// The line of the document below which it is generated.
const MARKER: &str = "<!-- The rest is generated: UPDATE_SCHEMAS=1 cargo test --lib -->\n";

/// A schema, or the one that it refers to, with that of a list's items and of a value that may be
/// absent.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let optional = schema["anyOf"].as_array().and_then(|choices| choices.first());
    if let Some(path) = schema["$ref"].as_str() {
        return root.pointer(path.trim_start_matches('#')).unwrap();
    }
    if schema["items"].is_object() {
        return resolved(root, &schema["items"]);
    }
    optional.map_or(schema, |choice| resolved(root, choice))
}

/// The cells of a key: its meaning, its default and its environment variable.
fn cells(key: &str, schema: &Value) -> String {
    let description =
        schema["description"].as_str().unwrap_or_else(|| panic!("{key} has no description"));
    let description =
        description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let (rest, variable) = description.split_once(" Environment: ").unwrap_or((&description, ""));
    let (meaning, default) = rest.rsplit_once(" Default").unwrap_or((rest, ""));
    let default = default.trim_start_matches(':').trim().trim_end_matches('.');
    format!("| `{key}` | {meaning} | {default} | {} |\n", variable.trim_end_matches('.'))
}

const TABLE: &str = "| key | meaning | default | environment variable |\n|---|---|---|---|\n";

/// The section of a table, and below it those of its keys that are tables themselves.
fn section(root: &Value, path: &str, schema: &Value) -> String {
    let description = schema["description"].as_str().unwrap_or_default();
    let description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    let properties = schema["properties"].as_object().unwrap();
    let rows = properties.iter().map(|(key, value)| cells(key, value));
    let inner = properties.iter().map(|(key, value)| (key, resolved(root, value)));
    let tables = inner.filter(|(_, schema)| schema["properties"].is_object());
    let below = tables.map(|(key, schema)| section(root, &format!("{path}.{key}"), schema));
    format!("\n## `{path}`\n\n{description}\n\n{TABLE}{}", rows.chain(below).collect::<String>())
}

/// The generated part of the document.
fn reference(root: &Value) -> String {
    let properties = root["properties"].as_object().unwrap();
    let is_section = |value: &Value| resolved(root, value)["properties"].is_object();
    let plain = properties
        .iter()
        .filter(|(_, value)| !is_section(value))
        .map(|(key, value)| cells(key, value));
    let sections = properties.iter().filter(|(_, value)| is_section(value));
    let sections = sections.map(|(key, value)| section(root, key, resolved(root, value)));
    format!("\n## Keys without a section\n\n{TABLE}{}", plain.chain(sections).collect::<String>())
}

#[test]
fn the_reference_of_the_configuration_is_that_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (introduction, found) = text.split_once(MARKER).unwrap();
    let expected = reference(&Config::schema().to_value());
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::write(&path, format!("{introduction}{MARKER}{expected}")).unwrap();
        return;
    }
    assert!(
        found == expected,
        "{} is out of date: run the tests with UPDATE_SCHEMAS=1",
        path.display()
    );
}

#[test]
fn a_key_has_its_meaning_its_default_and_its_variable_apart() {
    let schema = serde_json::json!({ "description": "The time for\nit. Default `5s`. Environment: `FERRYD_X`." });
    assert_eq!(cells("x", &schema), "| `x` | The time for it. | `5s` | `FERRYD_X` |\n");
}
