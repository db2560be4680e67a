//! Builds dead letters.

use jiff::Timestamp;
use lapin::message::Delivery;

use super::incoming_message::IncomingMessage;
use super::messages::{Effects, MessageFactory, provider_word};
use ferryd_broker::headers::{self, DEAD};
use ferryd_broker::message::{OutgoingMessage, short_or_empty};
use ferryd_domain::dead_letter::{DeadLetter, DeadLetterOrigin};
use ferryd_domain::ledger::effects::{ContinuationEffect, HeaderValue};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::Failure;
use ferryd_provider::IdempotencyPolicy;

impl MessageFactory {
    /// Dead-letters a message about which nothing can be published, without a record.
    #[must_use]
    pub fn dead_letter_message(&self, delivery: &Delivery) -> Effects {
        let properties = headers::carried_properties(&delivery.properties);
        let (exchange, routing_key) =
            (short_or_empty(&self.names.dead()), short_or_empty("unknown"));
        Effects::message(OutgoingMessage {
            exchange,
            routing_key,
            properties,
            body: delivery.data.clone(),
        })
    }

    /// Dead-letters a webhook as it is.
    #[must_use]
    pub fn dead_letter_webhook(&self, delivery: &Delivery) -> Effects {
        let properties = headers::stripped_of_deaths(&delivery.properties);
        let (exchange, routing_key) =
            (short_or_empty(&self.names.webhooks_dead()), delivery.routing_key.clone());
        Effects::message(OutgoingMessage {
            exchange,
            routing_key,
            properties,
            body: delivery.data.clone(),
        })
    }

    /// Builds the dead letter of a command, with what an operator needs to know.
    pub(super) fn dead_letter(
        &self,
        message: &IncomingMessage,
        kind: FailureKind,
        failure: Failure,
        idempotency: Option<IdempotencyPolicy>,
        at: Timestamp,
    ) -> ContinuationEffect {
        let place = DeadLetterOrigin {
            routing_key: message.state.routing_key.clone(),
            host: self.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            at,
        };
        let progress = &message.state.progress;
        let letter = DeadLetter {
            key_retention_s: idempotency.map(|idempotency| idempotency.retention.as_secs()),
            expires_at: message.expires_at,
            publisher: message.state.publisher.clone(),
            unchecked: message.state.unchecked,
            ..DeadLetter::new(&message.identity, kind, failure, progress, place)
        };
        // A dead letter is plain data; it always has a JSON form.
        let letter = HeaderValue::Text(serde_json::to_string(&letter).unwrap_or_default());
        ContinuationEffect {
            exchange: self.names.dead(),
            routing_key: provider_word(message).to_owned(),
            headers: [(DEAD.to_owned(), letter)].into(),
        }
    }
}
