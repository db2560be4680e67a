//! JSON values in columns of the index.

use super::error::IndexError;

/// Writes plain data as JSON.
pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    // Plain data always has a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads a JSON value that the index has written.
pub(super) fn parse_json<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, IndexError> {
    serde_json::from_slice(json).map_err(|error| IndexError::Damaged(error.to_string()))
}
