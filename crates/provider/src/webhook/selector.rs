//! The place of the signatures and of the time of signing in a call.

use std::time::Duration;

use base64::Engine as _;
use jiff::{SignedDuration, Timestamp};

use super::file::{SignatureEncoding, UnitFile};
use super::key::BASE64;
use super::verification_trace::{VerificationTrace, beginning};
use ferryd_domain::webhook::{RawWebhook, VerificationError};

/// The most signatures of one call that are checked.
const MOST_SIGNATURES: usize = 16;

/// The most digits of a timestamp in seconds, where the unit is detected.
const MOST_DIGITS_OF_SECONDS: usize = 11;

/// A place in a call's headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderSelector {
    /// The header's name in lower case.
    pub(super) header: String,
    /// The part of the header's value.
    pub(super) value: ValueSelector,
}

/// A part of a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueSelector {
    /// The whole value.
    Whole,
    /// The fields of one name in `t=…,v1=…`, and their separator.
    Field(String, char),
    /// The entries of one version in `v1,… v1,…`.
    Version(String),
}

impl HeaderSelector {
    /// The values at the place; empty if the header or the field is missing.
    fn values<'c>(&self, call: &'c RawWebhook) -> Vec<&'c str> {
        let Some(value) = call.header(&self.header) else { return Vec::new() };
        let named = |entry: &'c str, name: &str, between: char| {
            entry
                .split_once(between)
                .filter(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim())
        };
        let values: Vec<&str> = match &self.value {
            ValueSelector::Whole => vec![value.trim()],
            ValueSelector::Field(name, separator) => {
                value.split(*separator).filter_map(|entry| named(entry, name, '=')).collect()
            }
            ValueSelector::Version(version) => {
                value.split_whitespace().filter_map(|entry| named(entry, version, ',')).collect()
            }
        };
        values.into_iter().filter(|value| !value.is_empty()).collect()
    }

    /// Writes a value as the header, or the part of it, holds it.
    fn written(&self, value: &str) -> String {
        match &self.value {
            ValueSelector::Whole => value.to_owned(),
            ValueSelector::Field(name, _) => format!("{name}={value}"),
            ValueSelector::Version(version) => format!("{version},{value}"),
        }
    }

    /// Describes the place, for people.
    pub(super) fn described(&self) -> String {
        match &self.value {
            ValueSelector::Whole => format!("the header `{}`", self.header),
            ValueSelector::Field(name, _) => {
                format!("the field `{name}` of the header `{}`", self.header)
            }
            ValueSelector::Version(version) => {
                format!("the entries `{version},…` of the header `{}`", self.header)
            }
        }
    }

    /// The reason why no value was found at the place.
    fn missing(&self, call: &RawWebhook) -> String {
        match call.header(&self.header) {
            None => format!("the call has no header `{}`", self.header),
            Some(_) => match &self.value {
                ValueSelector::Whole => "the header is empty".to_owned(),
                ValueSelector::Field(name, _) => format!("the header has no field `{name}`"),
                ValueSelector::Version(version) => format!("the header has no entry `{version},…`"),
            },
        }
    }
}

/// The place and the encoding of signatures.
#[derive(Debug)]
pub(super) struct SignatureSelector {
    /// The place of the signatures.
    pub(super) place: HeaderSelector,
    /// The prefix of each signature.
    pub(super) prefix: String,
    /// The encoding of the signatures.
    pub(super) encoding: SignatureEncoding,
}

impl SignatureSelector {
    /// Reads every signature that can be decoded.
    pub(super) fn read(
        &self,
        call: &RawWebhook,
        trace: &mut VerificationTrace,
    ) -> Result<Vec<Vec<u8>>, VerificationError> {
        let looked_for = format!("signatures in {}", self.place.described());
        let found = self.place.values(call);
        if found.is_empty() {
            trace.note_failed(&looked_for, || self.place.missing(call));
            return Err(VerificationError::Unsigned);
        }
        let signatures: Vec<Vec<u8>> =
            found.iter().take(MOST_SIGNATURES).filter_map(|text| self.decoded(text)).collect();
        if signatures.is_empty() {
            trace.note_failed(&looked_for, || self.unreadable(&found));
            return Err(VerificationError::Unsigned);
        }
        trace.note_passed(&looked_for, || {
            let shown: Vec<_> =
                found.iter().take(MOST_SIGNATURES).map(|text| beginning(self.bare(text))).collect();
            shown.join(", ")
        });
        Ok(signatures)
    }

    /// Writes a signature as the header holds it.
    pub(super) fn written(&self, signature: &[u8]) -> String {
        self.place.written(&format!("{}{}", self.prefix, self.encoded(signature)))
    }

