//! Builds every message that ferryd publishes about a command: events, continuations, dead letters,
//! replies.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use lapin::types::ShortString;

use super::event_message::{cloud_event, conflict_message, event_message};
use super::incoming_message::IncomingMessage;
use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::message::{OutgoingMessage, short_or_empty, short_string};
use ferryd_broker::topology::{TopologyNames, rung_word};
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::{EncodedEvent, Event, EventKind, EventMoment};
use ferryd_domain::ledger::effects::{ContinuationEffect, RecordedEffects};
use ferryd_domain::ledger::record::{RecordId, ReplyTarget};
use ferryd_domain::ledger::ruling::DecidedCommand;
use ferryd_domain::lifecycle::{Decision, LifecycleState};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::retry::Rung;
use ferryd_domain::webhook_event::ReceivedEvent;
use ferryd_provider::IdempotencyPolicy;

/// The most characters of an id in the property `message_id`, which is an AMQP short string.
const LONGEST_MESSAGE_ID: usize = 60;

/// Builds messages for one topology.
#[derive(Debug, Clone)]
pub struct MessageFactory {
    pub(super) names: TopologyNames,
    pub(super) states: HashSet<LifecycleState>,
    pub(super) host: String,
    retry_groups: BTreeMap<Name, Name>,
}

/// The messages that are published before a delivery is acked, the event among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// The messages that must be confirmed before the ack, one after the other.
    pub messages: Vec<OutgoingMessage>,
    /// The answers to `reply_to`: best effort.
    pub replies: Vec<OutgoingMessage>,
    /// The recorded decision that these effects follow from. It is settled once they are confirmed.
    pub settles: Option<RecordId>,
}

impl Effects {
    /// Wraps a single message.
    pub(super) fn message(message: OutgoingMessage) -> Self {
        Self { messages: vec![message], ..Self::default() }
    }
}

impl MessageFactory {
    /// Creates a factory that publishes events of `states` only.
    #[must_use]
    pub fn new(
        names: TopologyNames,
        states: impl IntoIterator<Item = LifecycleState>,
        host: String,
    ) -> Self {
        Self { names, states: states.into_iter().collect(), host, retry_groups: BTreeMap::new() }
    }

    /// Sets the retry groups, by provider. The messages of these providers wait on rungs of their
    /// own.
    #[must_use]
    pub fn with_retry_groups(self, retry_groups: BTreeMap<Name, Name>) -> Self {
        Self { retry_groups, ..self }
    }

    /// Returns the first word of the routing key under which messages of a provider wait on a rung.
    #[must_use]
    pub fn rung_word(&self, provider: Option<&Name>, rung: Rung) -> String {
        rung_word(provider.and_then(|provider| self.retry_groups.get(provider)), rung)
    }

    /// Builds the event of a change that leaves the delivery alone, such as the start of a call.
    #[must_use]
    pub fn event_message(
        &self,
        message: &IncomingMessage,
        kind: EventKind,
        now: Timestamp,
    ) -> Option<OutgoingMessage> {
        let publish_event = self.states.contains(&kind.state());
        let event = || event_of(message, message.state.progress.attempt, kind, now).into();
        publish_event.then(|| self.event(&event()))
    }

    /// Derives the effects of a decision about a message, to be recorded: the event, which states
    /// `attempt`, and the message itself sent on. That message is a dead letter, where the kind of
    /// failure leaves one, or a continuation.
    #[must_use]
    pub fn recorded_effects(
        &self,
        incoming: &IncomingMessage,
        attempt: u32,
        decision: Decision,
        idempotency: Option<IdempotencyPolicy>,
        now: Timestamp,
    ) -> RecordedEffects {
        let (event_kind, continuation) = match decision {
            Decision::Wait(accepted) => {
                return self.waiting_effects(incoming, attempt, *accepted, now);
            }
            Decision::Query(query, failure) => {
                return self.query_effects(incoming, query, failure, now);
            }
            Decision::Retry { rung, due, failure } => {
                return self.retry(incoming, rung, due, failure, now);
            }
            Decision::Complete(success) => (EventKind::Completed(success), None),
            Decision::GiveUp(kind, failure) => {
                let letter = || self.dead_letter(incoming, kind, failure.clone(), idempotency, now);
                let continuation = kind.dead_letters().then(letter);
                (EventKind::Failed(kind, failure), continuation)
            }
        };
        let publish_event = self.states.contains(&event_kind.state());
        RecordedEffects {
            event: event_of(incoming, attempt, event_kind, now).into(),
            publish_event,
            message: continuation,
        }
    }

