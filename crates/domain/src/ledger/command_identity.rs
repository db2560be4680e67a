//! The identity of a command for the ledger: its names, and a digest of its content.

use serde_json::{Map, Number, Value};

use super::record::CommandIdentity;
use crate::command::{Command, EchoedIdentity, EncodedIdentity};
use crate::digest::digest;
use crate::name::Name;

impl CommandIdentity {
    /// Returns the identity of a command for `provider`.
    #[must_use]
    pub fn of(command: &Command, provider: &Name) -> Self {
        let identity = command.identity(provider).shortened();
        let content = content_digest(command, provider);
        Self { command: identity, content_digest: content, reply_target: None, publisher: None }
    }

    /// Returns the identity of a message that is no valid command: a copy of the message has the
    /// same one.
    #[must_use]
    pub fn for_refused(identity: &EncodedIdentity, body: &[u8]) -> Self {
        let (identity, content) = (identity.shortened(), format!("raw:{}", digest(body)));
        Self { command: identity, content_digest: content, reply_target: None, publisher: None }
    }

    /// Returns true if the command is for this account of this provider.
    #[must_use]
    pub fn is_of(&self, provider: &Name, account: &Name) -> bool {
        let EchoedIdentity { provider: named, account: of, .. } = &*self.command;
        named.as_ref() == Some(provider) && of.as_ref() == Some(account)
    }
}

/// Returns a digest of the content that makes two commands the same: everything that a provider
/// receives.
///
/// Two payloads have one digest where they have one canonical form (RFC 8785), so that neither the
/// order of fields nor white space nor `1.0` for `1` makes another command. Unlike in that form,
/// whole numbers beyond 2^53 stay distinct.
#[must_use]
pub fn content_digest(command: &Command, provider: &Name) -> String {
    let Command { kind, account, operation, payload, .. } = command;
    let mut bytes = Vec::with_capacity(512);
    for name in [kind, provider, account, operation] {
        put_text(&mut bytes, name.as_str());
    }
    put_object(&mut bytes, payload);
    digest(&bytes)
}

/// Writes a value so that no other value begins with the same bytes.
fn put(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => bytes.push(b'n'),
        Value::Bool(value) => bytes.push(if *value { b't' } else { b'f' }),
        Value::Number(number) => put_number(bytes, number),
        Value::String(text) => put_text(bytes, text),
        Value::Array(items) => {
            put_count(bytes, b'[', items.len());
            for item in items {
                put(bytes, item);
            }
        }
        Value::Object(fields) => put_object(bytes, fields),
    }
}

fn put_object(bytes: &mut Vec<u8>, fields: &Map<String, Value>) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable_by_key(|(name, _)| *name);
    put_count(bytes, b'{', sorted.len());
    for (name, value) in sorted {
        put_text(bytes, name);
        put(bytes, value);
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, b's', text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_count(bytes: &mut Vec<u8>, tag: u8, count: usize) {
    bytes.push(tag);
    bytes.extend_from_slice(&count.to_be_bytes());
}

fn put_number(bytes: &mut Vec<u8>, number: &Number) {
    /// The first number beyond all that fit 64 bits.
    const BEYOND: f64 = 18_446_744_073_709_551_616.0;
    let fraction = number.as_f64().filter(|_| number.is_f64());
    let whole = match fraction {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole, and fits")]
        Some(fraction) if fraction.fract() == 0.0 && fraction.abs() < BEYOND => {
            Some(fraction as i128)
        }
        Some(_) => None,
        None => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
    };
    if let Some(whole) = whole {
        bytes.push(b'i');
        bytes.extend_from_slice(&whole.to_be_bytes());
    } else {
        bytes.push(b'd');
        bytes.extend_from_slice(&fraction.unwrap_or_default().to_bits().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandEnvelope;

    fn content_digest(body: &str) -> String {
        let command = Command::decode(body.as_bytes(), CommandEnvelope::default()).unwrap();
        CommandIdentity::of(&command, &"stripe".parse().unwrap()).content_digest
    }

    #[test]
    fn the_same_content_has_one_digest_however_it_is_written() {
        let first = content_digest(
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"b":1.0,"a":"ü"}}"#,
        );
        for same in [
            r#"{"type":"payment", "provider":"stripe", "operation":"charge","id":"b","payload":{"a":"ü","b":1}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"a":"\u00fc","b":1},"reference":"r"}"#,
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"b":10e-1,"a":"ü"},"x_note":1}"#,
        ] {
            assert_eq!(content_digest(same), first, "{same}");
        }
        for other in [
            r#"{"id":"a","type":"payment","operation":"refund","payload":{"b":1,"a":"ü"}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"b":2,"a":"ü"}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","account":"eu","payload":{"b":1,"a":"ü"}}"#,
        ] {
            assert_ne!(content_digest(other), first, "{other}");
        }
    }

    #[test]
    fn values_that_differ_have_different_digests() {
        let of = |value: &str| {
            let body = format!(
                r#"{{"id":"a","type":"payment","operation":"charge","payload":{{"v":{value}}}}}"#
            );
            content_digest(&body)
        };
        let values = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "0.1",
            "-0.1",
            "1e300",
            "1e301",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "9223372036854775808",
            "\"\"",
            "\"1\"",
            "\"null\"",
            "[]",
            "{}",
            "[[]]",
            "[[],[]]",
            "[\"a\",\"b\"]",
            "[\"ab\"]",
            "[1,2]",
            "[2,1]",
            "[12]",
            "{\"a\":1}",
            "{\"a\":null}",
            "{\"a\":{\"b\":1}}",
            "{\"a\":{},\"b\":1}",
            "\"{}\"",
            "\"\\u0000\"",
        ];
        let digests: std::collections::BTreeSet<_> = values.iter().map(|value| of(value)).collect();
        assert_eq!(digests.len(), values.len());
        for (one, same) in
            [("0", "-0.0"), ("1", "1.0"), ("100", "1e2"), ("1e300", "10e299"), ("0.5", "5e-1")]
        {
            assert_eq!(of(one), of(same), "{one} {same}");
        }
    }
}
