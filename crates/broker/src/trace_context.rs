//! The trace context of a message.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::message::{get_text, put_text};
use ferryd_domain::event::TraceContext;

/// Reads the W3C trace context of a message, as far as it may be passed on.
#[must_use]
pub fn trace(properties: &BasicProperties) -> TraceContext {
    let get = |name| get_text(properties.headers().as_ref(), name);
    TraceContext::from_headers(get("traceparent"), get("tracestate"))
}

/// Writes a trace context into a header table.
pub fn put_trace(headers: &mut FieldTable, trace: &TraceContext) {
    for (name, value) in [("traceparent", &trace.parent), ("tracestate", &trace.state)] {
        if let Some(value) = value {
            put_text(headers, name, value);
        }
    }
}
