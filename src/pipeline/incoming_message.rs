//! Reads a delivery into a message that can be worked on.
//!
//! An [`IncomingMessage`] is any message with the identity that it shows; a
//! [`CommandMessage`](super::command_message::CommandMessage) is one that holds a valid command for
//! its provider. The module [`message_origin`] determines how far each has come.

use std::sync::OnceLock;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::ShortString;
use serde_json::Value;

use super::command_check::{check_publisher, find_operation};
use super::message_origin::{self, ProgressSource, read_progress};
use super::publisher_rules::PublisherRules;
use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::message::OutgoingMessage;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command::{Command, CommandEnvelope, EchoedIdentity, EncodedIdentity};
use ferryd_domain::event::TraceContext;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::command_identity::content_digest;
use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::record::{CallGuard, CommandIdentity, ReplyTarget, Step};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::GenerationProgress;
use ferryd_provider::{IdempotencyPolicy, Operation, Provider};

/// A message for which ferryd is responsible.
#[derive(Debug, Clone)]
pub struct IncomingMessage {
    /// The body, as published.
    pub body: Vec<u8>,
    /// The properties, as published, with those that the broker added.
    pub properties: BasicProperties,
    /// The identity of the command, as far as the message shows it.
    pub identity: EncodedIdentity,
    /// The progress of the message.
    pub state: MessageState,
    /// The source that states the progress.
    pub source: ProgressSource,
    /// The trace context of the message.
    pub trace: TraceContext,
    /// The time after which no attempt starts.
    pub expires_at: Option<Timestamp>,
    /// True for a message of a publisher, false for one that ferryd sent on.
    pub fresh: bool,
    /// True where the broker had delivered the message before.
    pub redelivered: bool,
    /// The queue in which its publisher waits for the end, if it does.
    pub reply_target: Option<ReplyTarget>,
    /// The identity of the command for the ledger, once it is needed.
    pub(super) command_identity: OnceLock<CommandIdentity>,
}

/// A message that is given up without a call.
#[derive(Debug)]
pub struct MessageRefusal {
    /// The message.
    pub message: IncomingMessage,
    /// The kind of the failure.
    pub kind: FailureKind,
    /// The fault of the message.
    pub failure: Failure,
    /// True where the message may once have been valid and its request sent: the provider file may
    /// have been changed since.
    pub perhaps_sent: bool,
    /// True where the rules for publishers refuse it.
    pub is_disallowed: bool,
}

impl MessageRefusal {
    /// Gives up a delivery on a provider's queue that could not be read completely.
    #[must_use]
    pub fn for_unreadable(
        delivery: &Delivery,
        provider: &Provider,
        names: &TopologyNames,
        now: Timestamp,
        failure: Failure,
    ) -> Box<Self> {
        let mut message = IncomingMessage::from_unroutable(delivery, names, now);
        message.set_provider(Some(provider.name.clone()));
        Box::new(Self {
            message,
            kind: FailureKind::Poison,
            failure,
            perhaps_sent: true,
            is_disallowed: false,
        })
    }
}

impl IncomingMessage {
    /// Takes an unroutable or poisonous message as it is, with the identity it shows.
    #[must_use]
    pub fn from_unroutable(delivery: &Delivery, names: &TopologyNames, now: Timestamp) -> Self {
        let progress = read_progress(delivery, names, now);
        let value = serde_json::from_slice(&delivery.data).unwrap_or(Value::Null);
        let identity = EchoedIdentity::glean_identity(
            &value,
            &delivery.data,
            envelope(delivery, progress.0.routing_key.as_deref()),
        );
        Self::new(delivery, identity.into(), progress, names)
    }

    pub(super) fn new(
        delivery: &Delivery,
        identity: EncodedIdentity,
        progress: (MessageState, ProgressSource),
        names: &TopologyNames,
    ) -> Self {
        let (state, source) = progress;
        Self {
            body: delivery.data.clone(),
            properties: delivery.properties.clone(),
            identity,
            expires_at: state.extended_to,
            state,
            source,
            trace: headers::trace(&delivery.properties),
            fresh: false,
            redelivered: delivery.redelivered,
            reply_target: reply_target(&delivery.properties, names),
            command_identity: OnceLock::new(),
        }
        .marked_fresh()
    }

