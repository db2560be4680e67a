//! Private keys, with which tests and operators sign in place of a provider.

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

use super::file::AlgorithmFile;
use super::key::{BASE64, without_armour};

/// A private key, for schemes in which the provider signs with a key of its own.
pub struct PrivateKey(SigningPair);

enum SigningPair {
    EcdsaP256(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// The error that a text is no supported private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no private key in PKCS#8 for P-256 or Ed25519; make one with `openssl genpkey`")]
pub struct InvalidPrivateKey;

impl PrivateKey {
    /// Parses a key in PKCS#8: PEM, or its Base64 alone.
    ///
    /// # Errors
    /// The text is no such key.
    pub fn parse(text: &str) -> Result<Self, InvalidPrivateKey> {
        let der = BASE64.decode(without_armour(text)).map_err(|_| InvalidPrivateKey)?;
        if let Ok(pair) =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &SystemRandom::new())
        {
            return Ok(Self(SigningPair::EcdsaP256(Box::new(pair))));
        }
        let pair =
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| InvalidPrivateKey)?;
        Ok(Self(SigningPair::Ed25519(Box::new(pair))))
    }

    /// Signs the content; `None` if the key is for another algorithm. ECDSA signatures contain
    /// random bytes of the system, so no two are the same.
    pub(super) fn sign(&self, algorithm: AlgorithmFile, content: &[u8]) -> Option<Vec<u8>> {
        match (&self.0, algorithm) {
            (SigningPair::EcdsaP256(pair), AlgorithmFile::EcdsaP256) => pair
                .sign(&SystemRandom::new(), content)
                .ok()
                .map(|signature| signature.as_ref().to_vec()),
            (SigningPair::Ed25519(pair), AlgorithmFile::Ed25519) => {
                Some(pair.sign(content).as_ref().to_vec())
            }
            _ => None,
        }
    }
}
