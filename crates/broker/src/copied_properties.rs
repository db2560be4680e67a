//! Selects the properties of a publisher's message that ferryd publishes again.

use lapin::BasicProperties;
use lapin::types::FieldTable;

use super::header_frame::size_of_table;
use super::message::persistent_properties;
use super::trace_context::{put_trace, trace};

/// The maximum size of a publisher's headers that are kept, in bytes: properties and headers of a
/// message must fit one frame, 128 KiB by default, together with ferryd's own.
pub(super) const LARGEST_HEADERS: usize = 64 * 1024;

/// Builds the properties of a copy of a message that ferryd publishes: those of the original,
/// persistent, without what would misroute, expire or refuse the copy.
///
/// Removed are `expiration` (it would end the wait early), `user_id` (the broker refuses another
/// user's), `CC` and `BCC` (they would route copies elsewhere), the broker's own `x-death…` and
/// delivery counts, ferryd's own headers, a trace context that is larger than the standard allows,
/// and the publisher's other headers where ferryd's would not fit beside them.
#[must_use]
pub fn carried_properties(original: &BasicProperties) -> BasicProperties {
    copy_with(original, |name| !is_stripped(name))
}

/// Builds the properties of a message that is moved as it is: as [`carried_properties`], but with
/// ferryd's own headers, however large.
#[must_use]
pub fn stripped_of_deaths(original: &BasicProperties) -> BasicProperties {
    copy_with(original, |name| is_own(name) || !is_stripped(name))
}

fn copy_with(original: &BasicProperties, is_kept: impl Fn(&str) -> bool) -> BasicProperties {
    let mut headers = FieldTable::default();
    let theirs = original.headers().as_ref();
    let is_large = theirs.is_some_and(|table| size_of_table(table) > LARGEST_HEADERS);
    for (name, value) in theirs.iter().flat_map(|headers| headers.inner()) {
        let is_trace = matches!(name.as_str(), "traceparent" | "tracestate");
        if !is_trace && is_kept(name.as_str()) && (!is_large || is_own(name.as_str())) {
            headers.insert(name.clone(), value.clone());
        }
    }
    put_trace(&mut headers, &trace(original));
    let mut copy = persistent_properties().with_headers(headers);
    let fields = original.clone();
    macro_rules! keep {
        ($($field:ident => $with:ident),*) => {
            $(if let Some(value) = fields.$field() { copy = copy.$with(value.clone()); })*
        };
    }
    keep!(
        content_type => with_content_type, content_encoding => with_content_encoding, priority => with_priority,
        correlation_id => with_correlation_id, reply_to => with_reply_to, message_id => with_message_id,
        timestamp => with_timestamp, kind => with_type, app_id => with_app_id
    );
    copy
}

fn is_own(name: &str) -> bool {
    name.starts_with("ferry-")
}

fn is_stripped(name: &str) -> bool {
    const PREFIXES: [&str; 4] = ["ferry-", "x-death", "x-first-death-", "x-last-death-"];
    matches!(name, "CC" | "BCC" | "x-delivery-count" | "x-acquired-count")
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