    /// Derives the effects of a retry: the continuation on its rung, and the `pending` event of the
    /// next attempt.
    fn retry(
        &self,
        incoming: &IncomingMessage,
        rung: Rung,
        due: Timestamp,
        failure: Failure,
        now: Timestamp,
    ) -> RecordedEffects {
        let mut state = incoming.state.clone();
        state.progress.attempt += 1;
        state.expired_claim = None;
        state.progress.query = None;
        let attempt = state.progress.attempt;
        let kind = EventKind::Pending { due, failure };
        let publish_event = self.states.contains(&kind.state());
        let continuation = self.waiting_on(incoming, state, headers::ContinuationKind::Retry, rung);
        RecordedEffects {
            event: event_of(incoming, attempt, kind, now).into(),
            publish_event,
            message: Some(continuation),
        }
    }

    /// Builds the messages of a decision. Every process builds the same ones from a copy of the
    /// same message.
    #[must_use]
    pub fn decision_effects(
        &self,
        incoming: &IncomingMessage,
        recorded: &RecordedEffects,
        replies: &[ReplyTarget],
    ) -> Effects {
        let RecordedEffects { event, publish_event, message: continuation } = recorded;
        let event = event.with_names(&incoming.identity);
        let continuation =
            continuation.as_ref().map(|continuation| sent_on(incoming, continuation));
        let event_message = publish_event.then(|| self.event(&event));
        let ends = event.data.state.is_terminal();
        // A dead letter is published before its event. The event is published before the
        // continuation, whose existence proves it.
        let messages =
            if ends { [continuation, event_message] } else { [event_message, continuation] };
        let replies = if ends { self.replies(Some(incoming), &event, replies) } else { Vec::new() };
        Effects { messages: messages.into_iter().flatten().collect(), replies, settles: None }
    }

    /// Repeats the terminal event, for a publisher who sent the command again.
    #[must_use]
    pub fn ending_reply(&self, message: &IncomingMessage, event: &EncodedEvent) -> Effects {
        let event = event.with_names(&message.identity);
        let messages = vec![self.event(&event)];
        Effects { messages, replies: self.replies(Some(message), &event, &[]), settles: None }
    }

    /// Builds the messages of a decision that leaves the delivery alone: its event, and the
    /// replies to publishers that set `reply_to`.
    #[must_use]
    pub fn ending_messages(&self, event: &EncodedEvent, replies: &[ReplyTarget]) -> Effects {
        Effects {
            messages: vec![self.event(event)],
            replies: self.replies(None, event, replies),
            settles: None,
        }
    }

    /// Builds the messages of a recorded end that is not known to be published, and sends no
    /// message on.
    #[must_use]
    pub fn recovered_ending(&self, decided: &DecidedCommand) -> Effects {
        let DecidedCommand { by, effects, replies } = decided;
        let publish_event = effects.publish_event;
        let mut effects =
            Effects { settles: Some(*by), ..self.ending_messages(&effects.event, replies) };
        effects.messages.retain(|_| publish_event);
        effects
    }

    /// Builds the event about a conflict, and the answer to the publisher who waits.
    #[must_use]
    pub fn conflict_effects(
        &self,
        incoming: &IncomingMessage,
        conflict: &ConflictEvent,
    ) -> Effects {
        let message = |exchange, key| conflict_message(conflict, exchange, key);
        let replies = self
            .reply_target(incoming)
            .map(|target| reply_message(&target, |queue| message(ShortString::default(), queue)));
        let event =
            message(short_or_empty(self.names.events()), short_or_empty(&conflict.routing_key()));
        Effects { messages: vec![event], replies: replies.into_iter().collect(), settles: None }
    }

    /// Builds the event about a conflict for a command whose message no instance holds.
    #[must_use]
    pub fn conflict_messages(&self, conflict: &ConflictEvent) -> Effects {
        Effects::message(conflict_message(
            conflict,
            short_or_empty(self.names.events()),
            short_or_empty(&conflict.routing_key()),
        ))
    }

    /// Builds the event about a webhook; `None` where its names are too long for a routing
    /// key, which validation excludes.
    #[must_use]
    pub fn webhook_event(&self, event: &ReceivedEvent) -> Option<OutgoingMessage> {
        let body = serde_json::to_vec(event).ok()?;
        let key = short_string(&event.routing_key()).ok()?;
        let id: String = event.id.chars().take(LONGEST_MESSAGE_ID).collect();
        Some(cloud_event(
            &event.r#type,
            &id,
            (None, None),
            body,
            short_or_empty(self.names.events()),
            key,
        ))
    }

