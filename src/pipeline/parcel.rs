//! Reads a delivery into a message that can be worked on.
//!
//! A [`Parcel`] is any message with the identity that it shows; an [`Order`] is a parcel that holds
//! a valid command for its provider. The module [`origin`] determines how far each has come.

use std::sync::OnceLock;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use serde_json::Value;

use super::command_check::{check_account, check_operation, check_publisher, find_operation};
use super::origin::{self, ProgressSource, read_progress};
use super::publisher_rules::PublisherRules;
use ferryd_broker::headers::{self, Travel};
use ferryd_broker::message::Message;
use ferryd_broker::topology::Names;
use ferryd_domain::command::{Command, Envelope, Identity, Invalid};
use ferryd_domain::event::Trace;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::case::{Case, Phase};
use ferryd_domain::ledger::opening::content;
use ferryd_domain::ledger::record::{Asked, Guard, Opening, Step};
use ferryd_domain::lifecycle::{Kind, Limits};
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::Progress;
use ferryd_provider::{Idempotency, Operation, Provider};

/// A message for which ferryd is responsible.
#[derive(Debug, Clone)]
pub struct Parcel {
    /// The body, as published.
    pub body: Vec<u8>,
    /// The properties, as published, with those that the broker added.
    pub properties: BasicProperties,
    /// The identity of the command, as far as the message shows it.
    pub identity: Identity,
    /// The progress of the message.
    pub travel: Travel,
    /// The source that states the progress.
    pub source: ProgressSource,
    /// The trace context of the message.
    pub trace: Trace,
    /// The time after which no attempt starts.
    pub expires_at: Option<Timestamp>,
    /// True for a message of a publisher, false for one that ferryd sent on.
    pub fresh: bool,
    /// True where the broker had delivered the message before.
    pub redelivered: bool,
    /// The queue in which its publisher waits for the end, if it does.
    pub asked: Option<Asked>,
    /// The identity of the command for the ledger, once it is needed.
    opening: OnceLock<Opening>,
}

/// A valid command for one provider.
#[derive(Debug, Clone)]
pub struct Order {
    /// The message that holds the command.
    pub parcel: Parcel,
    /// The decoded command.
    pub command: Command,
    /// The URL at which the provider may call back about the command, once one is made.
    pub callback_url: Option<String>,
}

/// A parcel that is given up without a call.
#[derive(Debug)]
pub struct Refusal {
    /// The message.
    pub parcel: Parcel,
    /// The kind of the failure.
    pub kind: Kind,
    /// The fault of the message.
    pub failure: Failure,
    /// True where the message may once have been valid and its request sent: the provider file may
    /// have been changed since.
    pub perhaps_sent: bool,
    /// True where the rules for publishers refuse it.
    pub is_disallowed: bool,
}

impl Refusal {
    /// Gives up a delivery on a provider's queue that could not be read completely.
    #[must_use]
    pub fn unreadable(
        delivery: &Delivery,
        provider: &Provider,
        names: &Names,
        now: Timestamp,
        failure: Failure,
    ) -> Box<Self> {
        let mut parcel = Parcel::of_stray(delivery, names, now);
        parcel.identity.provider = Some(provider.name.clone());
        Box::new(Self { parcel, kind: Kind::Poison, failure, perhaps_sent: true, is_disallowed: false })
    }
}

impl Parcel {
    /// Takes an unroutable or poisonous message as it is, with the identity it shows.
    #[must_use]
    pub fn of_stray(delivery: &Delivery, names: &Names, now: Timestamp) -> Self {
        let progress = read_progress(delivery, names, now);
        let value = serde_json::from_slice(&delivery.data).unwrap_or(Value::Null);
        let identity = Identity::glean(&value, &delivery.data, envelope(delivery, progress.0.routing_key.as_deref()));
        Self::new(delivery, identity, progress, names)
    }

    fn new(delivery: &Delivery, identity: Identity, progress: (Travel, ProgressSource), names: &Names) -> Self {
        let (travel, source) = progress;
        Self {
            body: delivery.data.clone(),
            properties: delivery.properties.clone(),
            identity,
            expires_at: travel.extended_to,
            travel,
            source,
            trace: headers::trace(&delivery.properties),
            fresh: false,
            redelivered: delivery.redelivered,
            asked: asked(&delivery.properties, names),
            opening: OnceLock::new(),
        }
        .marked_fresh()
    }

