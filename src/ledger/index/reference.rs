//! How a command is found by the reference that somebody calls it by.

use crate::domain::digest::digest;

/// The digest by which a command is found that somebody calls so. The text itself stands in the command's body alone, so that
/// erasing that erases it.
pub(super) fn reference_digest(reference: &str) -> String {
    digest(reference.as_bytes())
}
