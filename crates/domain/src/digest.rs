//! Digests by which contents are compared and found.

use sha2::{Digest as _, Sha256};

/// Returns a digest of 128 bits, in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    format!("{:032x}", u128::from_be_bytes(half))
}
