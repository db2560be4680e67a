//! The JSON Schema of an operation's payload: validates payloads, and marks their sensitive values.

use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Map, Value};

use ferryd_domain::name::excerpt;

/// The keyword for fields whose values are masked.
const SENSITIVE: &str = "x-sensitive";

/// The most faults of a payload that are reported.
const MOST_FAULTS: usize = 20;

/// The deepest level to which a schema is followed; deeper schemas are recursive.
const DEEPEST: usize = 64;

/// The JSON Schema of an operation's payload.
#[derive(Debug)]
pub struct PayloadSchema(Option<CompiledSchema>);

#[derive(Debug)]
struct CompiledSchema {
    validator: Validator,
    schema: Value,
    /// True where any value is marked as sensitive.
    has_sensitive: bool,
}

/// The reason why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The file cannot be read.
    #[error("the file {path} cannot be read ({error}); write the path of a JSON file")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The file is not valid JSON.
    #[error("the file {path} is not JSON ({error}); write a JSON Schema")]
    Json {
        /// The file.
        path: String,
        /// The parser's error.
        error: serde_json::Error,
    },
    /// The value is not a valid JSON Schema.
    #[error("is not a JSON Schema: {place}{problem}; see https://json-schema.org/draft/2020-12")]
    Schema {
        /// The place in the schema, followed by a colon.
        place: String,
        /// The problem, from the validator.
        problem: String,
    },
}

impl PayloadSchema {
    /// A schema that accepts every payload.
    #[must_use]
    pub fn any() -> Self {
        Self(None)
    }

    /// Compiles a JSON Schema (draft 2020-12 unless its `$schema` says otherwise). References to
    /// other documents are refused.
    ///
    /// # Errors
    /// The value is not a valid JSON Schema.
    pub fn compile(schema: Value) -> Result<Self, SchemaError> {
        let validator = jsonschema::options().offline().build(&schema).map_err(|error| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { place } else { format!("{place}: ") };
            SchemaError::Schema { place, problem: excerpt(&error.to_string()) }
        })?;
        let has_sensitive = marks_sensitive(&schema);
        Ok(Self(Some(CompiledSchema { validator, schema, has_sensitive })))
    }

    /// Reads a JSON Schema from a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid JSON Schema.
    pub fn read(path: &Path) -> Result<Self, SchemaError> {
        let shown = || path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|error| SchemaError::File { path: shown(), error })?;
        let schema = serde_json::from_str(&text)
            .map_err(|error| SchemaError::Json { path: shown(), error })?;
        Self::compile(schema)
    }

    /// The first twenty faults of a payload, one line each; empty for a valid payload. No line
    /// quotes a value.
    #[must_use]
    pub fn check(&self, payload: &Map<String, Value>) -> Vec<String> {
        let Some(compiled) = &self.0 else { return Vec::new() };
        let payload = Value::Object(payload.clone());
        let faults = compiled.validator.iter_errors(&payload).take(MOST_FAULTS);
        let line = |error: jsonschema::ValidationError<'_>| {
            let place = error.instance_path().to_string().replace('/', ".");
            format!("payload{place}: {}", error.masked())
        };
        faults.map(line).collect()
    }

    /// The faults of a payload as [`check`](Self::check) reports them, for the payload's author:
    /// with the wrong values, unless the schema marks any value as sensitive.
    #[must_use]
    pub fn explain(&self, payload: &Map<String, Value>) -> Vec<String> {
        match &self.0 {
            Some(CompiledSchema { validator, has_sensitive: false, .. }) => {
                let payload = Value::Object(payload.clone());
                let faults = validator.iter_errors(&payload).take(MOST_FAULTS);
                let line = |error: jsonschema::ValidationError<'_>| {
                    let place = error.instance_path().to_string().replace('/', ".");
                    format!(
                        "payload{place}: {} (it is {})",
                        error.masked(),
                        excerpt(&error.instance().to_string())
                    )
                };
                faults.map(line).collect()
            }
            _ => self.check(payload),
        }
    }

    /// The texts and numbers of a payload that the schema marks with `"x-sensitive": true`, at any
    /// depth.
    #[must_use]
    pub fn sensitive_values(&self, payload: &Map<String, Value>) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(compiled) = self.0.as_ref().filter(|compiled| compiled.has_sensitive) {
            let walk = SchemaWalk { root: &compiled.schema };
            walk.visit(&compiled.schema, &Value::Object(payload.clone()), 0, &mut found);
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Returns true if a schema marks any of its values as sensitive.
fn marks_sensitive(schema: &Value) -> bool {
    match schema {
        Value::Object(entries) => {
            entries.get(SENSITIVE) == Some(&Value::Bool(true))
                || entries.values().any(marks_sensitive)
        }
        Value::Array(items) => items.iter().any(marks_sensitive),
        _ => false,
    }
}

/// A traversal of a payload along its schema.
struct SchemaWalk<'s> {
    root: &'s Value,
}

