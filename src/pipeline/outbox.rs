//! Builds every message that ferryd publishes about a command: events, continuations, dead letters,
//! replies.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use lapin::message::Delivery;
use lapin::types::ShortString;

use super::event_message::{cloud_event, conflict_message, event_message};
use super::parcel::Parcel;
use ferryd_broker::headers::{self, DEAD, Travel};
use ferryd_broker::message::{Message, persistent, short, short_or_empty};
use ferryd_broker::topology::{Names, rung_word};
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::dead_letter::{DeadLetter, Place};
use ferryd_domain::event::{Event, Happening, Moment};
use ferryd_domain::inquiry::{Accepted, Inquiry, Purpose};
use ferryd_domain::ledger::effects::{Carried, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::record::{Asked, Kept, RecordId};
use ferryd_domain::ledger::ruling::Decided;
use ferryd_domain::lifecycle::{Decision, Kind, State};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::received::ReceivedEvent;
use ferryd_domain::retry::Rung;
use ferryd_provider::Idempotency;

/// The most characters of an id in the property `message_id`, which is an AMQP short string.
const LONGEST_MESSAGE_ID: usize = 60;

/// Builds messages for one topology.
#[derive(Debug, Clone)]
pub struct Outbox {
    names: Names,
    states: HashSet<State>,
    host: String,
    retry_groups: BTreeMap<Name, Name>,
}

/// The messages that are published before a delivery is acked, the event among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// The messages that must be confirmed before the ack, one after the other.
    pub messages: Vec<Message>,
    /// The answers to `reply_to`: best effort.
    pub replies: Vec<Message>,
    /// The recorded decision that these effects follow from. It is settled once they are confirmed.
    pub settles: Option<RecordId>,
}

impl Effects {
    /// Wraps a single message.
    fn message(message: Message) -> Self {
        Self { messages: vec![message], ..Self::default() }
    }
}

