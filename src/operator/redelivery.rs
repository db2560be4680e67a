//! Messages that ferryd sends in the place of a dead letter or beside it, straight to its provider.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::dead::Dead;
use ferryd_broker::headers::{self, Travel};
use ferryd_broker::message::{Message, TooLong, short};
use ferryd_broker::topology::Names;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::ledger::effects::HeaderValue;
use ferryd_domain::name::Name;
use ferryd_domain::progress::Progress;
use ferryd_provider::registry::Registry;

/// A question to a provider about a dead letter of which nobody knows whether it acted.
#[derive(Debug, Clone, PartialEq)]
pub enum DeadLetterQuestion {
    /// The message that has the provider asked.
    Ask(Box<Message>),
    /// There is nothing to ask, for this reason.
    Refuse(String),
}

/// The message with the body of a dead letter that goes straight to a provider.
///
/// # Errors
/// A name is too long for AMQP.
pub fn redelivery(
    names: &Names,
    dead: &Dead,
    own: &BTreeMap<String, HeaderValue>,
    kind: headers::Kind,
    provider: &Name,
) -> Result<Message, TooLong> {
    let properties = headers::with_own(dead.carried(), own);
    let key = format!("{}.{provider}", kind.as_str());
    let (exchange, routing_key) = (short(&names.redeliver())?, short(&key)?);
    Ok(Message { exchange, routing_key, properties, body: dead.body.clone() })
}

impl DeadLetterQuestion {
    /// Finds out what a provider can be asked about a dead letter. The dead letter stays: only an answer that says for certain what
    /// came of the command takes its place.
    ///
    /// # Errors
    /// A name is too long for AMQP.
    pub fn about(dead: &Dead, names: &Names, registry: &Registry, now: Timestamp) -> Result<Self, TooLong> {
        let (letter, progress, provider) = match askable(dead, registry, now) {
            Ok(askable) => askable,
            Err(reason) => return Ok(Self::Refuse(reason)),
        };
        let routing_key = dead.envelope().routing_key.map(str::to_owned);
        let extended_to = letter.expires_at;
        // Each is a message of its own, to be told from those that ended the command; two within a second are one.
        let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
        let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
        let travel = Travel { progress, hop, routing_key, extended_to, publisher, unchecked, ..Travel::fresh(now) };
        let (travel, kind) = (Travel { recorded: true, ..travel }, headers::Kind::Lookup);
        Ok(Self::Ask(Box::new(redelivery(names, dead, &travel.headers(kind), kind, provider)?)))
    }
}

/// The record of a dead letter, how far its command is, and the provider to ask.
///
/// # Errors
/// Why there is nothing to ask, for people.
fn askable<'d>(
    dead: &'d Dead,
    registry: &Registry,
    now: Timestamp,
) -> Result<(&'d DeadLetter, Progress, &'d Name), String> {
    let letter = dead.letter.as_ref().ok_or("the record beside the message can't be read")?;
    let progress = letter.look_up(now).ok_or_else(|| {
        format!("it is certain that its provider did nothing: it failed as `{}`", letter.kind.as_str())
    })?;
    let name = dead.identity.provider.as_ref().ok_or("it names no provider")?;
    let provider = registry.get(name).zip(dead.identity.operation.as_ref());
    let operation = provider.and_then(|(provider, name)| provider.operations.get(name));
    if operation.is_none_or(|operation| progress.askable(operation.lookup).is_none()) {
        let text = "its operation has no `lookup`, or one by an id that the provider has not told; write one into its \
                    provider's file, or look at the provider and use `ferryd dead-letters resolve`";
        return Err(text.to_owned());
    }
    Ok((letter, progress, name))
}
