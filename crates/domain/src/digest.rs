//! Digests by which contents are compared and found: the first half of a SHA-256, in hexadecimal
//! digits.
//!
//! SHA-256 is ring's, which has fast code for processors without instructions of their own for it
//! too.

use ring::digest::{Context, SHA256};

/// The length of a digest, in bytes.
const LENGTH: usize = 16;

/// A digest that is being computed.
pub(crate) struct PartialDigest(Context);

impl PartialDigest {
    /// Begins with no bytes.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes.as_ref());
    }

    /// Returns the digest of all bytes.
    pub fn finish(self) -> String {
        hex::encode(&self.0.finish().as_ref()[..LENGTH])
    }
}

/// Returns a digest of 128 bits, in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let mut partial = PartialDigest::new();
    partial.update(bytes);
    partial.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_first_half_of_a_sha_256_whatever_the_parts() {
        // FIPS 180-4, and the same of no bytes.
        let expected =
            [("abc", "ba7816bf8f01cfea414140de5dae2223"), ("", "e3b0c44298fc1c149afbf4c8996fb924")];
        for (text, digits) in expected {
            assert_eq!(digest(text.as_bytes()), digits);
            let mut partial = PartialDigest::new();
            text.as_bytes().chunks(1).for_each(|part| partial.update(part));
            assert_eq!(partial.finish(), digits);
        }
    }
}
