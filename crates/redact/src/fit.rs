//! Limits the size of the part of an answer that an event holds.
//!
//! An event is one message of the broker, for the ledger and for every subscriber. A message that
//! the broker refuses would be published again for ever. `max_response_size` may be larger than
//! this limit: the call's record has the whole answer.

use std::io::{self, Write};

use serde_json::Value as Json;

/// The most bytes of a mapped value, as JSON: the same as of a command's payload.
const LARGEST: usize = 1 << 20;

/// Makes a mapped value fit: its largest entries become null, and `warnings` names them.
pub(super) fn fit_value(mut value: Json, name: &str, warnings: &mut Vec<String>) -> Json {
    if most_bytes(&value) <= LARGEST {
        return value;
    }
    let (whole, noted) = (size(&value), warnings.len());
    if whole <= LARGEST {
        return value;
    }
    let Json::Object(entries) = &mut value else {
        warnings.push(too_large(name, whole));
        return Json::Null;
    };
    let mut total = whole;
    let mut sizes: Vec<_> = entries.iter().map(|(key, value)| (size(value), key.clone())).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    for (bytes, key) in sizes {
        if total <= LARGEST {
            break;
        }
        warnings.push(too_large(&format!("{name}.{key}"), bytes));
        entries.insert(key, Json::Null);
        total = total.saturating_sub(bytes).saturating_add("null".len());
    }
    if total <= LARGEST {
        return value;
    }
    // The value consists of very many small entries.
    warnings.truncate(noted);
    warnings.push(too_large(name, whole));
    Json::Null
}

fn too_large(key: &str, bytes: usize) -> String {
    format!(
        "{key}: left out, {bytes} bytes are more than an event may hold; `ferryd calls` has the answer"
    )
}

/// The most bytes that a value may have as JSON, found without writing it: each byte of a text may
/// be escaped as six.
fn most_bytes(value: &Json) -> usize {
    let text = |text: &str| text.len().saturating_mul(6) + 4;
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => 32,
        Json::String(value) => text(value),
        Json::Array(items) => items.iter().map(most_bytes).fold(2, usize::saturating_add),
        Json::Object(entries) => entries
            .iter()
            .map(|(key, value)| text(key).saturating_add(most_bytes(value)))
            .fold(2, usize::saturating_add),
    }
}

/// The size of a value as JSON, in bytes.
fn size(value: &Json) -> usize {
    let mut count = ByteCounter(0);
    // Plain data can always be serialized, and the counter accepts any bytes.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

struct ByteCounter(usize);

impl Write for ByteCounter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_large_for_an_event_is_left_out_and_named_and_the_rest_stays() {
        let (half, most) = ("x".repeat(LARGEST / 2), "x".repeat(LARGEST));
        // One byte of text becomes six of JSON.
        let control = "\u{1}".repeat(LARGEST / 5);
        for (value, fits, named) in [
            (json!({"id": "ch_1", "label": half}), json!({"id": "ch_1", "label": half}), vec![]),
            (
                json!({"id": "ch_1", "label": most}),
                json!({"id": "ch_1", "label": null}),
                vec!["result.label"],
            ),
            (
                json!({"id": "ch_1", "label": control}),
                json!({"id": "ch_1", "label": null}),
                vec!["result.label"],
            ),
            (
                json!({"a": half, "b": [half, half], "c": 1}),
                json!({"a": half, "b": null, "c": 1}),
                vec!["result.b"],
            ),
            (
                json!({"a": most, "b": [most]}),
                json!({"a": null, "b": null}),
                vec!["result.b", "result.a"],
            ),
            (json!([most]), json!(null), vec!["result"]),
            (json!(most), json!(null), vec!["result"]),
            (json!(null), json!(null), vec![]),
        ] {
            let mut warnings = Vec::new();
            assert!(fit_value(value, "result", &mut warnings) == fits, "{named:?}");
            let keys: Vec<_> =
                warnings.iter().map(|warning| warning.split(':').next().unwrap()).collect();
            assert_eq!(keys, named);
        }
    }

    #[test]
    fn very_many_small_entries_are_left_out_together() {
        let many: serde_json::Map<_, _> =
            (0..LARGEST / 8).map(|n| (format!("k{n}"), json!(n))).collect();
        let mut warnings = Vec::new();
        assert_eq!(fit_value(Json::Object(many), "result", &mut warnings), Json::Null);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}