    /// Reads a continuation that is not delivered yet, as if it were; `None` for any other message.
    #[must_use]
    pub fn of_continuation(message: &Message, names: &Names) -> Option<Self> {
        let Message { exchange, properties, body, .. } = message;
        let is_own = exchange.as_str() == names.redeliver() || exchange.as_str() == names.retry();
        let travel = is_own.then(|| Travel::read(properties.headers().as_ref())).flatten()?;
        let text = |property: &'_ Option<ShortString>| property.as_ref().map(ToString::to_string);
        let (message_id, correlation_id) = (text(properties.message_id()), text(properties.correlation_id()));
        let envelope = Envelope {
            routing_key: travel.routing_key.as_deref(),
            message_id: message_id.as_deref(),
            correlation_id: correlation_id.as_deref(),
        };
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let mut identity = Identity::glean(&value, body, envelope);
        let word = message.routing_key.as_str().split('.').nth(1).and_then(|word| word.parse().ok());
        identity.provider = word.or(identity.provider);
        let parcel = Self {
            body: body.clone(),
            properties: properties.clone(),
            identity,
            expires_at: travel.extended_to,
            travel,
            source: ProgressSource::Headers,
            trace: headers::trace(properties),
            fresh: false,
            redelivered: false,
            asked: asked(properties, names),
            opening: OnceLock::new(),
        };
        Some(parcel.marked_fresh())
    }

    /// Marks a message as fresh until the ledger knows it, also one that was only sent on to its
    /// provider's queue. A message beyond its first step is recorded, even where its headers do not
    /// say so because a version without a ledger sent it on.
    fn marked_fresh(mut self) -> Self {
        self.travel.recorded |= self.step() != Step::call(0, 1);
        self.fresh = !self.source.is_unproven() && !self.travel.recorded;
        self
    }

    /// Returns the identity of the command for the ledger: by its content where it is a valid
    /// command, else by its bytes.
    #[must_use]
    pub fn opening(&self) -> &Opening {
        self.opening.get_or_init(|| self.read_opening())
    }

    fn read_opening(&self) -> Opening {
        let envelope = Envelope {
            routing_key: self.travel.routing_key.as_deref().filter(|key| key.split('.').count() == 3),
            message_id: self.properties.message_id().as_ref().map(ShortString::as_str),
            correlation_id: None,
        };
        match Command::decode(&self.body, envelope) {
            Ok(command) => self.opening_of(&command),
            Err(_) => self.refused(),
        }
    }

    /// Replaces the identity of the command by that of a refused message, because the message holds
    /// none.
    pub(super) fn forget_opening(&mut self) {
        self.opening = OnceLock::from(self.refused());
    }

    /// Finds the fault of a message for `provider`, in its publisher, its fields and its names. The
    /// payload is not examined, because it may be what makes its handlers panic.
    pub(super) fn find_fault(&mut self, provider: Option<&Provider>, rules: &PublisherRules) -> Option<Failure> {
        let envelope = Envelope {
            routing_key: self.travel.routing_key.as_deref(),
            message_id: self.properties.message_id().as_ref().map(ShortString::as_str),
            correlation_id: None,
        };
        let command = match Command::decode(&self.body, envelope) {
            Err(invalid) => return Some(invalid.failure),
            Ok(command) => command,
        };
        let provider = provider?;
        let checked = check_publisher(&command, provider, rules, &mut self.travel);
        checked.and_then(|()| find_operation(&command, provider)).err()
    }

    fn refused(&self) -> Opening {
        let (asked, publisher) = (self.asked.clone(), self.travel.publisher.clone());
        Opening { asked, publisher, ..Opening::of_refused(&self.identity, &self.body) }
    }

    fn opening_of(&self, command: &Command) -> Opening {
        let provider = self.identity.provider.as_ref().or(command.provider.as_ref());
        let Some(provider) = provider else { return self.refused() };
        let (identity, asked) = (self.identity.clone().shortened(), self.asked.clone());
        Opening { identity, content: content(command, provider), asked, publisher: self.travel.publisher.clone() }
    }

    /// Returns the AMQP user that published this very message, as the broker attests.
    pub(super) fn user(&self) -> Option<String> {
        self.properties.user_id().as_ref().map(ToString::to_string)
    }

    /// Returns the step of the message.
    #[must_use]
    pub fn step(&self) -> Step {
        origin::step(&self.travel.progress)
    }

    /// Adds the command's recorded calls to those that the message states.
    pub fn recall(&mut self, case: &Case) {
        let progress = &mut self.travel.progress;
        if case.step.generation != progress.generation {
            return;
        }
        // An abandoned call under a key may be repeated at once, and may have acted. The ledger
        // rules on a claimed call.
        let abandoned = matches!(case.phase, Phase::Started { guard: Guard::Key(_), .. });
        progress.unknown |= case.unknown || abandoned;
        if abandoned {
            // The abandoned call is the latest, and may have begun just now: a "not found" proves
            // nothing for a while.
            progress.unknown_since = None;
        }
        progress.first_sent = case.first_sent.or(progress.first_sent);
        if case.key.is_some() {
            progress.key.clone_from(&case.key);
        }
        if case.digest.is_some() {
            progress.digest.clone_from(&case.digest);
            progress.token.clone_from(&case.token);
        }
    }

