//! Handles messages that no provider's lane processes: those that fit no binding, and those the
//! broker delivered too often.
//!
//! Each ends as an event and a dead letter; none loops, none vanishes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tracing::{error, warn};

use super::incoming_message::IncomingMessage;
use super::log::log_decision;
use super::message_origin::ProgressSource;
use super::messages::Effects;
use super::{Pipeline, message_origin};
use ferryd_broker::delivery_acks::HeldDelivery;
use ferryd_broker::{headers, webhook_message};
use ferryd_domain::command::ANY;
use ferryd_domain::lifecycle::{self, Decision, FailureKind};
use ferryd_domain::name::{Name, excerpt};
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::GenerationProgress;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_provider::{Operation, Provider, RecoveryOptions};

/// The pause before a message is sent on to a queue that was missing a moment ago.
const MISSING_QUEUE_PAUSE: Duration = Duration::from_millis(500);

const TOO_OFTEN: &str = "delivered too often without an end; see the log for what breaks";
const TOO_OLD: &str = "the message's own `expiration` passed in the queue, perhaps after it was consumed once; \
                       write `expires_at` into the command instead, which ferryd itself checks";

/// Handles unroutable and poisonous messages, one at a time.
pub struct UnroutableHandler {
    /// Publishes and acks.
    pub pipeline: Arc<Pipeline>,
    /// The configured providers.
    pub registry: Arc<ProviderRegistry>,
}

/// The queue that a message without a lane came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnroutableSource {
    /// The queue of messages that fit no binding.
    Unroutable,
    /// The queue of messages that the broker took out of a provider's queue.
    Poison,
}

impl UnroutableHandler {
    /// Ends such a message, or sends it on. A message whose handling panics is dead-lettered as it
    /// is.
    pub async fn take(&self, source: UnroutableSource, delivery: HeldDelivery) {
        let handling = async {
            match source {
                UnroutableSource::Unroutable => self.end_unroutable(&delivery).await,
                UnroutableSource::Poison => self.end_poisoned(&delivery).await,
            }
        };
        if AssertUnwindSafe(handling).catch_unwind().await.is_err() {
            error!(
                ?source,
                "handling an unroutable message failed in ferryd itself; it is dead-lettered unchanged"
            );
            self.finish(&delivery, self.pipeline.messages.dead_letter_message(&delivery)).await;
        }
    }

    /// Ends a message that fits no binding, or sends it on where its provider's queue was only
    /// missing for a while.
    async fn end_unroutable(&self, delivery: &HeldDelivery) {
        let names = &self.pipeline.names;
        let is_published = delivery.exchange.as_str() == names.commands();
        // A publisher can write anything into the property that marks a webhook.
        if !is_published && webhook_message::is_webhook(&delivery.properties) {
            warn!(
                key = delivery.routing_key.as_str(),
                "a webhook of a removed provider; it is dead-lettered"
            );
            return self
                .finish(delivery, self.pipeline.messages.dead_letter_webhook(delivery))
                .await;
        }
        let mut message = IncomingMessage::from_unroutable(delivery, names, Timestamp::now());
        let words: Vec<&str> = delivery.routing_key.as_str().split('.').collect();
        let provider = words.get(1).and_then(|word| self.provider(words[0], word));
        if message.source.is_unproven() {
            return self
                .end_unproven(delivery, message, provider, message_origin::unreadable_headers())
                .await;
        }
        if let Some(provider) = provider {
            return self.send_on(delivery, message, provider).await;
        }
        let (kind, failure) = if is_published {
            // The dead letter belongs to no provider, even if the body names one that exists.
            message.set_provider(words.get(1).and_then(|word| word.parse().ok()));
            (FailureKind::Invalid, self.unknown_provider(&words))
        } else {
            // Where ferryd stops before it knows, the message comes back.
            let Ok(has_lost) = self.pipeline.ledger_gate.has_lost(&message).await else { return };
            message.state.progress.unknown |= has_lost;
            let kind = if message.state.progress.is_doubtful() {
                FailureKind::Unresolved
            } else {
                FailureKind::Unavailable
            };
            (
                kind,
                Failure::new(
                    "provider_removed",
                    "the provider was removed while the command waited",
                ),
            )
        };
        self.end_message(delivery, message, kind, failure, RecoveryOptions::default()).await;
    }

