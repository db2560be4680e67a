//! The description of the API for clients: `OpenAPI` 3.1, derived from the types of the handlers.

use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::access::ReadAccess;
use super::operation::{DescribeAnswer, Operation};
use super::routes::Route;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The description of the API, as it is answered.
pub(super) struct ApiDocument;

impl IntoResponse for ApiDocument {
    fn into_response(self) -> Response {
        Json(&*DOCUMENT).into_response()
    }
}

impl DescribeAnswer for ApiDocument {
    fn describe(operation: &mut Operation, _: &mut Schemas) {
        let content = json!({ "application/json": { "schema": { "type": "object" } } });
        operation.add_answer("200", json!({ "description": "An OpenAPI document.", "content": content }));
    }
}

/// `GET /openapi.json`
pub(super) async fn serve(_: ReadAccess) -> ApiDocument {
    ApiDocument
}

/// The description.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for route in Route::ALL {
        let method = route.method().as_str().to_lowercase();
        let operation = route.endpoint().document(&mut schemas);
        let path = paths.entry(route.path()).or_insert_with(|| json!({}));
        if let Value::Object(methods) = path {
            methods.insert(method, operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ferryd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Publish commands to outside providers, ask what became of them, and cancel them. \
                            Errors are problem details (RFC 9457).",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `api.tokens`, or the host's own, which `ferryd token` prints. What is outside of the \
                                    scope of a token is not known to it.",
                },
            },
        },
    })
}

/// Schemas by the name of their type. What clients send and what they are answered differs in what may be left out.
pub(super) struct Schemas {
    pub read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    /// None so far.
    pub fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        let written = settings.clone().for_serialize().into_generator();
        Self { read: settings.into_generator(), written }
    }

    /// The schema of what clients send.
    pub fn sent<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    /// The description of a type.
    pub fn description<T: JsonSchema>(&mut self) -> String {
        let schema = T::json_schema(&mut self.written);
        schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ")
    }

    /// The schema of what clients are answered.
    pub fn answered<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.written.take_definitions(true);
        all.extend(self.read.take_definitions(true));
        if let Some(Value::Object(command)) = all.get_mut("CommandBody") {
            // Fields of the publisher's own are ignored.
            command.insert("patternProperties".to_owned(), json!({ "^x_": true }));
            require_id(command);
        }
        all.sort_keys();
        all
    }
}

/// Here a command has no other place for its id.
fn require_id(command: &mut Map<String, Value>) {
    if let Some(Value::Object(fields)) = command.get_mut("properties") {
        let id =
            json!({ "$ref": "#/components/schemas/PublishedCommandId", "description": "Unique over all publishers." });
        fields.insert("id".to_owned(), id);
    }
    if let Some(Value::Array(required)) = command.get_mut("required") {
        required.insert(0, json!("id"));
    }
}

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
