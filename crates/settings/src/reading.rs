//! Deserializes a value of a settings file into a type.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::findings::SettingsCursor;
use super::key_path::KeyPath;

/// Deserializes a value. Each fault is reported at its place and the wrong part left out, so that
/// one pass finds every fault. Returns `None` if a part that the type needs is left out.
#[must_use]
pub fn read_value<T: DeserializeOwned>(mut value: Json, place: &SettingsCursor<'_>) -> Option<T> {
    loop {
        let error = match serde_path_to_error::deserialize(value.clone()) {
            Ok(read) => return Some(read),
            Err(error) => error,
        };
        let key = KeyPath::of_error(error.path());
        place.within(&key).drop_value(without_value(&error.inner().to_string()));
        if !key.remove(&mut value) {
            return None;
        }
    }
}

/// Returns the text of an error without the value, which may be a secret.
fn without_value(text: &str) -> String {
    match text.split_once(", expected ") {
        Some((what, expected)) if what.starts_with("invalid ") => format!("write {expected}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::findings::FindingList;
    use serde_json::json;

    #[test]
    fn every_wrong_value_is_reported_by_its_key_and_never_quoted() {
        let faults = FindingList::default();
        let value = json!({"a": "hunter2", "b": 7, "c": true});
        let read: BTreeMap<String, u16> = read_value(value, &faults.place().key("x")).unwrap();
        assert_eq!(read, BTreeMap::from([("b".to_owned(), 7)]));
        let found = faults.into_findings();
        let found: Vec<_> =
            found.iter().map(|finding| format!("{}: {}", finding.key, finding.message)).collect();
        assert_eq!(found, ["x.a: write u16", "x.c: write u16"]);
    }
}
