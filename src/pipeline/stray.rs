//! Handles messages that no provider's lane processes: those that fit no binding, and those the
//! broker delivered too often.
//!
//! Each ends as an event and a dead letter; none loops, none vanishes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use lapin::message::Delivery;
use tracing::{error, warn};

use super::acks::ack;
use super::log::log_decision;
use super::origin::ProgressSource;
use super::outbox::Effects;
use super::parcel::Parcel;
use super::{Pipeline, origin};
use ferryd_broker::{callback, headers};
use ferryd_domain::command::ANY;
use ferryd_domain::lifecycle::{self, Decision, Kind};
use ferryd_domain::name::{Name, excerpt};
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::Progress;
use ferryd_provider::registry::Registry;
use ferryd_provider::{Operation, Provider, Remedies};

/// The pause before a message is sent on to a queue that was missing a moment ago.
const MISSING_QUEUE_PAUSE: Duration = Duration::from_millis(500);

const TOO_OFTEN: &str = "delivered too often without an end; see the log for what breaks";
const TOO_OLD: &str = "the message's own `expiration` passed in the queue, perhaps not before it was taken up once; \
                       write `expires_at` into the command instead, which ferryd itself heeds";

/// Handles unroutable and poisonous messages, one at a time.
pub struct Strays {
    /// Publishes and acks.
    pub pipeline: Arc<Pipeline>,
    /// The configured providers.
    pub registry: Arc<Registry>,
}

/// The queue that a message without a lane came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// The queue of messages that fit no binding.
    Unroutable,
    /// The queue of messages that the broker took out of a provider's queue.
    Poison,
}

impl Strays {
    /// Ends such a message, or sends it on. A message whose handling panics is dead-lettered as it
    /// is.
    pub async fn take(&self, stray: Stray, delivery: Delivery) {
        let handling = async {
            match stray {
                Stray::Unroutable => self.unroutable(&delivery).await,
                Stray::Poison => self.poison(&delivery).await,
            }
        };
        if AssertUnwindSafe(handling).catch_unwind().await.is_err() {
            error!(?stray, "handling a stray message failed in ferryd itself; it is kept as a dead letter as it is");
            self.finish(&delivery, self.pipeline.outbox.bury(&delivery)).await;
        }
    }

    /// Ends a message that fits no binding, or sends it on where its provider's queue was only
    /// missing for a while.
    async fn unroutable(&self, delivery: &Delivery) {
        let names = &self.pipeline.names;
        let is_published = delivery.exchange.as_str() == names.commands();
        // A publisher can write anything into the property that marks a webhook call.
        if !is_published && callback::is_callback(&delivery.properties) {
            warn!(
                key = delivery.routing_key.as_str(),
                "a webhook call of a provider that was removed; it is put aside"
            );
            return self.finish(delivery, self.pipeline.outbox.put_aside(delivery)).await;
        }
        let mut parcel = Parcel::of_stray(delivery, names, Timestamp::now());
        let words: Vec<&str> = delivery.routing_key.as_str().split('.').collect();
        let provider = words.get(1).and_then(|word| self.provider(words[0], word));
        if parcel.source.is_unproven() {
            return self.end_unproven(delivery, parcel, provider, origin::unreadable_headers()).await;
        }
        if let Some(provider) = provider {
            return self.send_on(delivery, parcel, provider).await;
        }
        let (kind, failure) = if is_published {
            // The dead letter belongs to no provider, even if the body names one that exists.
            parcel.identity.provider = words.get(1).and_then(|word| word.parse().ok());
            (Kind::Invalid, self.unknown_provider(&words))
        } else {
            // Where ferryd stops before it knows, the message comes back.
            let Ok(has_lost) = self.pipeline.memory.has_lost(&parcel).await else { return };
            parcel.travel.progress.unknown |= has_lost;
            let kind = if parcel.travel.progress.is_doubtful() { Kind::Unresolved } else { Kind::Unavailable };
            (kind, Failure::new("provider_removed", "the provider was removed while the command waited"))
        };
        self.end(delivery, parcel, kind, failure, Remedies::default()).await;
    }

    /// Ends a message that the broker took out of a provider's queue: its deliveries kept failing,
    /// so its content must be breaking its consumers, or it is older than its publisher's
    /// `expiration` allows.
    async fn poison(&self, delivery: &Delivery) {
        let mut parcel = Parcel::of_stray(delivery, &self.pipeline.names, Timestamp::now());
        let words: Vec<&str> = delivery.routing_key.as_str().split('.').collect();
        let provider = words.get(1).and_then(|word| self.provider(words[0], word));
        let is_old = headers::died_of_age(&delivery.properties);
        let failure =
            if is_old { Failure::new("expiration", TOO_OLD) } else { Failure::new("delivery_limit", TOO_OFTEN) };
        if parcel.source.is_unproven() {
            return self.end_unproven(delivery, parcel, provider, failure).await;
        }
        let operation = Self::identify(&mut parcel, provider);
        // The broker does not say whether a process held the message before.
        parcel.redelivered = true;
        let Pipeline { memory, publisher_rules, .. } = self.pipeline.as_ref();
        if memory.has_accepted(&parcel) {
            parcel.travel.unchecked = false;
        }
        let fault = if parcel.fresh { parcel.find_fault(provider, publisher_rules) } else { None };
        if fault.is_some() && parcel.travel.unchecked {
            parcel.forget_opening();
        } else {
            memory.recall_all(&mut parcel);
        }
        let (kind, failure) = match fault {
            // The message would have been refused whenever it was taken up.
            Some(fault) => (lifecycle::unfit(&parcel.travel.progress), fault),
            None if is_old => (Kind::Unresolved, failure),
            None => (Kind::Poison, failure),
        };
        self.end(delivery, parcel, kind, failure, keyed(operation)).await;
    }

