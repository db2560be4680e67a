//! The parameters of each route, for its description.

use serde_json::{Value, json};

use super::query::FILTERS;
use super::routes::Route;
use crate::ledger::index::{CURSOR_PATTERN, MAX_PAGE};

/// A time (RFC 3339), or how long ago it was.
const TIME_PATTERN: &str = concat!(
    r"^([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    r"|([0-9]+(\.[0-9]+)?(ms|s|m|h|d) ?)+)$"
);

/// The parameters of a route.
pub(super) fn parameters(route: Route) -> Vec<Value> {
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
        Route::Commands | Route::DeadLetters | Route::Groups => {
            let asked = |name: &str| route != Route::Groups || !matches!(name, "limit" | "cursor");
            let filters = FILTERS.into_iter().filter(|(name, _)| asked(name));
            all.extend(filters.map(|(name, description)| parameter("query", name, description, &filter_schema(name))));
            let flag = || json!({ "type": "boolean" });
            let description = "Only commands that something has contradicted.";
            all.push(parameter("query", "conflicts", description, &flag()));
            if route == Route::Commands {
                all.push(parameter("query", "dead", "Only dead letters.", &flag()));
                let description = "Only what was asked to be cancelled and has not come; else none of it is listed.";
                all.push(parameter("query", "cancel_requested", description, &flag()));
            }
        }
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

/// The schema of the values that a filter takes.
fn filter_schema(name: &str) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match name {
        "provider" | "account" | "type" | "operation" => component("Name"),
        "state" => component("State"),
        "kind" => component("Kind"),
        "older_than" | "newer_than" => pattern(TIME_PATTERN),
        "limit" => json!({ "type": "integer", "minimum": 1, "maximum": MAX_PAGE }),
        "cursor" => pattern(CURSOR_PATTERN),
        _ => json!({ "type": "string" }),
    }
}
