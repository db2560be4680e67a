//! Digests by which contents are compared and found.

use sha2::{Digest as _, Sha256};

/// Returns a digest of 128 bits, in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..16])
}
