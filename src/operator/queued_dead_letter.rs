//! A dead letter as an operator sees it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use ferryd_broker::headers::{self, DEAD};
use ferryd_broker::message::{get_text, persistent_properties};
use ferryd_broker::refused_message::{RefusedBody, RefusedMessage};
use ferryd_domain::command::{CommandEnvelope, EchoedIdentity, EncodedIdentity};
use ferryd_domain::dead_letter::{DeadLetter, shorten};
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_ledger::command_filter::{CommandFilter, UNREADABLE, WantedKind};
use ferryd_ledger::index::CommandRow;

/// A message in a queue of dead letters.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedDeadLetter {
    /// The queue it lies in.
    pub queue: String,
    /// Record of the dead letter in its header; `None` where it is missing or can't be read.
    pub letter: Option<DeadLetter>,
    /// The identity of the command; read from the message itself where there is no record.
    pub identity: EncodedIdentity,
    /// The original's properties, and the broker's additions.
    pub properties: BasicProperties,
    /// The original's body.
    pub body: Vec<u8>,
    /// The broker's refusal of the original, which then lies in the body of another message.
    pub refused: Option<BrokerRefusal>,
}

/// The broker's refusal of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokerRefusal {
    /// The reply code of AMQP.
    pub code: Option<u16>,
    /// The reply text of the broker.
    pub reason: String,
    /// True where only the beginning of the body is there.
    pub is_cut: bool,
}

impl QueuedDeadLetter {
    /// Reads a delivery. Never fails: whatever lies in the queue can be listed and discarded.
    #[must_use]
    pub fn read(queue: &str, delivery: &Delivery) -> Self {
        if let Some(refused) = RefusedMessage::read(&delivery.properties, &delivery.data) {
            let is_cut = matches!(refused.body, RefusedBody::Excerpt { .. });
            let refusal =
                BrokerRefusal { code: refused.code, reason: refused.reason.clone(), is_cut };
            return Self {
                refused: Some(refusal),
                ..Self::of(queue, &refused.properties(), &refused.body())
            };
        }
        Self::of(queue, &delivery.properties, &delivery.data)
    }

    fn of(queue: &str, properties: &BasicProperties, data: &[u8]) -> Self {
        let record = get_text(properties.headers().as_ref(), DEAD);
        let letter: Option<DeadLetter> = record.and_then(|json| serde_json::from_str(json).ok());
        let identity = letter.as_ref().map_or_else(
            || {
                EchoedIdentity::glean_identity(
                    &serde_json::from_slice(data).unwrap_or(Value::Null),
                    data,
                    envelope(properties, None),
                )
                .into()
            },
            |letter| letter.command.clone(),
        );
        let (queue, properties, body) = (queue.to_owned(), properties.clone(), data.to_vec());
        Self { queue, letter, identity, properties, body, refused: None }
    }

    /// The properties of a message that takes its place: those of the original, unless the broker
    /// has refused them. Then only what says which command it is, and who waits for its end.
    #[must_use]
    pub fn replacement_properties(&self) -> BasicProperties {
        let original = headers::carried_properties(&self.properties);
        if self.refused.is_none() {
            return original;
        }
        let kept = persistent_properties();
        let kept =
            original.message_id().clone().into_iter().fold(kept, BasicProperties::with_message_id);
        let kept =
            original.reply_to().clone().into_iter().fold(kept, BasicProperties::with_reply_to);
        original
            .correlation_id()
            .clone()
            .into_iter()
            .fold(kept, BasicProperties::with_correlation_id)
    }

    /// The name for why it was given up.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.letter.as_ref().map_or(UNREADABLE, |letter| letter.kind.as_str())
    }

    /// Returns the parts of the original beside its body that decoding reads. The routing key of a
    /// continuation is not that of a command.
    #[must_use]
    pub fn envelope(&self) -> CommandEnvelope<'_> {
        let key = self.letter.as_ref().and_then(|letter| letter.routing_key.as_deref());
        envelope(&self.properties, key.filter(|key| key.split('.').count() == 3))
    }

    /// Returns whether a filter means it. A dead letter without a record has no age; what only the
    /// ledger knows is true of none.
    #[must_use]
    pub fn is_meant_by(&self, filter: &CommandFilter) -> bool {
        let (letter, identity) = (self.letter.as_ref(), &self.identity);
        let at = letter.map(|letter| letter.dead_lettered_at);
        let kind = letter.map_or(WantedKind::Unreadable, |letter| letter.kind.into());
        let code = letter.and_then(|letter| letter.code.as_deref()).map(shorten);
        (filter.ids.is_empty() || filter.ids.contains(&identity.id))
            && is(filter.r#type.as_ref(), identity.r#type.as_ref())
            && is(filter.provider.as_ref(), identity.provider.as_ref())
            && is(filter.account.as_ref(), identity.account.as_ref())
            && is(filter.operation.as_ref(), identity.operation.as_ref())
            && is(filter.reference.as_ref(), identity.reference.as_ref())
            && is(filter.state.as_ref(), Some(&LifecycleState::Failed))
            && is(filter.kind.as_ref(), Some(&kind))
            && is(filter.code.as_deref().map(shorten), code)
            && is(
                filter.http_status.as_ref(),
                letter.and_then(|letter| letter.http_status.as_ref()),
            )
            && is(filter.generation.as_ref(), letter.map(|letter| &letter.generation))
            && filter.older_than.is_none_or(|before| at.is_some_and(|at| at < before))
            && filter.newer_than.is_none_or(|from| at.is_some_and(|at| at >= from))
            && !filter.conflicts
            && filter.cancel_requested != Some(true)
            && filter.scope.admits(identity)
    }
}

