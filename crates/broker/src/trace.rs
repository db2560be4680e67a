//! The trace context of a message.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::message::{put_text, text};
use ferryd_domain::event::Trace;

/// Reads the W3C trace context of a message, as far as it may be passed on.
#[must_use]
pub fn trace(properties: &BasicProperties) -> Trace {
    let get = |name| text(properties.headers().as_ref(), name);
    Trace::bounded(get("traceparent"), get("tracestate"))
}

/// Writes a trace context into a header table.
pub fn put_trace(headers: &mut FieldTable, trace: &Trace) {
    for (name, value) in [("traceparent", &trace.parent), ("tracestate", &trace.state)] {
        if let Some(value) = value {
            put_text(headers, name, value);
        }
    }
}
