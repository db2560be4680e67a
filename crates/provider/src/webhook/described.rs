//! Verifies calls by a scheme that a file describes.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::explain::{Trail, beginning};
use super::file::AlgorithmFile;
use super::form;
use super::key::Key;
use super::place::{SignaturePlace, TimestampPlace};
use super::signed::Signed;
use ferryd_domain::callback::{RawCallback, Unverified};

/// A scheme that a file describes.
pub(super) struct Described {
    /// The signature algorithm.
    pub(super) algorithm: AlgorithmFile,
    /// The keys; one match is enough.
    pub(super) keys: Vec<Key>,
    /// The place of signatures in a call.
    pub(super) signature: SignaturePlace,
    /// The place of the time of signing; `None` where calls carry none.
    pub(super) timestamp: Option<TimestampPlace>,
    /// The signed content.
    pub(super) signed: Signed,
    /// The query parameter with the body's SHA-256.
    pub(super) body_digest: Option<String>,
    /// True where an operator accepted that no part of the body is signed.
    pub(super) unsigned_body: bool,
}

impl Described {
    /// Verifies that a call is the provider's own, and records the steps.
    pub(super) fn examine(&self, call: &RawCallback, now: Timestamp, trail: &mut Trail) -> Result<(), Unverified> {
        let signatures = self.signature.read(call, trail)?;
        let stamp = match &self.timestamp {
            Some(place) => Some(place.read(call, trail)?),
            None => None,
        };
        self.check_body(call, trail)?;
        let text = stamp.map(|(text, _)| text);
        let contents = self.contents(call, text, trail)?;
        self.check_keys(&contents, &signatures, now, trail).inspect_err(|_| {
            self.hint(call, text, &signatures, now, trail);
        })?;
        match (&self.timestamp, stamp) {
            (Some(place), Some((_, time))) => place.check_age(time, now, trail),
            _ => Ok(()),
        }
    }

    /// The texts that may have been signed.
    pub(super) fn contents(
        &self,
        call: &RawCallback,
        timestamp: Option<&str>,
        trail: &mut Trail,
    ) -> Result<Vec<Vec<u8>>, Unverified> {
        let contents = self.signed.contents(call, timestamp).map_err(|none| {
            trail.failed("everything that is signed", || none.to_string());
            Unverified::Unsigned
        })?;
        trail.passed("everything that is signed", || {
            let bytes = contents.first().map_or(0, Vec::len);
            let ways = if contents.len() > 1 { format!(", written in {} ways", contents.len()) } else { String::new() };
            format!("{bytes} bytes{ways}")
        });
        Ok(contents)
    }

    /// Requires that the signature covers the body: its bytes, its parameters, or its digest.
    fn check_body(&self, call: &RawCallback, trail: &mut Trail) -> Result<(), Unverified> {
        let covered = self.signed.has_body() || (self.signed.has_form() && form::is_form(call));
        let digest = self.body_digest.as_deref().and_then(|name| Some((name, call.query(name)?)));
        if let Some((name, given)) = digest {
            let looked_for = format!("the body's SHA-256 in the parameter `{name}` of the query");
            let expected = body_digest(call);
            if !bool::from(expected.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes())) {
                trail.failed(&looked_for, || format!("{}, the body's is {}", beginning(&given), beginning(&expected)));
                return Err(Unverified::Forged);
            }
            trail.passed(&looked_for, || beginning(&given));
        } else if !covered && !self.unsigned_body && !call.body.is_empty() {
            trail.failed("a sign of the body in what is signed", || {
                let digest = self.body_digest.as_deref().unwrap_or_default();
                format!("it is no form, and the query has no `{digest}`, so anyone could have written it")
            });
            return Err(Unverified::Unsigned);
        }
        Ok(())
    }

    fn check_keys(
        &self,
        contents: &[Vec<u8>],
        signatures: &[Vec<u8>],
        now: Timestamp,
        trail: &mut Trail,
    ) -> Result<(), Unverified> {
        for (number, key) in self.keys.iter().enumerate().filter(|(_, key)| key.is_taken(now)) {
            let looked_for = format!("a signature by key {}", number + 1);
            if contents.iter().any(|content| key.matches(content, signatures)) {
                trail.passed(&looked_for, || "it matches".to_owned());
                return Ok(());
            }
            trail.noted(&looked_for, || {
                let expected = contents.first().and_then(|content| key.sign(content));
                let expected = expected.map(|signature| beginning(&self.signature.encoded(&signature)));
                expected.map_or("none".to_owned(), |expected| format!("none; it would begin with {expected}"))
            });
        }
        trail.failed("a signature by any key", || "none".to_owned());
        Err(Unverified::Forged)
    }

    /// Checks the usual reasons why a genuine call does not match.
    fn hint(
        &self,
        call: &RawCallback,
        timestamp: Option<&str>,
        signatures: &[Vec<u8>],
        now: Timestamp,
        trail: &mut Trail,
    ) {
        if !trail.is_told() {
            return;
        }
        let matching = |call: &RawCallback, taken: bool| {
            let contents = self.signed.contents(call, timestamp).unwrap_or_default();
            let keys = self.keys.iter().filter(|key| key.is_taken(now) == taken);
            keys.into_iter().any(|key| contents.iter().any(|content| key.matches(content, signatures)))
        };
        if matching(call, false) {
            trail.noted("a key that is no longer taken", || "it matches one; its `until` has passed".to_owned());
        }
        let endings: [&[u8]; 2] = [b"\r\n", b"\n"];
        let shorter = endings.iter().filter_map(|ending| call.body.strip_suffix(*ending));
        let mut shorter = shorter.map(|body| RawCallback { body: call.body.slice(..body.len()), ..call.clone() });
        if shorter.any(|call| matching(&call, true)) {
            trail.noted("the usual change to a body", || "it matches without the line break at its end".to_owned());
        }
    }
}

/// The body's SHA-256 in hexadecimal.
pub(super) fn body_digest(call: &RawCallback) -> String {
    hex::encode(Sha256::digest(&call.body))
}