    /// Reads a continuation that is not delivered yet, as if it were; `None` for any other message.
    #[must_use]
    pub fn from_continuation(message: &OutgoingMessage, names: &TopologyNames) -> Option<Self> {
        let OutgoingMessage { exchange, properties, body, .. } = message;
        let is_own = exchange.as_str() == names.redeliver() || exchange.as_str() == names.retry();
        let state = is_own.then(|| MessageState::read(properties.headers().as_ref())).flatten()?;
        let text = |property: &'_ Option<ShortString>| property.as_ref().map(ToString::to_string);
        let (message_id, correlation_id) =
            (text(properties.message_id()), text(properties.correlation_id()));
        let envelope = CommandEnvelope {
            routing_key: state.routing_key.as_deref(),
            message_id: message_id.as_deref(),
            correlation_id: correlation_id.as_deref(),
        };
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let mut identity = EchoedIdentity::glean_identity(&value, body, envelope);
        let word =
            message.routing_key.as_str().split('.').nth(1).and_then(|word| word.parse().ok());
        identity.provider = word.or(identity.provider);
        let incoming = Self {
            body: body.clone(),
            properties: properties.clone(),
            identity: identity.into(),
            expires_at: state.extended_to,
            state,
            source: ProgressSource::Headers,
            trace: headers::trace(properties),
            fresh: false,
            redelivered: false,
            reply_target: reply_target(properties, names),
            command_identity: OnceLock::new(),
        };
        Some(incoming.marked_fresh())
    }

    /// Marks a message as fresh until the ledger knows it, also one that was only sent on to its
    /// provider's queue. A message beyond its first step is recorded, even where its headers do not
    /// say so because a version without a ledger sent it on.
    fn marked_fresh(mut self) -> Self {
        self.state.recorded |= self.step() != Step::call(0, 1);
        self.fresh = !self.source.is_unproven() && !self.state.recorded;
        self
    }

    /// Returns the identity of the command for the ledger: by its content where it is a valid
    /// command, else by its bytes.
    #[must_use]
    pub fn command_identity(&self) -> &CommandIdentity {
        self.command_identity.get_or_init(|| self.read_identity())
    }

    fn read_identity(&self) -> CommandIdentity {
        let envelope = CommandEnvelope {
            routing_key: self
                .state
                .routing_key
                .as_deref()
                .filter(|key| key.split('.').count() == 3),
            message_id: self.properties.message_id().as_ref().map(ShortString::as_str),
            correlation_id: None,
        };
        match Command::decode(&self.body, envelope) {
            Ok(command) => self.identity_of(&command),
            Err(_) => self.refused(),
        }
    }

    /// Replaces the identity of the command by that of a refused message, because the message holds
    /// none.
    pub(super) fn clear_identity(&mut self) {
        self.command_identity = OnceLock::from(self.refused());
    }

    /// Finds the fault of a message for `provider`, in its publisher, its fields and its names. The
    /// payload is not examined, because it may be what makes its handlers panic.
    pub(super) fn find_fault(
        &mut self,
        provider: Option<&Provider>,
        rules: &PublisherRules,
    ) -> Option<Failure> {
        let envelope = CommandEnvelope {
            routing_key: self.state.routing_key.as_deref(),
            message_id: self.properties.message_id().as_ref().map(ShortString::as_str),
            correlation_id: None,
        };
        let command = match Command::decode(&self.body, envelope) {
            Err(invalid) => return Some(invalid.failure),
            Ok(command) => command,
        };
        let provider = provider?;
        let checked = check_publisher(&command, provider, rules, &mut self.state);
        checked.and_then(|()| find_operation(&command, provider)).err()
    }

    /// Sets the provider that the identity names.
    pub(super) fn set_provider(&mut self, provider: Option<Name>) {
        if self.identity.provider != provider {
            self.identity = self.identity.with_changes(|identity| identity.provider = provider);
        }
    }

    fn refused(&self) -> CommandIdentity {
        let (target, publisher) = (self.reply_target.clone(), self.state.publisher.clone());
        CommandIdentity {
            reply_target: target,
            publisher,
            ..CommandIdentity::for_refused(&self.identity, &self.body)
        }
    }