    /// Ends a message that the broker took out of a provider's queue: its deliveries kept failing,
    /// so its content must be breaking its consumers, or it is older than its publisher's
    /// `expiration` allows.
    async fn end_poisoned(&self, delivery: &HeldDelivery) {
        let mut message =
            IncomingMessage::from_unroutable(delivery, &self.pipeline.names, Timestamp::now());
        let words: Vec<&str> = delivery.routing_key.as_str().split('.').collect();
        let provider = words.get(1).and_then(|word| self.provider(words[0], word));
        let is_old = headers::died_of_age(&delivery.properties);
        let failure = if is_old {
            Failure::new("expiration", TOO_OLD)
        } else {
            Failure::new("delivery_limit", TOO_OFTEN)
        };
        if message.source.is_unproven() {
            return self.end_unproven(delivery, message, provider, failure).await;
        }
        let operation = Self::identify_provider(&mut message, provider);
        // The broker does not say whether a process held the message before.
        message.redelivered = true;
        let Pipeline { ledger_gate, publisher_rules, .. } = self.pipeline.as_ref();
        if ledger_gate.has_accepted(&message) {
            message.state.unchecked = false;
        }
        let fault =
            if message.fresh { message.find_fault(provider, publisher_rules) } else { None };
        if fault.is_some() && message.state.unchecked {
            message.clear_identity();
        } else {
            ledger_gate.recall_all(&mut message);
        }
        let (kind, failure) = match fault {
            // The message would have been refused whenever it was taken up.
            Some(fault) => (lifecycle::misfit_kind(&message.state.progress), fault),
            None if is_old => (FailureKind::Unresolved, failure),
            None => (FailureKind::Poison, failure),
        };
        self.end_message(delivery, message, kind, failure, key_options(operation)).await;
    }

    /// Ends a message that ferryd sent on, and whose headers do not prove how far it has come.
    async fn end_unproven(
        &self,
        delivery: &HeldDelivery,
        mut message: IncomingMessage,
        provider: Option<&Provider>,
        failure: Failure,
    ) {
        let operation = Self::identify_provider(&mut message, provider);
        self.pipeline.ledger_gate.locate_message(&mut message);
        message.state.progress.unknown = true;
        if message.source == ProgressSource::Headers {
            // A process that held it so often may have sent the request, since the generation
            // began.
            message.assume_sent(operation);
            let GenerationProgress { key, first_sent, since, .. } = &mut message.state.progress;
            *first_sent = first_sent.or_else(|| key.is_some().then_some(*since));
        }
        self.end_message(
            delivery,
            message,
            FailureKind::Unresolved,
            failure,
            key_options(operation),
        )
        .await;
    }

    /// Sets the provider to which a message was addressed, and finds the operation that its command
    /// names there.
    fn identify_provider<'p>(
        message: &mut IncomingMessage,
        provider: Option<&'p Provider>,
    ) -> Option<&'p Operation> {
        let provider = provider?;
        message.set_provider(Some(provider.name.clone()));
        provider.operations.get(message.identity.operation.as_ref()?)
    }

    /// Finds the provider that a routing key names.
    fn provider(&self, kind: &str, word: &str) -> Option<&Provider> {
        let name = |word: &str| word.parse::<Name>().ok();
        let provider = if word == ANY {
            self.registry.route(&name(kind)?)
        } else {
            self.registry.get(&name(word)?)
        };
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
            return Failure::new(
                "no_route",
                format!("no route says which provider takes commands of type `{kind}`"),
            );
        }
        let known: Vec<_> =
            self.registry.iter().map(|provider| provider.name.to_string()).collect();
        let message =
            format!("no provider `{word}` is configured; there are: {}", known.join(", "));
        Failure::new("unknown_provider", message)
    }

    /// Sends the message to the provider's queue. A message that comes back from there has to wait
    /// until the queue is declared.
    ///
    /// A repeated delivery may have been sent on before, and the message may have been carried out.
    async fn send_on(
        &self,
        delivery: &HeldDelivery,
        mut message: IncomingMessage,
        provider: &Provider,
    ) {
        let Pipeline { broker, messages, .. } = self.pipeline.as_ref();
        if message.state.hop > 0 {
            tokio::time::sleep(MISSING_QUEUE_PAUSE).await;
            if let Some(session) = broker.session().await
                && let Err(error) = broker.declare_again(&session).await
            {
                warn!(provider = %provider.name, %error, "failed to declare the queue of a message that fits no binding");
            }
        }
        message.set_provider(Some(provider.name.clone()));
        let operation =
            message.identity.operation.as_ref().and_then(|name| provider.operations.get(name));
        if let Some(operation) = operation {
            message.settle_key(operation);
        }
        self.pipeline.ledger_gate.merge_recorded(&mut message);
        self.finish(delivery, messages.give_back(&message)).await;
    }

    async fn end_message(
        &self,
        delivery: &HeldDelivery,
        message: IncomingMessage,
        kind: FailureKind,
        failure: Failure,
        options: RecoveryOptions,
    ) {
        let decision = Decision::GiveUp(kind, failure);
        log_decision(&message, &decision);
        self.pipeline.give_up(message, decision, options, delivery.acker.clone()).await;
    }

    async fn finish(&self, delivery: &HeldDelivery, effects: Effects) {
        if self.pipeline.publish(&effects).await.is_ok() {
            delivery.acker.clone().ack().await;
        }
    }
}

/// Returns the remedies for the dead letter of such a message. Its provider is not queried:
/// whatever breaks the message's consumers would break the query too.
fn key_options(operation: Option<&Operation>) -> RecoveryOptions {
    RecoveryOptions {
        idempotency: operation.and_then(|operation| operation.idempotency),
        ..RecoveryOptions::default()
    }
}