impl Outbox {
    /// Makes an outbox that publishes events of `states` only.
    #[must_use]
    pub fn new(names: Names, states: impl IntoIterator<Item = State>, host: String) -> Self {
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
    pub fn tell(&self, parcel: &Parcel, happening: Happening, now: Timestamp) -> Option<Message> {
        let told = self.states.contains(&happening.state());
        told.then(|| self.event(&happened(parcel, parcel.travel.progress.attempt, happening, now)))
    }

    /// Derives the effects of a decision about a message, to be recorded: the event, which states
    /// `attempt`, and the message itself sent on. That message is a dead letter, where the kind of
    /// failure leaves one, or a continuation.
    #[must_use]
    pub fn recorded_effects(
        &self,
        parcel: &Parcel,
        attempt: u32,
        decision: Decision,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> RecordedEffects {
        let (happening, carried) = match decision {
            Decision::Wait(accepted) => return self.waiting(parcel, attempt, *accepted, now),
            Decision::Inquire(inquiry, failure) => return self.inquiry(parcel, inquiry, failure, now),
            Decision::Retry { rung, due, failure } => return self.retry(parcel, rung, due, failure, now),
            Decision::Complete(success) => (Happening::Completed(success), None),
            Decision::GiveUp(kind, failure) => {
                let letter = || self.dead_letter(parcel, kind, failure.clone(), idempotency, now);
                let carried = kind.dead_letters().then(letter);
                (Happening::Failed(kind, failure), carried)
            }
        };
        let told = self.states.contains(&happening.state());
        RecordedEffects { event: happened(parcel, attempt, happening, now), told, carried }
    }

    /// Derives the effects of a retry: the continuation on its rung, and the `pending` event of the
    /// next attempt.
    fn retry(&self, parcel: &Parcel, rung: Rung, due: Timestamp, failure: Failure, now: Timestamp) -> RecordedEffects {
        let mut travel = parcel.travel.clone();
        travel.progress.attempt += 1;
        travel.waited_out = None;
        travel.progress.inquiry = None;
        let attempt = travel.progress.attempt;
        let happening = Happening::Pending { due, failure };
        let told = self.states.contains(&happening.state());
        let carried = self.waiting_on(parcel, travel, headers::Kind::Retry, rung);
        RecordedEffects { event: happened(parcel, attempt, happening, now), told, carried: Some(carried) }
    }

    /// Derives the effects of an acceptance: the event, where none is published yet, and the
    /// continuation that polls the provider.
    fn waiting(&self, parcel: &Parcel, attempt: u32, accepted: Accepted, now: Timestamp) -> RecordedEffects {
        let Accepted { success, party, deadline, inquiry, first } = accepted;
        let mut travel = parcel.travel.clone();
        travel.progress.deadline = Some(deadline);
        if success.provider_reference.is_some() {
            travel.progress.provider_reference.clone_from(&success.provider_reference);
        }
        let happening = Happening::Waiting(success, party);
        let told = first && self.states.contains(&happening.state());
        let mut event = happened(parcel, attempt, happening, now);
        event.data.next_attempt_at = Some(inquiry.due);
        RecordedEffects { event, told, carried: Some(self.asking(parcel, travel, inquiry, now)) }
    }

    /// Derives the effects of a later query: the continuation that makes it.
    fn inquiry(&self, parcel: &Parcel, inquiry: Inquiry, failure: Option<Failure>, now: Timestamp) -> RecordedEffects {
        let mut travel = parcel.travel.clone();
        if inquiry.purpose == Purpose::Lookup {
            travel.progress.unknown_since.get_or_insert(now);
        }
        let attempt = travel.progress.attempt;
        let accepted = travel.progress.deadline.is_some();
        let event = happened(parcel, attempt, Happening::Inquiring { accepted, due: inquiry.due, failure }, now);
        RecordedEffects { event, told: false, carried: Some(self.asking(parcel, travel, inquiry, now)) }
    }

    fn asking(&self, parcel: &Parcel, mut travel: Travel, inquiry: Inquiry, now: Timestamp) -> Carried {
        let wait = Duration::try_from(inquiry.due.duration_since(now)).unwrap_or_default();
        travel.progress.inquiry = Some(inquiry);
        travel.waited_out = None;
        self.waiting_on(parcel, travel, inquiry.purpose.into(), Rung::at_most(wait))
    }

    /// Copies a message that waits, to query the provider at the end of this second: for a purpose,
    /// or else as planned.
    #[must_use]
    pub fn asked_now(
        &self,
        kept: &Kept,
        asking: &BTreeMap<String, HeaderValue>,
        provider: &Name,
        (purpose, now): (Option<Purpose>, Timestamp),
    ) -> Message {
        let mut properties = persistent();
        if let Some(id) = &kept.message_id {
            properties = properties.with_message_id(short_or_empty(id));
        }
        if let Some(id) = &kept.correlation_id {
            properties = properties.with_correlation_id(short_or_empty(id));
        }
        let properties = headers::with_own(properties, &headers::asking_now(asking, purpose, now));
        let key = format!("{}.{provider}", self.rung_word(Some(provider), Rung::SHORTEST));
        let (exchange, routing_key) = (short_or_empty(&self.names.retry()), short_or_empty(&key));
        Message { exchange, routing_key, properties, body: kept.body.clone().into_bytes() }
    }

    /// Builds the messages of a decision. Every process builds the same ones from a copy of the
    /// same message.
    #[must_use]
    pub fn effects(&self, parcel: &Parcel, recorded: &RecordedEffects, replies: &[Asked]) -> Effects {
        let RecordedEffects { event, told, carried } = recorded;
        let event = &event.clone().named(&parcel.identity);
        let carried = carried.as_ref().map(|carried| sent_on(parcel, carried));
        let event_message = told.then(|| self.event(event));
        let ends = event.data.state.is_terminal();
        // A dead letter is published before its event. The event is published before the
        // continuation, whose existence proves it.
        let messages = if ends { [carried, event_message] } else { [event_message, carried] };
        let replies = if ends { self.replies(Some(parcel), event, replies) } else { Vec::new() };
        Effects { messages: messages.into_iter().flatten().collect(), replies, settles: None }
    }

    /// Repeats the terminal event, for a publisher who sent the command again.
    #[must_use]
    pub fn answer(&self, parcel: &Parcel, event: &Event) -> Effects {
        let event = event.clone().named(&parcel.identity);
        let messages = vec![self.event(&event)];
        Effects { messages, replies: self.replies(Some(parcel), &event, &[]), settles: None }
    }

    /// Builds the messages of a decision that leaves the delivery alone: its event, and the answers
    /// to those who asked.
    #[must_use]
    pub fn announcement(&self, event: &Event, replies: &[Asked]) -> Effects {
        Effects { messages: vec![self.event(event)], replies: self.replies(None, event, replies), settles: None }
    }

    /// Builds the messages of a recorded end that is not known to be published, and sends no
    /// message on.
    #[must_use]
    pub fn recovered(&self, decided: &Decided) -> Effects {
        let Decided { by, effects, replies } = decided;
        let told = effects.told;
        let mut effects = Effects { settles: Some(*by), ..self.announcement(&effects.event, replies) };
        effects.messages.retain(|_| told);
        effects
    }

    /// Builds the event about a conflict, and the answer to the publisher who waits.
    #[must_use]
    pub fn conflict(&self, parcel: &Parcel, conflict: &ConflictEvent) -> Effects {
        let message = |exchange, key| conflict_message(conflict, exchange, key);
        let replies = self.asker(parcel).map(|asked| addressed(&asked, |queue| message(ShortString::default(), queue)));
        let told = message(short_or_empty(&self.names.events()), short_or_empty(&conflict.routing_key()));
        Effects { messages: vec![told], replies: replies.into_iter().collect(), settles: None }
    }

    /// Builds the event about a conflict for a command whose message nobody holds.
    #[must_use]
    pub fn contradicted(&self, conflict: &ConflictEvent) -> Effects {
        Effects::message(conflict_message(
            conflict,
            short_or_empty(&self.names.events()),
            short_or_empty(&conflict.routing_key()),
        ))
    }

    /// Builds the event about a webhook call; `None` where its names are too long for a routing
    /// key, which validation excludes.
    #[must_use]
    pub fn received(&self, event: &ReceivedEvent) -> Option<Message> {
        let body = serde_json::to_vec(event).ok()?;
        let key = short(&event.routing_key()).ok()?;
        let id: String = event.id.chars().take(LONGEST_MESSAGE_ID).collect();
        Some(cloud_event(&event.r#type, &id, (None, None), body, short_or_empty(&self.names.events()), key))
    }

    /// Makes a message wait on a rung without spending an attempt.
    #[must_use]
    pub fn park(&self, parcel: &Parcel, rung: Rung) -> Effects {
        let carried = self.waiting_on(parcel, parcel.travel.clone(), headers::Kind::Park, rung);
        Effects::message(sent_on(parcel, &carried))
    }

    /// Sends a delivery that was not started to the end of its provider's queue, where it does not
    /// count as redelivered.
    #[must_use]
    pub fn give_back(&self, parcel: &Parcel) -> Effects {
        let key = format!("back.{}", provider_word(parcel));
        let carried = continuation(parcel.travel.clone(), headers::Kind::Park, self.names.redeliver(), key);
        Effects::message(sent_on(parcel, &carried))
    }

    /// Builds the message that a decision sends on.
    #[must_use]
    pub fn carried(&self, parcel: &Parcel, carried: &Carried) -> Message {
        sent_on(parcel, carried)
    }

    fn waiting_on(&self, parcel: &Parcel, travel: Travel, kind: headers::Kind, rung: Rung) -> Carried {
        let rung = self.rung_word(parcel.identity.provider.as_ref(), rung);
        let key = format!("{rung}.{}", provider_word(parcel));
        continuation(travel, kind, self.names.retry(), key)
    }

    /// Dead-letters a message about which nothing can be published, without a record.
    #[must_use]
    pub fn bury(&self, delivery: &Delivery) -> Effects {
        let properties = headers::carried(&delivery.properties);
        let (exchange, routing_key) = (short_or_empty(&self.names.dead()), short_or_empty("unknown"));
        Effects::message(Message { exchange, routing_key, properties, body: delivery.data.clone() })
    }

    /// Dead-letters a webhook call as it is.
    #[must_use]
    pub fn put_aside(&self, delivery: &Delivery) -> Effects {
        let properties = headers::stripped_of_deaths(&delivery.properties);
        let (exchange, routing_key) = (short_or_empty(&self.names.callbacks_dead()), delivery.routing_key.clone());
        Effects::message(Message { exchange, routing_key, properties, body: delivery.data.clone() })
    }

    fn dead_letter(
        &self,
        parcel: &Parcel,
        kind: Kind,
        failure: Failure,
        idempotency: Option<Idempotency>,
        at: Timestamp,
    ) -> Carried {
        let place = Place {
            routing_key: parcel.travel.routing_key.clone(),
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at,
        };
        let progress = &parcel.travel.progress;
        let letter = DeadLetter {
            key_retention_s: idempotency.map(|idempotency| idempotency.retention.as_secs()),
            expires_at: parcel.expires_at,
            publisher: parcel.travel.publisher.clone(),
            unchecked: parcel.travel.unchecked,
            ..DeadLetter::new(parcel.identity.clone(), kind, failure, progress, place)
        };
        // A dead letter is plain data; it always has a JSON form.
        let letter = HeaderValue::Text(serde_json::to_string(&letter).unwrap_or_default());
        Carried {
            exchange: self.names.dead(),
            routing_key: provider_word(parcel).to_owned(),
            headers: [(DEAD.to_owned(), letter)].into(),
        }
    }

    fn event(&self, event: &Event) -> Message {
        event_message(event, short_or_empty(&self.names.events()), short_or_empty(&event.routing_key()))
    }

    /// Returns the reply target of a message's publisher, if it has one.
    #[must_use]
    pub fn asker(&self, parcel: &Parcel) -> Option<Asked> {
        parcel.asked.clone()
    }

    /// Builds the answers to the publisher of `parcel` and to all others who asked.
    fn replies(&self, parcel: Option<&Parcel>, event: &Event, others: &[Asked]) -> Vec<Message> {
        let own = parcel.and_then(|parcel| self.asker(parcel));
        let others = others.iter().filter(|other| own.as_ref() != Some(other)).cloned();
        let reply = |asked: Asked| addressed(&asked, |queue| event_message(event, ShortString::default(), queue));
        own.clone().into_iter().chain(others).map(reply).collect()
    }
}

/// Addresses a message to the queue of a publisher who asked.
fn addressed(asked: &Asked, message: impl FnOnce(ShortString) -> Message) -> Message {
    let mut message = message(short_or_empty(&asked.reply_to));
    if let Some(correlation) = &asked.correlation_id {
        message.properties = message.properties.with_correlation_id(short_or_empty(correlation));
    }
    message
}

fn continuation(travel: Travel, kind: headers::Kind, exchange: String, routing_key: String) -> Carried {
    let travel = Travel { hop: travel.hop + 1, ..travel };
    Carried { exchange, routing_key, headers: travel.headers(kind) }
}

/// Builds the message that sends the delivery on.
fn sent_on(parcel: &Parcel, carried: &Carried) -> Message {
    let Carried { exchange, routing_key, headers } = carried;
    let properties = headers::with_own(headers::carried(&parcel.properties), headers);
    Message {
        exchange: short_or_empty(exchange),
        routing_key: short_or_empty(routing_key),
        properties,
        body: parcel.body.clone(),
    }
}

fn happened(parcel: &Parcel, attempt: u32, happening: Happening, at: Timestamp) -> Event {
    let moment = Moment { generation: parcel.travel.progress.generation, attempt, at };
    Event::new(parcel.identity.clone(), moment, happening, parcel.trace.clone())
}

fn provider_word(parcel: &Parcel) -> &str {
    parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str())
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
