//! Merges a provider file with the built-in file that it builds on.

use serde_json::Value as Json;

/// Tables that are overridden as a whole: parts of two auth schemes or two idempotency rules do not
/// mix.
const STATED_WHOLE: [&str; 2] = ["auth", "idempotency"];

/// Overrides the values of a built-in file by those of a file: tables key by key, all other values
/// whole.
pub(super) fn merge_files(below: Json, above: &Json) -> Json {
    let (Json::Object(mut below), Json::Object(above)) = (below, above) else {
        return above.clone();
    };
    for (rival, other) in [("payload", "payload_file"), ("payload_file", "payload")] {
        if above.contains_key(rival) {
            below.shift_remove(other);
        }
    }
    for (key, value) in above {
        let merged = match below.get_mut(key) {
            Some(known) if !STATED_WHOLE.contains(&key.as_str()) => {
                merge_files(known.take(), value)
            }
            _ => value.clone(),
        };
        below.insert(key.clone(), merged);
    }
    Json::Object(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_goes_over_the_one_it_builds_on_key_by_key() {
        let below = json!({"a": {"b": 1, "c": 2}, "list": [1, 2], "auth": {"scheme": "bearer", "token": "t"}, "payload": {}});
        let above = json!({"a": {"b": 9}, "list": [3], "auth": {"scheme": "basic"}, "payload_file": "x.json"});
        let merged = json!({"a": {"b": 9, "c": 2}, "list": [3], "auth": {"scheme": "basic"}, "payload_file": "x.json"});
        assert_eq!(merge_files(below, &above), merged);
    }
}
