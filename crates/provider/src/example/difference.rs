//! Compares two values leaf by leaf.

use serde::Serialize;
use serde_json::{Value as Json, json};

/// One place at which an example and the actual value differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExampleDifference {
    /// The place, such as `request.body.amount`.
    pub at: String,
    /// The expected value; null where the example expects none.
    pub expected: Json,
    /// The actual value; null where there is none.
    pub got: Json,
}

impl ExampleDifference {
    /// A difference at a place.
    pub(super) fn new(
        at: impl Into<String>,
        expected: impl Into<Json>,
        got: impl Into<Json>,
    ) -> Self {
        Self { at: at.into(), expected: expected.into(), got: got.into() }
    }
}

/// Adds every place at which two values differ. Objects are compared field by field, lists item by
/// item.
pub(super) fn compare(at: &str, expected: &Json, got: &Json, found: &mut Vec<ExampleDifference>) {
    match (expected, got) {
        (Json::Object(expected), Json::Object(got)) => {
            for (key, value) in expected {
                compare(&format!("{at}.{key}"), value, got.get(key).unwrap_or(&Json::Null), found);
            }
            let more = got.iter().filter(|(key, _)| !expected.contains_key(*key));
            found.extend(more.map(|(key, value)| {
                ExampleDifference::new(format!("{at}.{key}"), Json::Null, value.clone())
            }));
        }
        (Json::Array(expected), Json::Array(got)) => {
            for n in 0..expected.len().max(got.len()) {
                let item = |list: &[Json]| list.get(n).cloned().unwrap_or(Json::Null);
                compare(&format!("{at}[{n}]"), &item(expected), &item(got), found);
            }
        }
        (Json::Number(a), Json::Number(b)) if a.as_f64() == b.as_f64() => {}
        (expected, got) if expected == got => {}
        (expected, got) => found.push(ExampleDifference::new(at, expected.clone(), got.clone())),
    }
}

/// Converts the pairs of a query or form to a value: texts by name, and a list for a name that
/// occurs several times.
pub(super) fn of_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Json {
    let mut map = json!({});
    for (name, value) in pairs {
        let value = Json::String(value);
        match &mut map[&name] {
            missing @ Json::Null => *missing = value,
            Json::Array(values) => values.push(value),
            one => *one = json!([one.take(), value]),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_that_differs_is_named_and_no_other() {
        let expected = json!({"a": 1, "b": {"c": [1, 2.0], "d": "x"}, "gone": true});
        let got = json!({"a": 1.0, "b": {"c": [1, 3, 4], "d": "x"}, "more": []});
        let mut found = Vec::new();
        compare("body", &expected, &got, &mut found);
        let places: Vec<_> = found.iter().map(|difference| difference.at.as_str()).collect();
        assert_eq!(places, ["body.b.c[1]", "body.b.c[2]", "body.gone", "body.more"]);
        assert_eq!(found[1], ExampleDifference::new("body.b.c[2]", Json::Null, 4));
    }

    #[test]
    fn repeated_names_of_a_form_are_a_list() {
        let pairs = [("a", "1"), ("b", "2"), ("a", "3"), ("a", "4")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(of_pairs(pairs), json!({"a": ["1", "3", "4"], "b": "2"}));
    }
}
