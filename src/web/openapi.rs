//! The description of the API for clients: `OpenAPI` 3.1, derived from the types of the handlers.

use std::sync::LazyLock;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::access::ReadAccess;
use super::operation::{DescribeAnswer, OperationDescription};
use super::route::ApiRoute;
use super::schemas::SchemaRegistry;

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The description of the API, as an answer.
pub(super) struct ApiDocument;

impl IntoResponse for ApiDocument {
    fn into_response(self) -> Response {
        Json(&*DOCUMENT).into_response()
    }
}

impl DescribeAnswer for ApiDocument {
    fn describe(operation: &mut OperationDescription, _: &mut SchemaRegistry) {
        let content = json!({ "application/json": { "schema": { "type": "object" } } });
        operation.add_answer(
            "200",
            json!({ "description": "An OpenAPI document.", "content": content }),
        );
    }
}

/// `GET /openapi.json`
pub(super) async fn serve(_: ReadAccess) -> ApiDocument {
    ApiDocument
}

/// Returns the description.
#[must_use]
pub fn document() -> Value {
    let mut schemas = SchemaRegistry::new();
    let mut paths = Map::new();
    for route in ApiRoute::ALL {
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
            "description": "Publish commands to outside providers, ask for their outcomes, and cancel them. \
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

#[cfg(test)]
#[path = "openapi_tests.rs"]
mod tests;
