//! Verifies calls by a scheme that a file describes.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::file::AlgorithmFile;
use super::form;
use super::key::VerificationKey;
use super::selector::{SignatureSelector, TimestampSelector};
use super::signed_payload::SignedPayload;
use super::verification_trace::{VerificationTrace, beginning};
use ferryd_domain::webhook::{RawWebhook, VerificationError};

/// A scheme that a file describes.
pub(super) struct DescribedScheme {
    /// The signature algorithm.
    pub(super) algorithm: AlgorithmFile,
    /// The keys; one match is enough.
    pub(super) keys: Vec<VerificationKey>,
    /// The place of signatures in a call.
    pub(super) signature: SignatureSelector,
    /// The place of the time of signing; `None` where calls carry none.
    pub(super) timestamp: Option<TimestampSelector>,
    /// The signed content.
    pub(super) signed: SignedPayload,
    /// The query parameter with the body's SHA-256.
    pub(super) body_digest: Option<String>,
    /// True where an operator accepted that no part of the body is signed.
    pub(super) unsigned_body: bool,
}

impl DescribedScheme {
    /// Verifies that a call is the provider's own, and records the steps.
    pub(super) fn verify_call(
        &self,
        call: &RawWebhook,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let signatures = self.signature.read(call, trace)?;
        let stamp = match &self.timestamp {
            Some(place) => Some(place.read(call, trace)?),
            None => None,
        };
        self.check_body(call, trace)?;
        let text = stamp.map(|(text, _)| text);
        let contents = self.signed_contents(call, text, trace)?;
        self.check_keys(&contents, &signatures, now, trace).inspect_err(|_| {
            self.hint_at_cause(call, text, &signatures, now, trace);
        })?;
        match (&self.timestamp, stamp) {
            (Some(place), Some((_, time))) => place.check_age(time, now, trace),
            _ => Ok(()),
        }
    }

    /// The texts that may have been signed.
    pub(super) fn signed_contents(
        &self,
        call: &RawWebhook,
        timestamp: Option<&str>,
        trace: &mut VerificationTrace,
    ) -> Result<Vec<Vec<u8>>, VerificationError> {
        let contents = self.signed.signed_contents(call, timestamp).map_err(|none| {
            trace.note_failed("everything that is signed", || none.to_string());
            VerificationError::Unsigned
        })?;
        trace.note_passed("everything that is signed", || {
            let bytes = contents.first().map_or(0, Vec::len);
            let ways = if contents.len() > 1 {
                format!(", written in {} ways", contents.len())
            } else {
                String::new()
            };
            format!("{bytes} bytes{ways}")
        });
        Ok(contents)
    }

    /// Requires that the signature covers the body: its bytes, its parameters, or its digest.
    fn check_body(
        &self,
        call: &RawWebhook,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let covered = self.signed.has_body() || (self.signed.has_form() && form::is_form(call));
        let digest = self.body_digest.as_deref().and_then(|name| Some((name, call.query(name)?)));
        if let Some((name, given)) = digest {
            let looked_for = format!("the body's SHA-256 in the parameter `{name}` of the query");
            let expected = body_digest(call);
            if !bool::from(expected.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes())) {
                trace.note_failed(&looked_for, || {
                    format!("{}, the body's is {}", beginning(&given), beginning(&expected))
                });
                return Err(VerificationError::Forged);
            }
            trace.note_passed(&looked_for, || beginning(&given));
        } else if !covered && !self.unsigned_body && !call.body.is_empty() {
            trace.note_failed("a sign of the body in what is signed", || {
                let digest = self.body_digest.as_deref().unwrap_or_default();
                format!("it is no form, and the query has no `{digest}`, so anyone could have written it")
            });
            return Err(VerificationError::Unsigned);
        }
        Ok(())
    }

    fn check_keys(
        &self,
        contents: &[Vec<u8>],
        signatures: &[Vec<u8>],
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        for (number, key) in self.keys.iter().enumerate().filter(|(_, key)| key.is_taken(now)) {
            let looked_for = format!("a signature by key {}", number + 1);
            if contents.iter().any(|content| key.matches(content, signatures)) {
                trace.note_passed(&looked_for, || "it matches".to_owned());
                return Ok(());
            }
            trace.note_observation(&looked_for, || {
                let expected = contents.first().and_then(|content| key.sign(content));
                let expected =
                    expected.map(|signature| beginning(&self.signature.encoded(&signature)));
                expected.map_or("none".to_owned(), |expected| {
                    format!("none; it would begin with {expected}")
                })
            });
        }
        trace.note_failed("a signature by any key", || "none".to_owned());
        Err(VerificationError::Forged)
    }

    /// Checks the usual reasons why a genuine call does not match.
    fn hint_at_cause(
        &self,
        call: &RawWebhook,
        timestamp: Option<&str>,
        signatures: &[Vec<u8>],
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) {
        if !trace.is_recording() {
            return;
        }
        let matching = |call: &RawWebhook, taken: bool| {
            let contents = self.signed.signed_contents(call, timestamp).unwrap_or_default();
            let keys = self.keys.iter().filter(|key| key.is_taken(now) == taken);
            keys.into_iter()
                .any(|key| contents.iter().any(|content| key.matches(content, signatures)))
        };
        if matching(call, false) {
            trace.note_observation("a key that is no longer taken", || {
                "it matches one; its `until` has passed".to_owned()
            });
        }
        let endings: [&[u8]; 2] = [b"\r\n", b"\n"];
        let shorter = endings.iter().filter_map(|ending| call.body.strip_suffix(*ending));
        let mut shorter =
            shorter.map(|body| RawWebhook { body: call.body.slice(..body.len()), ..call.clone() });
        if shorter.any(|call| matching(&call, true)) {
            trace.note_observation("the usual change to a body", || {
                "it matches without the line break at its end".to_owned()
            });
        }
    }
}

/// The body's SHA-256 in hexadecimal.
pub(super) fn body_digest(call: &RawWebhook) -> String {
    hex::encode(Sha256::digest(&call.body))
}
