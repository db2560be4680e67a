//! The parameters of each route, for its description.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::dead_letters::DeadLetterQuery;
use super::query::{CommandListQuery, PageQuery};
use super::routes::Route;
use crate::ledger::command_filter::CommandFilter;

/// The parameters of a route.
pub(super) fn parameters(route: Route, schemas: &mut SchemaGenerator) -> Vec<Value> {
    let text = || json!({ "type": "string" });
    let mut all = Vec::new();
    if route.path().contains("{id}") {
        all.push(parameter("path", "id", "The command.", &component("CommandId")));
    }
    match route {
        Route::Submit => {
            let description = "`wait=N`: answer with the end of the command, if it comes within N seconds, at most 60.";
            all.push(parameter("header", "Prefer", description, &text()));
            let description = "The trace that the command belongs to (W3C Trace Context); left out above 55 bytes.";
            all.push(parameter("header", "traceparent", description, &text()));
            all.push(parameter("header", "tracestate", "See `traceparent`; left out above 512 bytes.", &text()));
        }
        Route::Cancel => all.push(parameter("query", "reason", "Why, at most 512 bytes.", &text())),
        Route::Erase => {
            let description = "Why, at most 512 bytes. It is kept, so it names a request and no person.";
            let mut reason = parameter("query", "reason", description, &text());
            reason["required"] = Value::Bool(true);
            all.push(reason);
        }
        Route::Commands => {
            all.extend(fields::<CommandFilter>(schemas));
            all.extend(fields::<CommandListQuery>(schemas));
            all.extend(fields::<PageQuery>(schemas));
        }
        Route::DeadLetters => {
            all.extend(fields::<CommandFilter>(schemas));
            all.extend(fields::<PageQuery>(schemas));
        }
        Route::DeadLetter => all.extend(fields::<DeadLetterQuery>(schemas)),
        Route::Groups => all.extend(fields::<CommandFilter>(schemas)),
        _ => {}
    }
    all
}

fn parameter(place: &str, name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": schema })
}

fn component(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The fields of a type as parameters.
fn fields<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Vec<Value> {
    let schema = T::json_schema(schemas).to_value();
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let parameter = |(name, schema): (String, Value)| {
        let description = schema["description"].as_str().unwrap_or_default().replace('\n', " ");
        let mut schema = required(schema);
        if let Some(fields) = schema.as_object_mut() {
            fields.remove("description");
            fields.remove("default");
        }
        let mut parameter = parameter("query", &name, &description, &schema);
        if schema["type"] == "array" {
            // One parameter, its items with commas.
            parameter["explode"] = Value::Bool(false);
        }
        parameter
    };
    fields.into_iter().map(parameter).collect()
}

/// The schema of an optional field where it is there: a parameter is left out, and never null.
fn required(mut schema: Value) -> Value {
    let null = json!({ "type": "null" });
    if let Some(present) = schema["anyOf"].as_array().and_then(|any| any.iter().find(|one| **one != null)) {
        return present.clone();
    }
    if let Some(present) = schema["type"].as_array().and_then(|any| any.iter().find(|one| **one != "null")).cloned() {
        schema["type"] = present;
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    schema
}