/// The part of the record beside a dead letter that says whose it is.
#[derive(Deserialize)]
pub struct LetterId<'a> {
    #[serde(borrow)]
    command: LetterCommand<'a>,
}

#[derive(Deserialize)]
struct LetterCommand<'a> {
    id: &'a str,
}

impl LetterId<'_> {
    /// Returns whether a dead letter is certainly of none of the commands that are `wanted`,
    /// without reading all of it.
    #[must_use]
    pub fn is_anothers(delivery: &Delivery, wanted: impl FnOnce(&str) -> bool) -> bool {
        let record = get_text(delivery.properties.headers().as_ref(), DEAD);
        let letter = record.and_then(|json| serde_json::from_str::<LetterId<'_>>(json).ok());
        letter.is_some_and(|letter| !wanted(letter.command.id))
    }
}

fn envelope<'a>(
    properties: &'a BasicProperties,
    routing_key: Option<&'a str>,
) -> CommandEnvelope<'a> {
    CommandEnvelope {
        routing_key,
        message_id: properties.message_id().as_ref().map(ShortString::as_str),
        correlation_id: properties.correlation_id().as_ref().map(ShortString::as_str),
    }
}

fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, found: Option<&T>) -> bool {
    wanted.is_none() || wanted == found
}

/// A line of a list of dead letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedDeadLetter {
    /// The queue it lies in; absent where the ledger answers, which does not know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The identity of the command.
    pub command: EncodedIdentity,
    /// The kind of its failure; `unreadable` where there is no record.
    pub kind: &'static str,
    /// The provider's error code, or ferryd's own code.
    pub code: Option<String>,
    /// For people.
    pub message: Option<String>,
    /// The status of the last answer.
    pub http_status: Option<u16>,
    /// The generation that failed.
    pub generation: Option<u32>,
    /// The number of its last call.
    pub attempt: Option<u32>,
    /// True if some call may have acted; absent where the ledger answers, which shows this for each
    /// command.
    pub unknown: Option<bool>,
    /// Time at which the command was dead-lettered.
    pub dead_lettered_at: Option<Timestamp>,
}

impl From<CommandRow> for ListedDeadLetter {
    /// A dead letter as the ledger knows it.
    fn from(row: CommandRow) -> Self {
        Self {
            queue: None,
            kind: row.kind.map_or(UNREADABLE, FailureKind::as_str),
            code: row.code,
            message: row.message,
            http_status: row.http_status,
            generation: Some(row.generation),
            attempt: Some(row.attempt),
            unknown: None,
            dead_lettered_at: row.ended_at,
            command: EchoedIdentity {
                id: row.id,
                r#type: row.r#type,
                provider: row.provider,
                account: row.account,
                operation: row.operation,
                reference: row.reference,
                metadata: BTreeMap::new(),
            }
            .into(),
        }
    }
}

impl From<&QueuedDeadLetter> for ListedDeadLetter {
    fn from(dead: &QueuedDeadLetter) -> Self {
        let letter = dead.letter.as_ref();
        Self {
            queue: Some(dead.queue.clone()),
            command: dead.identity.clone(),
            kind: dead.kind(),
            code: letter.and_then(|letter| letter.code.clone()),
            message: letter.map(|letter| letter.message.clone()),
            http_status: letter.and_then(|letter| letter.http_status),
            generation: letter.map(|letter| letter.generation),
            attempt: letter.map(|letter| letter.attempt),
            unknown: letter.map(|letter| letter.unknown),
            dead_lettered_at: letter.map(|letter| letter.dead_lettered_at),
        }
    }
}
