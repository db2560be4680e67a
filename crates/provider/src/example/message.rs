//! Headers and body of an example, as they are sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value as Json;

/// Encodes headers and body: a map or list as JSON, a text unchanged.
pub(super) fn message(
    headers: &BTreeMap<String, String>,
    body: Option<&Json>,
) -> (Vec<(String, String)>, Bytes) {
    let mut headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let body = match body {
        None => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(value) => {
            if header_of(&headers, "content-type").is_none() {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            value.to_string()
        }
    };
    (headers, body.into())
}

pub(super) fn header_of<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}
