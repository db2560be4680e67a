//! Which command a message is, for the ledger: its identity, and a digest of its content.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::record::Opening;
use crate::domain::command::{Command, Identity};
use crate::domain::name::Name;

/// What makes two commands the same: everything that a provider gets to see.
#[derive(Serialize)]
struct Content<'a> {
    r#type: &'a Name,
    provider: &'a Name,
    account: &'a Name,
    operation: &'a Name,
    payload: &'a Map<String, Value>,
}

impl Opening {
    /// Of a command for `provider`. Its content is digested in its canonical form (RFC 8785), so that neither the order of
    /// fields nor white space makes another one of it.
    #[must_use]
    pub fn of(command: &Command, provider: &Name) -> Self {
        Self { identity: command.identity(provider).shortened(), content: content(command, provider), asked: None }
    }

    /// Of a message that is no valid command: the same message again is the same.
    #[must_use]
    pub fn of_refused(identity: &Identity, body: &[u8]) -> Self {
        Self { identity: identity.clone().shortened(), content: format!("raw:{}", digest(body)), asked: None }
    }
}

/// A digest of the content of a command for `provider`.
#[must_use]
pub fn content(command: &Command, provider: &Name) -> String {
    let Command { kind, account, operation, payload, .. } = command;
    let content = Content { r#type: kind, provider, account, operation, payload };
    // A command was read from JSON; it always has a canonical form.
    digest(&serde_json_canonicalizer::to_vec(&content).unwrap_or_default())
}

fn digest(bytes: &[u8]) -> String {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(bytes)[..16]);
    format!("{:032x}", u128::from_be_bytes(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Envelope;

    fn content(body: &str) -> String {
        let command = Command::decode(body.as_bytes(), Envelope::default()).unwrap();
        Opening::of(&command, &"stripe".parse().unwrap()).content
    }

    #[test]
    fn the_same_content_has_one_digest_however_it_is_written() {
        let first = content(r#"{"id":"a","type":"payment","operation":"charge","payload":{"b":1.0,"a":"ü"}}"#);
        for same in [
            r#"{"type":"payment", "provider":"stripe", "operation":"charge","id":"b","payload":{"a":"ü","b":1}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"a":"\u00fc","b":1},"reference":"r"}"#,
        ] {
            assert_eq!(content(same), first, "{same}");
        }
        for other in [
            r#"{"id":"a","type":"payment","operation":"refund","payload":{"b":1,"a":"ü"}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","payload":{"b":2,"a":"ü"}}"#,
            r#"{"id":"a","type":"payment","operation":"charge","account":"eu","payload":{"b":1,"a":"ü"}}"#,
        ] {
            assert_ne!(content(other), first, "{other}");
        }
    }
}
