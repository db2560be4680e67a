//! Finds a command by its publisher's reference.

use sha2::{Digest as _, Sha256};

/// A digest of a publisher's or a provider's reference.
pub(super) type ReferenceDigest = [u8; 16];

/// Digests a reference, so that a command is found by it. Only the command's body has the text
/// itself, so erasing the body erases the reference.
pub(super) fn reference_digest(reference: &str) -> ReferenceDigest {
    let mut half = ReferenceDigest::default();
    half.copy_from_slice(&Sha256::digest(reference.as_bytes())[..16]);
    half
}
