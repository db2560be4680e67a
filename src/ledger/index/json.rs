//! What the index keeps as JSON.

use super::error::IndexError;

/// Writes plain data.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    // Plain data; it always has a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads what was written.
pub(super) fn parsed<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, IndexError> {
    serde_json::from_slice(json).map_err(|error| IndexError::Damaged(error.to_string()))
}
