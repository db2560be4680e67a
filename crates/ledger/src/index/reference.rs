//! Finds a command by its publisher's reference.

use ferryd_domain::digest::digest;

/// Digests a publisher's reference, so that a command is found by it. Only the command's body has
/// the text itself, so erasing the body erases the reference.
pub(super) fn reference_digest(reference: &str) -> String {
    digest(reference.as_bytes())
}
