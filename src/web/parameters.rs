//! Describes parameters in the document of the API.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

/// Describes a parameter: in a path, where it is required, in the query, or a header.
pub(super) fn parameter(place: &str, name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": schema })
}

/// Returns a reference to a schema of the document.
pub(super) fn component(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Describes the fields of a type as parameters.
pub(super) fn fields<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Vec<Value> {
    let schema = T::json_schema(schemas).to_value();
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let names = schema["required"].as_array().into_iter().flatten();
    let required_names: Vec<_> = names.filter_map(Value::as_str).collect();
    let parameter = |(name, schema): (String, Value)| {
        let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let mut schema = present(schema);
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("description");
            fields.remove("default");
        }
        let mut parameter = parameter("query", &name, &description, &schema);
        parameter["required"] = Value::Bool(required_names.contains(&name.as_str()));
        if schema["type"] == "array" {
            // One parameter, whose items are separated by commas.
            parameter["explode"] = Value::Bool(false);
        }
        parameter
    };
    fields.into_iter().map(parameter).collect()
}

/// Returns the schema of an optional field that is present: a parameter is left out, and never
/// null.
fn present(mut schema: Value) -> Value {
    let null = json!({ "type": "null" });
    if let Some(present) =
        schema["anyOf"].as_array().and_then(|any| any.iter().find(|one| **one != null))
    {
        return present.clone();
    }
    if let Some(present) =
        schema["type"].as_array().and_then(|any| any.iter().find(|one| **one != "null")).cloned()
    {
        schema["type"] = present;
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    schema
}