    /// Sets the key under which the operation is called, so that every message that follows names
    /// it. A request is only repeated under its first key. An operation without keys has none.
    pub fn settle_key(&mut self, operation: &Operation) {
        let Progress { generation, key, first_sent, .. } = &mut self.travel.progress;
        if first_sent.is_some() && key.is_some() {
            return;
        }
        let (id, named) = (&self.identity.id, key.take());
        *key = operation.idempotency.map(|Idempotency { max_length, .. }| {
            named.unwrap_or_else(|| IdempotencyKey::of_unnamed(id, *generation)).shortened_to(max_length)
        });
    }

    /// Assumes that a request may have been sent of which this message does not tell: its holder
    /// died, or the broker delivered it to another process. The key of that request can only have
    /// been this generation's.
    pub fn assume_sent(&mut self, operation: Option<&Operation>) {
        if operation.is_some_and(|operation| operation.repeatable) || self.travel.progress.inquiry.is_some() {
            return;
        }
        self.travel.progress.unknown = true;
        if let Some(operation) = operation.filter(|operation| operation.idempotency.is_some()) {
            self.settle_key(operation);
            let first_sent = &mut self.travel.progress.first_sent;
            *first_sent = first_sent.or_else(|| headers::stamped_at(&self.properties));
        }
    }
}

impl Order {
    /// Reads a delivery on a provider's queue.
    ///
    /// # Errors
    /// [`Refusal`]: the message is no valid command for this provider, or a continuation that can't be understood.
    pub fn read(
        delivery: &Delivery,
        provider: &Provider,
        names: &Names,
        rules: &PublisherRules,
        now: Timestamp,
    ) -> Result<Self, Box<Refusal>> {
        let mut progress = read_progress(delivery, names, now);
        let key = progress.0.routing_key.clone();
        let refuse = |identity: Identity, progress, kind, failure, perhaps_sent| {
            let mut parcel = Parcel::new(delivery, identity, progress, names);
            parcel.identity.provider = Some(provider.name.clone());
            Box::new(Refusal { parcel, kind, failure, perhaps_sent, is_disallowed: false })
        };
        let command = match Command::decode(&delivery.data, envelope(delivery, key.as_deref())) {
            Ok(command) => command,
            Err(Invalid { identity, failure }) => {
                return Err(refuse(*identity, progress, Kind::Invalid, failure, false));
            }
        };
        let identity = command.identity(&provider.name);
        if progress.1.is_unproven() {
            return Err(refuse(identity, progress, Kind::Unresolved, origin::unreadable_headers(), false));
        }
        let checked = check_publisher(&command, provider, rules, &mut progress.0)
            .and_then(|()| check_operation(&command, provider));
        let operation = match checked {
            Ok(operation) => operation,
            Err(failure) => {
                let is_disallowed = progress.0.unchecked && check_account(&command, provider).is_ok();
                let refusal = refuse(identity, progress, Kind::Invalid, failure, true);
                return Err(Box::new(Refusal { is_disallowed, ..*refusal }));
            }
        };
        let mut parcel = Parcel::new(delivery, identity, progress, names);
        parcel.settle_key(operation);
        parcel.expires_at = parcel.expires_at.or(command.expires_at);
        Ok(Self { parcel, command, callback_url: None })
    }

    /// Sets the identity of the command for the ledger, from the command that was decoded already.
    pub fn note_opening(&self) {
        self.parcel.opening.get_or_init(|| self.parcel.opening_of(&self.command));
    }

    /// Returns the progress of the message.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.parcel.travel.progress
    }

    /// Returns the progress of the message, to change it.
    pub fn progress_mut(&mut self) -> &mut Progress {
        &mut self.parcel.travel.progress
    }

    /// Returns the bounds of its attempts.
    #[must_use]
    pub fn limits(&self, operation: &Operation) -> Limits {
        Limits {
            policy: operation.retry.clone(),
            key_retention: operation.idempotency.map(|idempotency| idempotency.retention),
            not_before: self.command.not_before,
            expires_at: self.parcel.expires_at,
            deadline: operation.deadline,
            poll: operation.poll,
            lookup: self.progress().askable(operation.lookup),
        }
    }
}

fn envelope<'a>(delivery: &'a Delivery, routing_key: Option<&'a str>) -> Envelope<'a> {
    Envelope {
        routing_key,
        message_id: delivery.properties.message_id().as_ref().map(ShortString::as_str),
        correlation_id: delivery.properties.correlation_id().as_ref().map(ShortString::as_str),
    }
}

/// Returns the reply target that a publisher set with `reply_to`. ferryd's own queues are refused:
/// whoever may publish a command could otherwise write to them.
fn asked(properties: &BasicProperties, names: &Names) -> Option<Asked> {
    let reply_to = properties.reply_to().as_ref()?.as_str();
    let allowed = !reply_to.is_empty() && !names.owns(reply_to);
    let correlation_id = properties.correlation_id().as_ref().map(ToString::to_string);
    allowed.then(|| Asked { reply_to: reply_to.to_owned(), correlation_id })
}

#[cfg(test)]
#[path = "parcel_tests.rs"]
pub(in crate::pipeline) mod tests;
