//! Every message ferryd publishes about a command: events, continuations, dead letters, replies.

use std::collections::HashSet;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{FieldTable, ShortString};

use super::parcel::Parcel;
use crate::amqp::headers::{self, DEAD, Travel};
use crate::amqp::message::{Message, put_text};
use crate::amqp::topology::Names;
use crate::domain::dead_letter::{DeadLetter, Place};
use crate::domain::event::{CONTENT_TYPE, Event, Happening, Moment};
use crate::domain::lifecycle::{Kind, State};
use crate::domain::outcome::Failure;
use crate::domain::retry::Rung;
use crate::provider::Idempotency;

/// Writes messages under one topology.
#[derive(Debug, Clone)]
pub struct Outbox {
    names: Names,
    states: HashSet<State>,
    host: String,
}

/// What is to be published before a delivery is acked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Effects {
    /// Must be confirmed before the ack.
    pub messages: Vec<Message>,
    /// The answer to `reply_to`: best effort.
    pub reply: Option<Message>,
}

impl Outbox {
    /// An outbox that publishes events of `states` only.
    #[must_use]
    pub fn new(names: Names, states: impl IntoIterator<Item = State>, host: String) -> Self {
        Self { names, states: states.into_iter().collect(), host }
    }

    /// The effects of something that happened and changes nothing about the delivery, such as the start of a call.
    #[must_use]
    pub fn tell(&self, parcel: &Parcel, happening: Happening, now: Timestamp) -> Option<Message> {
        self.states.contains(&happening.state()).then(|| self.event(&Self::happened(parcel, happening, now)))
    }

    /// The effects of an ending: the event, the reply, and the dead letter where the kind leaves one.
    #[must_use]
    pub fn end(
        &self,
        parcel: &Parcel,
        happening: Happening,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Effects {
        let mut messages = Vec::new();
        if let Happening::Failed(kind, failure) = &happening
            && kind.dead_letters()
        {
            messages.push(self.dead_letter(parcel, *kind, failure.clone(), idempotency, now));
        }
        let terminal = happening.state().is_terminal();
        let published = self.states.contains(&happening.state());
        let event = Self::happened(parcel, happening, now);
        let reply = if terminal { self.reply(parcel, &event) } else { None };
        if published {
            messages.push(self.event(&event));
        }
        Effects { messages, reply }
    }

    /// The effects of a retry: the continuation on its rung, and the `pending` event of the next attempt.
    #[must_use]
    pub fn retry(&self, parcel: &mut Parcel, rung: Rung, due: Timestamp, failure: Failure, now: Timestamp) -> Effects {
        parcel.travel.progress.attempt += 1;
        let mut messages = vec![self.wait(parcel, headers::Kind::Retry, rung)];
        messages.extend(self.tell(parcel, Happening::Pending { due, failure }, now));
        Effects { messages, reply: None }
    }

    /// The effects of waiting without having spent an attempt.
    #[must_use]
    pub fn park(&self, parcel: &Parcel, rung: Rung) -> Effects {
        let messages = vec![self.wait(parcel, headers::Kind::Park, rung)];
        Effects { messages, reply: None }
    }

    /// The effects of giving a delivery back that was not started: it goes to the end of its provider's queue, and is
    /// not taken for redelivered.
    #[must_use]
    pub fn give_back(&self, parcel: &Parcel) -> Effects {
        let key = format!("back.{}", provider_word(parcel));
        let message = Self::continuation(parcel, headers::Kind::Park, &self.names.redeliver(), &key);
        Effects { messages: vec![message], reply: None }
    }

    fn wait(&self, parcel: &Parcel, kind: headers::Kind, rung: Rung) -> Message {
        let key = format!("{}.{}", rung.name(), provider_word(parcel));
        Self::continuation(parcel, kind, &self.names.retry(), &key)
    }

    fn continuation(parcel: &Parcel, kind: headers::Kind, exchange: &str, key: &str) -> Message {
        let mut properties = headers::carried(&parcel.properties);
        let mut table = properties.headers().clone().unwrap_or_default();
        let travel = Travel { hop: parcel.travel.hop + 1, ..parcel.travel.clone() };
        travel.write(kind, &mut table);
        properties = properties.with_headers(table);
        Message { exchange: short(exchange), routing_key: short(key), properties, body: parcel.body.clone() }
    }

    /// The effects of giving up a message of which nothing can be told: a dead letter without a record.
    #[must_use]
    pub fn bury(&self, delivery: &Delivery) -> Effects {
        let properties = headers::carried(&delivery.properties);
        let (exchange, routing_key) = (short(&self.names.dead()), short("unknown"));
        let message = Message { exchange, routing_key, properties, body: delivery.data.clone() };
        Effects { messages: vec![message], reply: None }
    }

    fn dead_letter(
        &self,
        parcel: &Parcel,
        kind: Kind,
        failure: Failure,
        idempotency: Option<Idempotency>,
        at: Timestamp,
    ) -> Message {
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
            ..DeadLetter::new(parcel.identity.clone(), kind, failure, progress, place)
        };
        let properties = headers::carried(&parcel.properties);
        let mut table = properties.headers().clone().unwrap_or_default();
        // A dead letter is plain data; it always has a JSON form.
        put_text(&mut table, DEAD, &serde_json::to_string(&letter).unwrap_or_default());
        Message {
            exchange: short(&self.names.dead()),
            routing_key: short(provider_word(parcel)),
            properties: properties.with_headers(table),
            body: parcel.body.clone(),
        }
    }

    fn happened(parcel: &Parcel, happening: Happening, at: Timestamp) -> Event {
        let progress = &parcel.travel.progress;
        let moment = Moment { generation: progress.generation, attempt: progress.attempt, at };
        Event::new(parcel.identity.clone(), moment, happening, parcel.trace.clone())
    }

    fn event(&self, event: &Event) -> Message {
        event_message(event, short(&self.names.events()), short(&event.routing_key()))
    }

    /// The event for `reply_to`. A queue of ferryd's own is no place for it: whoever may publish a command could
    /// otherwise write there.
    fn reply(&self, parcel: &Parcel, event: &Event) -> Option<Message> {
        let queue = parcel
            .properties
            .reply_to()
            .clone()
            .filter(|queue| !queue.as_str().is_empty() && !self.names.owns(queue.as_str()))?;
        let mut message = event_message(event, ShortString::default(), queue);
        if let Some(correlation) = parcel.properties.correlation_id().clone() {
            message.properties = message.properties.with_correlation_id(correlation);
        }
        Some(message)
    }
}

/// An event as a message.
#[must_use]
pub fn event_message(event: &Event, exchange: ShortString, routing_key: ShortString) -> Message {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(ShortString::from(CONTENT_TYPE))
        .with_type(short(&event.r#type))
        .with_message_id(short(&event.id))
        .with_headers(traced(event));
    // An event is plain data; it always has a JSON form.
    Message { exchange, routing_key, properties, body: serde_json::to_vec(event).unwrap_or_default() }
}

fn traced(event: &Event) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in [("traceparent", &event.traceparent), ("tracestate", &event.tracestate)] {
        if let Some(value) = value {
            put_text(&mut table, name, value);
        }
    }
    table
}

fn provider_word(parcel: &Parcel) -> &str {
    parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str())
}

/// Names, routing keys and event ids fit a short string by construction: names have at most 63 bytes, ids 128.
fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}