impl SchemaWalk<'_> {
    fn visit(&self, schema: &Value, value: &Value, depth: usize, found: &mut Vec<String>) {
        if depth > DEEPEST {
            return;
        }
        if schema.get(SENSITIVE) == Some(&Value::Bool(true)) {
            gather(value, found);
            return;
        }
        for schema in self.alternatives(schema) {
            self.visit(schema, value, depth + 1, found);
        }
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    for schema in of_entry(schema, key) {
                        self.visit(schema, value, depth + 1, found);
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    for schema in of_item(schema, n) {
                        self.visit(schema, item, depth + 1, found);
                    }
                }
            }
            _ => {}
        }
    }

    /// The subschemas that apply to the same value.
    fn alternatives<'a>(&'a self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
        let single = ["if", "then", "else"].into_iter().filter_map(|key| schema.get(key));
        let target =
            schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        let target = target.and_then(|pointer| self.root.pointer(pointer));
        list("allOf").chain(list("anyOf")).chain(list("oneOf")).chain(single).chain(target)
    }
}

fn of_entry<'s>(schema: &'s Value, key: &str) -> Vec<&'s Value> {
    let patterns = schema
        .get("patternProperties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::values);
    match schema.get("properties").and_then(|properties| properties.get(key)) {
        Some(schema) => vec![schema],
        None => patterns.chain(schema.get("additionalProperties")).collect(),
    }
}

fn of_item(schema: &Value, index: usize) -> Vec<&Value> {
    let first = schema.get("prefixItems").and_then(|items| items.get(index));
    first.or_else(|| schema.get("items")).into_iter().chain(schema.get("contains")).collect()
}

fn gather(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !text.is_empty() => found.push(text.clone()),
        Value::Number(number) => found.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Object(entries) => entries.values().for_each(|value| gather(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn every_fault_is_reported_by_place_and_none_quotes_a_value() {
        let schema = PayloadSchema::compile(json!({
            "type": "object", "required": ["amount"], "additionalProperties": false,
            "properties": {"amount": {"type": "integer"}, "to": {"type": "object", "properties": {"zip": {"maxLength": 5}}}}
        }))
        .unwrap();
        let faults =
            schema.check(&object(&json!({"to": {"zip": "4111111111111111"}, "surprise": 1})));
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults.iter().any(|fault| fault.starts_with("payload.to.zip: ")), "{faults:?}");
        assert!(faults.iter().all(|fault| !fault.contains("4111")), "{faults:?}");
        assert_eq!(schema.check(&object(&json!({"amount": 1}))), Vec::<String>::new());
        assert_eq!(PayloadSchema::any().check(&object(&json!({"x": 1}))), Vec::<String>::new());
    }

    #[test]
    fn sensitive_values_are_found_at_any_depth() {
        let secret = json!({"x-sensitive": true});
        let schema = PayloadSchema::compile(json!({
            "properties": {
                "phone": secret,
                "person": {"$ref": "#/$defs/person"},
                "lines": {"type": "array", "items": {"properties": {"note": secret}}},
                "pair": {"prefixItems": [{}, secret]},
                "either": {"anyOf": [{"type": "integer"}, {"properties": {"pin": secret}}]},
                "tags": {"additionalProperties": secret}
            },
            "$defs": {"person": {"properties": {"name": secret, "friend": {"$ref": "#/$defs/person"}}}}
        }))
        .unwrap();
        let payload = json!({
            "phone": "+49 1", "open": "seen", "person": {"name": "Ann", "age": 7, "friend": {"name": "Bob"}},
            "lines": [{"note": "a"}, {"note": ["b", true]}, {"other": "seen"}], "pair": ["seen", 12],
            "either": {"pin": {"x": "9"}}, "tags": {"t": "tag"}
        });
        let expected = ["+49 1", "12", "9", "Ann", "Bob", "a", "b", "tag"];
        assert_eq!(schema.sensitive_values(&object(&payload)), expected);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for bad in [
            json!({"type": "integre"}),
            json!({"properties": 1}),
            json!({"$ref": "https://example.com/x"}),
        ] {
            assert!(PayloadSchema::compile(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_followed_to_an_end() {
        let schema = PayloadSchema::compile(
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}),
        );
        let found = schema.map(|schema| schema.sensitive_values(&object(&json!({"x": "y"}))));
        assert_eq!(found.unwrap(), Vec::<String>::new());
    }
}
