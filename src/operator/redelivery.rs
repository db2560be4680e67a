//! Messages that ferryd sends in the place of a dead letter or beside it, straight to its provider.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::queued_dead_letter::QueuedDeadLetter;
use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::message::{OutgoingMessage, TextTooLong, short_string};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::dead_letter::DeadLetter;
use ferryd_domain::ledger::effects::HeaderValue;
use ferryd_domain::name::Name;
use ferryd_domain::progress::GenerationProgress;
use ferryd_provider::registry::ProviderRegistry;

/// The lookup of a dead letter whose outcome is unknown.
#[derive(Debug, Clone, PartialEq)]
pub enum DeadLetterLookup {
    /// The message that makes the pipeline query the provider.
    Publish(Box<OutgoingMessage>),
    /// There is nothing to look up, for this reason.
    Refuse(String),
}

/// The message with the body of a dead letter that goes straight to a provider.
///
/// # Errors
/// A name is too long for AMQP.
pub fn redelivery(
    names: &TopologyNames,
    dead: &QueuedDeadLetter,
    own: &BTreeMap<String, HeaderValue>,
    kind: headers::ContinuationKind,
    provider: &Name,
) -> Result<OutgoingMessage, TextTooLong> {
    let properties = headers::add_own_headers(dead.replacement_properties(), own);
    let key = format!("{}.{provider}", kind.as_str());
    let (exchange, routing_key) = (short_string(names.redeliver())?, short_string(&key)?);
    Ok(OutgoingMessage { exchange, routing_key, properties, body: dead.body.clone() })
}

impl DeadLetterLookup {
    /// Finds the query that a provider answers about a dead letter. The dead letter stays: only an
    /// answer that states the outcome of the command takes its place.
    ///
    /// # Errors
    /// A name is too long for AMQP.
    pub fn about(
        dead: &QueuedDeadLetter,
        names: &TopologyNames,
        registry: &ProviderRegistry,
        now: Timestamp,
    ) -> Result<Self, TextTooLong> {
        let (letter, progress, provider) = match queryable(dead, registry, now) {
            Ok(queryable) => queryable,
            Err(reason) => return Ok(Self::Refuse(reason)),
        };
        let routing_key = dead.envelope().routing_key.map(str::to_owned);
        let extended_to = letter.expires_at;
        // Each is a message of its own, to be distinguished from those that ended the command; two
        // within a second are one.
        let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
        let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
        let state = MessageState {
            progress,
            hop,
            routing_key,
            extended_to,
            publisher,
            unchecked,
            ..MessageState::fresh(now)
        };
        let (state, kind) =
            (MessageState { recorded: true, ..state }, headers::ContinuationKind::Lookup);
        Ok(Self::Publish(Box::new(redelivery(names, dead, &state.headers(kind), kind, provider)?)))
    }
}

/// The record of a dead letter, how far its command is, and the provider to ask.
///
/// # Errors
/// The reason for which there is nothing to query, for people.
fn queryable<'d>(
    dead: &'d QueuedDeadLetter,
    registry: &ProviderRegistry,
    now: Timestamp,
) -> Result<(&'d DeadLetter, GenerationProgress, &'d Name), String> {
    let letter = dead.letter.as_ref().ok_or("the record beside the message can't be read")?;
    let progress = letter.look_up(now).ok_or_else(|| {
        format!(
            "it is certain that its provider did nothing: it failed as `{}`",
            letter.kind.as_str()
        )
    })?;
    let name = dead.identity.provider.as_ref().ok_or("it names no provider")?;
    let provider = registry.get(name).zip(dead.identity.operation.as_ref());
    let operation = provider.and_then(|(provider, name)| provider.operations.get(name));
    if operation.is_none_or(|operation| progress.askable_lookup(operation.lookup).is_none()) {
        let text = "its operation has no `lookup`, or one by an id that the provider has not returned; write one into its \
                    provider's file, or look at the provider and use `ferryd dead-letters resolve`";
        return Err(text.to_owned());
    }
    Ok((letter, progress, name))
}