    /// Makes a message wait on a rung without spending an attempt.
    #[must_use]
    pub fn park_effects(&self, incoming: &IncomingMessage, rung: Rung) -> Effects {
        let continuation = self.waiting_on(
            incoming,
            incoming.state.clone(),
            headers::ContinuationKind::Park,
            rung,
        );
        Effects::message(sent_on(incoming, &continuation))
    }

    /// Sends a delivery that was not started to the end of its provider's queue, where it does not
    /// count as redelivered.
    #[must_use]
    pub fn give_back(&self, incoming: &IncomingMessage) -> Effects {
        let key = format!("back.{}", provider_word(incoming));
        let continuation = continuation(
            incoming.state.clone(),
            headers::ContinuationKind::Park,
            self.names.redeliver().to_owned(),
            key,
        );
        Effects::message(sent_on(incoming, &continuation))
    }

    /// Builds the message that a decision sends on.
    #[must_use]
    pub fn continuation_message(
        &self,
        message: &IncomingMessage,
        continuation: &ContinuationEffect,
    ) -> OutgoingMessage {
        sent_on(message, continuation)
    }

    pub(super) fn waiting_on(
        &self,
        message: &IncomingMessage,
        state: MessageState,
        kind: headers::ContinuationKind,
        rung: Rung,
    ) -> ContinuationEffect {
        let rung = self.rung_word(message.identity.provider.as_ref(), rung);
        let key = format!("{rung}.{}", provider_word(message));
        continuation(state, kind, self.names.retry().to_owned(), key)
    }

    fn event(&self, event: &EncodedEvent) -> OutgoingMessage {
        event_message(
            event,
            short_or_empty(self.names.events()),
            short_or_empty(&event.routing_key()),
        )
    }

    /// Returns the reply target of a message's publisher, if it has one.
    #[must_use]
    pub fn reply_target(&self, message: &IncomingMessage) -> Option<ReplyTarget> {
        message.reply_target.clone()
    }

    /// Builds the replies to the publisher of `message` and to all other reply targets.
    fn replies(
        &self,
        message: Option<&IncomingMessage>,
        event: &EncodedEvent,
        others: &[ReplyTarget],
    ) -> Vec<OutgoingMessage> {
        let own = message.and_then(|message| self.reply_target(message));
        let others = others.iter().filter(|other| own.as_ref() != Some(other)).cloned();
        let reply = |target: ReplyTarget| {
            reply_message(&target, |queue| event_message(event, ShortString::default(), queue))
        };
        own.clone().into_iter().chain(others).map(reply).collect()
    }
}

/// Addresses a message to the queue of a reply target.
fn reply_message(
    target: &ReplyTarget,
    message: impl FnOnce(ShortString) -> OutgoingMessage,
) -> OutgoingMessage {
    let mut message = message(short_or_empty(&target.reply_to));
    if let Some(correlation) = &target.correlation_id {
        message.properties = message.properties.with_correlation_id(short_or_empty(correlation));
    }
    message
}

fn continuation(
    state: MessageState,
    kind: headers::ContinuationKind,
    exchange: String,
    routing_key: String,
) -> ContinuationEffect {
    let state = MessageState { hop: state.hop + 1, ..state };
    ContinuationEffect { exchange, routing_key, headers: state.headers(kind) }
}

/// Builds the message that sends the delivery on.
fn sent_on(message: &IncomingMessage, continuation: &ContinuationEffect) -> OutgoingMessage {
    let ContinuationEffect { exchange, routing_key, headers } = continuation;
    let properties =
        headers::add_own_headers(headers::carried_properties(&message.properties), headers);
    OutgoingMessage {
        exchange: short_or_empty(exchange),
        routing_key: short_or_empty(routing_key),
        properties,
        body: message.body.clone(),
    }
}

pub(super) fn event_of(
    message: &IncomingMessage,
    attempt: u32,
    kind: EventKind,
    at: Timestamp,
) -> Event {
    let moment = EventMoment { generation: message.state.progress.generation, attempt, at };
    Event::new(message.identity.clone(), moment, kind, message.trace.clone())
}

pub(super) fn provider_word(message: &IncomingMessage) -> &str {
    message.identity.provider.as_ref().map_or("unknown", |name| name.as_str())
}

#[cfg(test)]
#[path = "messages_tests.rs"]
mod tests;