    pub(super) fn identity_of(&self, command: &Command) -> CommandIdentity {
        let provider = self.identity.provider.as_ref().or(command.provider.as_ref());
        let Some(provider) = provider else { return self.refused() };
        let (identity, target) = (self.identity.shortened(), self.reply_target.clone());
        CommandIdentity {
            command: identity,
            content_digest: content_digest(command, provider),
            reply_target: target,
            publisher: self.state.publisher.clone(),
        }
    }

    /// Returns the AMQP user that published this very message, as the broker attests.
    pub(super) fn user(&self) -> Option<String> {
        self.properties.user_id().as_ref().map(ToString::to_string)
    }

    /// Returns the step of the message.
    #[must_use]
    pub fn step(&self) -> Step {
        message_origin::message_step(&self.state.progress)
    }

    /// Adds the command's recorded calls to those that the message states.
    pub fn merge_recorded(&mut self, state: &CommandState) {
        let progress = &mut self.state.progress;
        if state.step.generation != progress.generation {
            return;
        }
        // An abandoned call under a key may be repeated at once, and may have acted. The ledger
        // rules on a claimed call.
        let abandoned = matches!(state.phase, CallPhase::Started { guard: CallGuard::Key(_), .. });
        progress.unknown |= state.unknown || abandoned;
        if abandoned {
            // The abandoned call is the latest, and may have begun just now: a "not found" proves
            // nothing for a while.
            progress.unknown_since = None;
        }
        progress.first_sent = state.first_sent.or(progress.first_sent);
        if state.key.is_some() {
            progress.key.clone_from(&state.key);
        }
        if state.digest.is_some() {
            progress.digest.clone_from(&state.digest);
            progress.token.clone_from(&state.token);
        }
    }

    /// Sets the key under which the operation is called, so that every message that follows names
    /// it. A request is only repeated under its first key. An operation without keys has none.
    pub fn settle_key(&mut self, operation: &Operation) {
        let GenerationProgress { generation, key, first_sent, .. } = &mut self.state.progress;
        if first_sent.is_some() && key.is_some() {
            return;
        }
        let (id, named) = (&self.identity.id, key.take());
        *key = operation.idempotency.map(|IdempotencyPolicy { max_length, .. }| {
            named
                .unwrap_or_else(|| IdempotencyKey::for_generation(id, *generation))
                .shortened_to(max_length)
        });
    }

    /// Assumes that a request may have been sent that this message does not show: its holder died,
    /// or the broker delivered it to another process. The key of that request can only have
    /// been this generation's.
    pub fn assume_sent(&mut self, operation: Option<&Operation>) {
        if operation.is_some_and(|operation| operation.repeatable)
            || self.state.progress.query.is_some()
        {
            return;
        }
        self.state.progress.unknown = true;
        if let Some(operation) = operation.filter(|operation| operation.idempotency.is_some()) {
            self.settle_key(operation);
            let first_sent = &mut self.state.progress.first_sent;
            *first_sent = first_sent.or_else(|| headers::stamped_at(&self.properties));
        }
    }
}

pub(super) fn envelope<'a>(
    delivery: &'a Delivery,
    routing_key: Option<&'a str>,
) -> CommandEnvelope<'a> {
    CommandEnvelope {
        routing_key,
        message_id: delivery.properties.message_id().as_ref().map(ShortString::as_str),
        correlation_id: delivery.properties.correlation_id().as_ref().map(ShortString::as_str),
    }
}

/// Returns the reply target that a publisher set with `reply_to`. ferryd's own queues are refused:
/// every publisher of commands could otherwise write to them.
fn reply_target(properties: &BasicProperties, names: &TopologyNames) -> Option<ReplyTarget> {
    let reply_to = properties.reply_to().as_ref()?.as_str();
    let allowed = !reply_to.is_empty() && !names.owns(reply_to);
    let correlation_id = properties.correlation_id().as_ref().map(ToString::to_string);
    allowed.then(|| ReplyTarget { reply_to: reply_to.to_owned(), correlation_id })
}

#[cfg(test)]
#[path = "incoming_message_tests.rs"]
pub(in crate::pipeline) mod tests;