    /// Ends a message that ferryd sent on, and whose headers do not prove how far it has come.
    async fn end_unproven(
        &self,
        delivery: &Delivery,
        mut parcel: Parcel,
        provider: Option<&Provider>,
        failure: Failure,
    ) {
        let operation = Self::identify(&mut parcel, provider);
        self.pipeline.memory.locate(&mut parcel);
        parcel.travel.progress.unknown = true;
        if parcel.source == ProgressSource::Headers {
            // A process that held it so often may have sent the request, since the generation
            // began.
            parcel.assume_sent(operation);
            let Progress { key, first_sent, since, .. } = &mut parcel.travel.progress;
            *first_sent = first_sent.or_else(|| key.is_some().then_some(*since));
        }
        self.end(delivery, parcel, Kind::Unresolved, failure, keyed(operation)).await;
    }

    /// Sets the provider to which a message was addressed, and finds the operation that its command
    /// names there.
    fn identify<'p>(parcel: &mut Parcel, provider: Option<&'p Provider>) -> Option<&'p Operation> {
        let provider = provider?;
        parcel.identity.provider = Some(provider.name.clone());
        provider.operations.get(parcel.identity.operation.as_ref()?)
    }

    /// Finds the provider that a routing key names.
    fn provider(&self, kind: &str, word: &str) -> Option<&Provider> {
        let name = |word: &str| word.parse::<Name>().ok();
        let provider = if word == ANY { self.registry.route(&name(kind)?) } else { self.registry.get(&name(word)?) };
        provider.map(Arc::as_ref)
    }

    fn unknown_provider(&self, words: &[&str]) -> Failure {
        let &[kind, word, _] = words else {
            let message = format!(
                "the routing key `{}` is not of the form `<type>.<provider>.<operation>`; publish the command under such a one, as \
                 `payment.stripe.charge`",
                excerpt(&words.join("."))
            );
            return Failure::new("unknown_provider", message);
        };
        if word == ANY {
            return Failure::new("no_route", format!("no route says which provider takes commands of type `{kind}`"));
        }
        let known: Vec<_> = self.registry.iter().map(|provider| provider.name.to_string()).collect();
        let message = format!("no provider `{word}` is configured; there are: {}", known.join(", "));
        Failure::new("unknown_provider", message)
    }

    /// Sends the message to the provider's queue. A message that comes back from there has to wait
    /// until the queue is declared.
    ///
    /// A repeated delivery may have been sent on before, and the message may have been carried out.
    async fn send_on(&self, delivery: &Delivery, mut parcel: Parcel, provider: &Provider) {
        let Pipeline { broker, outbox, .. } = self.pipeline.as_ref();
        if parcel.travel.hop > 0 {
            tokio::time::sleep(MISSING_QUEUE_PAUSE).await;
            if let Some(session) = broker.session().await
                && let Err(error) = broker.declare_again(&session).await
            {
                warn!(provider = %provider.name, %error, "failed to declare the queue of a message that fits no binding");
            }
        }
        parcel.identity.provider = Some(provider.name.clone());
        let operation = parcel.identity.operation.as_ref().and_then(|name| provider.operations.get(name));
        if let Some(operation) = operation {
            parcel.settle_key(operation);
        }
        self.pipeline.memory.recall(&mut parcel);
        self.finish(delivery, outbox.give_back(&parcel)).await;
    }

    async fn end(&self, delivery: &Delivery, parcel: Parcel, kind: Kind, failure: Failure, remedies: Remedies) {
        let decision = Decision::GiveUp(kind, failure);
        log_decision(&parcel, &decision);
        self.pipeline.give_up(parcel, decision, remedies, delivery.acker.clone()).await;
    }

    async fn finish(&self, delivery: &Delivery, effects: Effects) {
        if self.pipeline.publish(&effects).await.is_ok() {
            ack([delivery.acker.clone()]).await;
        }
    }
}

/// Returns the remedies for the dead letter of such a message. Its provider is not queried:
/// whatever breaks the message's consumers would break the query too.
fn keyed(operation: Option<&Operation>) -> Remedies {
    Remedies { idempotency: operation.and_then(|operation| operation.idempotency), ..Remedies::default() }
}
