//! Encodes values as JSON, or as the pairs of a query or form.

use bytes::Bytes;
use serde_json::Value as Json;
use url::form_urlencoded::Serializer;

use super::file::{BodyEncoding, ListEncoding};
use super::text::scalar;

/// Encodes a body as bytes.
pub(super) fn body(value: &Json, encoding: BodyEncoding, lists: ListEncoding) -> Bytes {
    match encoding {
        // A `Value` can always be serialized: its keys are strings and its numbers finite.
        BodyEncoding::Json => value.to_string().into(),
        BodyEncoding::Form => {
            Serializer::new(String::new()).extend_pairs(pairs(value, lists)).finish().into()
        }
        BodyEncoding::Raw => scalar(value).unwrap_or_default().into(),
    }
}

/// The media type of an encoding.
pub(super) fn content_type(encoding: BodyEncoding) -> &'static str {
    match encoding {
        BodyEncoding::Json => "application/json",
        BodyEncoding::Form => "application/x-www-form-urlencoded",
        BodyEncoding::Raw => "text/plain; charset=utf-8",
    }
}

/// Encodes a map as pairs: `a[b]=c` for maps in it; null is the empty text; empty maps and lists
/// yield no pairs.
pub(super) fn pairs(value: &Json, lists: ListEncoding) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (key, value) in value.as_object().into_iter().flatten() {
        flatten(key.clone(), value, lists, &mut pairs);
    }
    pairs
}

fn flatten(key: String, value: &Json, lists: ListEncoding, pairs: &mut Vec<(String, String)>) {
    match value {
        Json::Object(entries) => {
            for (name, value) in entries {
                flatten(format!("{key}[{name}]"), value, lists, pairs);
            }
        }
        Json::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                let key = match lists {
                    ListEncoding::Brackets => format!("{key}[{n}]"),
                    ListEncoding::Repeat => key.clone(),
                };
                flatten(key, item, lists, pairs);
            }
        }
        single => pairs.push((key, scalar(single).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_nest_with_brackets_and_lists_as_configured() {
        let value = json!({"a": 1, "b": {"c": "x y", "d": [true, 20.2]}, "e": [{"f": ""}], "g": null, "h": {}, "i": []});
        let brackets = body(&value, BodyEncoding::Form, ListEncoding::Brackets);
        let decoded: Vec<_> = url::form_urlencoded::parse(&brackets).into_owned().collect();
        let expected = [
            ("a", "1"),
            ("b[c]", "x y"),
            ("b[d][0]", "true"),
            ("b[d][1]", "20.2"),
            ("e[0][f]", ""),
            ("g", ""),
        ];
        assert_eq!(decoded, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let repeated = pairs(&json!({"m": ["1", "2"]}), ListEncoding::Repeat);
        assert_eq!(repeated, [("m".to_owned(), "1".to_owned()), ("m".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn numbers_survive_exactly() {
        for text in [
            "9007199254740993",
            "18446744073709551615",
            "-9223372036854775808",
            "20.2",
            "65.9",
            "1.0",
        ] {
            let value: Json = serde_json::from_str(&format!("{{\"n\":{text}}}")).unwrap();
            assert_eq!(pairs(&value, ListEncoding::Brackets), [("n".to_owned(), text.to_owned())]);
            assert_eq!(
                body(&value, BodyEncoding::Json, ListEncoding::Brackets),
                format!("{{\"n\":{text}}}")
            );
        }
    }
}
