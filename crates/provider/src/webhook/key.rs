//! Keys of signatures: their encodings, and the comparison with signatures.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use subtle::ConstantTimeEq as _;
use unicode_normalization::UnicodeNormalization as _;

use super::file::{AlgorithmFile, KeyEncoding};

/// Base64 with optional padding.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes before the point of a P-256 key in its SPKI (RFC 5480).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The bytes before an Ed25519 key in its SPKI (RFC 8410).
const SPKI_ED25519: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The reason why a text is no key. The error never quotes a part of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// The text is not encoded as the file says.
    #[error("the key is not {0}; copy it whole from the provider, or write another `key_encoding`")]
    Encoding(&'static str),
    /// The text is empty.
    #[error("the key is empty; copy it whole from the provider")]
    Empty,
    /// The key is for another algorithm.
    #[error("the key is no public key for `{0}`; copy the provider's public key whole")]
    NoPublicKey(&'static str),
    /// The encoding does not suit the algorithm: a secret is no SPKI, a public key is no text.
    #[error("keys of `{algorithm}` are not written so; write {remedy}")]
    Unfit {
        /// The algorithm.
        algorithm: &'static str,
        /// The advice which encoding to write.
        remedy: &'static str,
    },
}

/// A key, and the time until which it is accepted.
pub(super) struct VerificationKey {
    /// The time from which the key is not accepted; `None` for never.
    pub(super) until: Option<Timestamp>,
    /// The size of a secret in bytes; `None` for a public key.
    pub(super) secret_size: Option<usize>,
    verifier: KeyVerifier,
}

enum KeyVerifier {
    Secret(hmac::Key),
    Public(UnparsedPublicKey<Vec<u8>>),
}

impl AlgorithmFile {
    /// The algorithm's name as files write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "hmac_sha1",
            Self::HmacSha256 => "hmac_sha256",
            Self::EcdsaP256 => "ecdsa_p256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Returns true if the provider signs with a private key of its own.
    pub(super) fn is_asymmetric(self) -> bool {
        matches!(self, Self::EcdsaP256 | Self::Ed25519)
    }
}

impl VerificationKey {
    /// Parses a key.
    pub(super) fn new(
        algorithm: AlgorithmFile,
        encoding: KeyEncoding,
        text: &str,
        until: Option<Timestamp>,
    ) -> Result<Self, KeyError> {
        let name = algorithm.name();
        let mut secret_size = None;
        let mut shared = |algorithm: hmac::Algorithm| {
            let bytes = secret(name, encoding, text)?;
            secret_size = Some(bytes.len());
            Ok(KeyVerifier::Secret(hmac::Key::new(algorithm, &bytes)))
        };
        let verifier = match algorithm {
            AlgorithmFile::HmacSha1 => shared(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY)?,
            AlgorithmFile::HmacSha256 => shared(hmac::HMAC_SHA256)?,
            AlgorithmFile::EcdsaP256 => {
                let point = public(name, encoding, text, &SPKI_P256)?;
                let is_point = point.len() == 65 && point.first() == Some(&0x04);
                is_point.then_some(()).ok_or(KeyError::NoPublicKey(name))?;
                KeyVerifier::Public(UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point))
            }
            AlgorithmFile::Ed25519 => {
                let bytes = public(name, encoding, text, &SPKI_ED25519)?;
                (bytes.len() == 32).then_some(()).ok_or(KeyError::NoPublicKey(name))?;
                KeyVerifier::Public(UnparsedPublicKey::new(&ED25519, bytes))
            }
        };
        Ok(Self { until, secret_size, verifier })
    }

    /// Returns true if the key is accepted at this time.
    pub(super) fn is_taken(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Returns true if any of the signatures is made with this key over the content. Secret values
    /// are compared in constant time.
    pub(super) fn matches(&self, content: &[u8], signatures: &[Vec<u8>]) -> bool {
        match &self.verifier {
            KeyVerifier::Secret(key) => {
                let expected = hmac::sign(key, content);
                signatures.iter().any(|signature| bool::from(expected.as_ref().ct_eq(signature)))
            }
            KeyVerifier::Public(key) => {
                signatures.iter().any(|signature| key.verify(content, signature).is_ok())
            }
        }
    }

    /// Signs the content; `None` where only the provider can sign.
    pub(super) fn sign(&self, content: &[u8]) -> Option<Vec<u8>> {
        match &self.verifier {
            KeyVerifier::Secret(key) => Some(hmac::sign(key, content).as_ref().to_vec()),
            KeyVerifier::Public(_) => None,
        }
    }
}

/// Decodes a secret.
fn secret(name: &'static str, encoding: KeyEncoding, text: &str) -> Result<Vec<u8>, KeyError> {
    let bytes = match encoding {
        KeyEncoding::Utf8 => text.as_bytes().to_vec(),
        KeyEncoding::Utf8Nfkd => text.nfkd().collect::<String>().into_bytes(),
        KeyEncoding::Hex => hexadecimal(text)?,
        KeyEncoding::Base64 => base64(text)?,
        KeyEncoding::Spki => {
            let remedy = "`key_encoding` as `utf8`, `utf8_nfkd`, `hex` or `base64`";
            return Err(KeyError::Unfit { algorithm: name, remedy });
        }
    };
    if bytes.is_empty() { Err(KeyError::Empty) } else { Ok(bytes) }
}

/// Decodes a public key; `head` is the prefix of its SPKI.
fn public(
    name: &'static str,
    encoding: KeyEncoding,
    text: &str,
    head: &[u8],
) -> Result<Vec<u8>, KeyError> {
    match encoding {
        KeyEncoding::Hex => hexadecimal(text),
        KeyEncoding::Base64 => base64(text),
        KeyEncoding::Spki => {
            let der = base64(&without_armour(text))?;
            der.strip_prefix(head).map(<[u8]>::to_vec).ok_or(KeyError::NoPublicKey(name))
        }
        KeyEncoding::Utf8 | KeyEncoding::Utf8Nfkd => {
            let remedy = "`key_encoding` as `spki`, `base64` or `hex`";
            Err(KeyError::Unfit { algorithm: name, remedy })
        }
    }
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, KeyError> {
    hex::decode(text).map_err(|_| KeyError::Encoding("hexadecimal"))
}

fn base64(text: &str) -> Result<Vec<u8>, KeyError> {
    BASE64.decode(text).map_err(|_| KeyError::Encoding("Base64"))
}

/// Removes the armour of PEM, if there is one, and leaves the Base64.
pub(super) fn without_armour(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_what_the_file_says_is_refused_without_showing_it() {
        use AlgorithmFile::{EcdsaP256, Ed25519, HmacSha256};
        use KeyEncoding::{Base64, Hex, Spki, Utf8};
        let table = [
            (HmacSha256, Hex, "hush-hush", KeyError::Encoding("hexadecimal")),
            (HmacSha256, Base64, "hush hush", KeyError::Encoding("Base64")),
            (HmacSha256, Utf8, "", KeyError::Empty),
            (EcdsaP256, Base64, "aHVzaA==", KeyError::NoPublicKey("ecdsa_p256")),
            (Ed25519, Spki, "aHVzaA==", KeyError::NoPublicKey("ed25519")),
            (Ed25519, Hex, "00", KeyError::NoPublicKey("ed25519")),
        ];
        for (algorithm, encoding, text, expected) in table {
            let error = VerificationKey::new(algorithm, encoding, text, None).err();
            assert_eq!(error.as_ref(), Some(&expected), "{text}");
            assert!(text.is_empty() || !expected.to_string().contains(text));
        }
        for (algorithm, encoding) in
            [(HmacSha256, Spki), (EcdsaP256, Utf8), (Ed25519, KeyEncoding::Utf8Nfkd)]
        {
            let error = VerificationKey::new(algorithm, encoding, "x", None).err();
            assert!(matches!(error, Some(KeyError::Unfit { .. })), "{error:?}");
        }
    }

    #[test]
    fn padding_of_base64_may_be_left_out() {
        for text in ["aGk=", "aGk"] {
            assert_eq!(base64(text), Ok(b"hi".to_vec()));
        }
        assert!(base64("aGl=").is_err(), "bits that mean nothing are not passed over");
    }

    #[test]
    fn a_key_is_taken_until_it_ends() {
        let end = Timestamp::from_second(100).unwrap();
        let key =
            VerificationKey::new(AlgorithmFile::HmacSha256, KeyEncoding::Utf8, "x", Some(end))
                .ok()
                .unwrap();
        let taken =
            [99, 100, 101].map(|second| key.is_taken(Timestamp::from_second(second).unwrap()));
        assert_eq!(taken, [true, false, false]);
    }
}