    /// Encodes a signature as text.
    pub(super) fn encoded(&self, signature: &[u8]) -> String {
        match self.encoding {
            SignatureEncoding::Hex => hex::encode(signature),
            SignatureEncoding::Base64 => BASE64.encode(signature),
        }
    }

    fn decoded(&self, text: &str) -> Option<Vec<u8>> {
        let text = text.strip_prefix(self.prefix.as_str())?;
        match self.encoding {
            SignatureEncoding::Hex => hex::decode(text).ok(),
            SignatureEncoding::Base64 => BASE64.decode(text).ok(),
        }
    }

    fn bare<'t>(&self, text: &'t str) -> &'t str {
        text.strip_prefix(self.prefix.as_str()).unwrap_or(text)
    }

    fn unreadable(&self, found: &[&str]) -> String {
        let encoding = match self.encoding {
            SignatureEncoding::Hex => "hexadecimal",
            SignatureEncoding::Base64 => "Base64",
        };
        let prefixed = found.iter().any(|text| text.starts_with(self.prefix.as_str()));
        let shown = found.first().map(|text| beginning(text)).unwrap_or_default();
        if prefixed {
            format!("{shown} is not {encoding}")
        } else {
            format!("{shown} does not begin with `{}`", self.prefix)
        }
    }
}

/// The place of the time of signing, and the greatest age of a call.
#[derive(Debug)]
pub(super) struct TimestampSelector {
    /// The place of the timestamp.
    pub(super) place: HeaderSelector,
    /// The unit of the timestamp.
    pub(super) unit: UnitFile,
    /// The tolerance around now.
    pub(super) tolerance: Duration,
}

impl TimestampSelector {
    /// Reads the time of signing, as its text and as a time.
    pub(super) fn read<'c>(
        &self,
        call: &'c RawWebhook,
        trace: &mut VerificationTrace,
    ) -> Result<(&'c str, Timestamp), VerificationError> {
        let looked_for = format!("the time of signing in {}", self.place.described());
        let Some(text) = self.place.values(call).first().copied() else {
            trace.note_failed(&looked_for, || self.place.missing(call));
            return Err(VerificationError::Unsigned);
        };
        let Some(time) = self.parsed(text) else {
            trace.note_failed(&looked_for, || {
                format!("{} is no count of {}", beginning(text), self.unit_words())
            });
            return Err(VerificationError::Unsigned);
        };
        trace.note_passed(&looked_for, || format!("`{text}`, which is {time}"));
        Ok((text, time))
    }

    /// Checks that a call signed at `time` is accepted now.
    pub(super) fn check_age(
        &self,
        time: Timestamp,
        now: Timestamp,
        trace: &mut VerificationTrace,
    ) -> Result<(), VerificationError> {
        let age = now.duration_since(time);
        let tolerance = SignedDuration::try_from(self.tolerance).unwrap_or(SignedDuration::MAX);
        let looked_for =
            format!("signed within {} of {now}", humantime::format_duration(self.tolerance));
        let describe_age = || {
            let away =
                humantime::format_duration(Duration::from_secs(age.abs().as_secs().unsigned_abs()));
            if age.is_negative() {
                format!("signed {away} in the future")
            } else {
                format!("signed {away} ago")
            }
        };
        if age.abs() > tolerance {
            trace.note_failed(&looked_for, describe_age);
            return Err(VerificationError::Stale);
        }
        trace.note_passed(&looked_for, describe_age);
        Ok(())
    }

    /// Writes a time as a call holds it.
    pub(super) fn text(&self, time: Timestamp) -> String {
        match self.unit {
            UnitFile::S => time.as_second().to_string(),
            UnitFile::Ms | UnitFile::Auto => time.as_millisecond().to_string(),
        }
    }

    /// Writes a time as the header, or the part of it, holds it.
    pub(super) fn written(&self, text: &str) -> String {
        self.place.written(text)
    }

    fn parsed(&self, text: &str) -> Option<Timestamp> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count: i64 = text.parse().ok()?;
        let seconds = match self.unit {
            UnitFile::S => true,
            UnitFile::Ms => false,
            UnitFile::Auto => text.len() <= MOST_DIGITS_OF_SECONDS,
        };
        let time = if seconds {
            Timestamp::from_second(count)
        } else {
            Timestamp::from_millisecond(count)
        };
        time.ok()
    }

    fn unit_words(&self) -> &'static str {
        match self.unit {
            UnitFile::S => "seconds",
            UnitFile::Ms => "milliseconds",
            UnitFile::Auto => "seconds or milliseconds",
        }
    }
}

#[cfg(test)]
#[path = "selector_tests.rs"]
mod tests;
