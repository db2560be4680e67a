//! Events as messages: `CloudEvents` in structured mode.

use lapin::types::{FieldTable, ShortString};

use ferryd_broker::headers;
use ferryd_broker::message::{OutgoingMessage, persistent_properties, short_or_empty};
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::{CONTENT_TYPE, EncodedEvent, TraceContext};

/// Writes an event of a command as a message.
#[must_use]
pub fn event_message(
    event: &EncodedEvent,
    exchange: ShortString,
    routing_key: ShortString,
) -> OutgoingMessage {
    let trace = (event.traceparent.as_deref(), event.tracestate.as_deref());
    let body = event.json().as_bytes().to_vec();
    cloud_event(&event.r#type, &event.id, trace, body, exchange, routing_key)
}

/// Writes an event about a conflict as a message.
pub(super) fn conflict_message(
    conflict: &ConflictEvent,
    exchange: ShortString,
    key: ShortString,
) -> OutgoingMessage {
    let trace = (conflict.traceparent.as_deref(), conflict.tracestate.as_deref());
    // An event is plain data; it always has a JSON form.
    let body = serde_json::to_vec(conflict).unwrap_or_default();
    cloud_event(&conflict.r#type, &conflict.id, trace, body, exchange, key)
}

/// Writes a `CloudEvents` event in structured mode.
pub(super) fn cloud_event(
    kind: &str,
    id: &str,
    (parent, state): (Option<&str>, Option<&str>),
    body: Vec<u8>,
    exchange: ShortString,
    routing_key: ShortString,
) -> OutgoingMessage {
    let mut headers = FieldTable::default();
    headers::put_trace(&mut headers, &TraceContext::from_headers(parent, state));
    let properties = persistent_properties()
        .with_content_type(ShortString::from(CONTENT_TYPE))
        .with_type(short_or_empty(kind))
        .with_message_id(short_or_empty(id))
        .with_headers(headers);
    OutgoingMessage { exchange, routing_key, properties, body }
}
