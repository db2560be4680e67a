//! Determines how far a message has come, and by which source.
//!
//! A publisher's message is at its first step, whatever its headers claim. A message from ferryd's
//! own exchanges states in its headers how far it has come. A message out of `ferry.poison` can
//! come from either: the broker's record of its first death names the exchange to which it was
//! published last, because ferryd strips earlier deaths from each message that it republishes.
//! Before RabbitMQ 4.0 a publisher can write such a record itself, so headers from there count only
//! where the ledger knows the step that they claim, of this very command. Otherwise the ledger says
//! at which step the command's message is awaited.

use jiff::Timestamp;
use lapin::message::Delivery;

use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::record::Step;
use ferryd_domain::outcome::Failure;
use ferryd_domain::progress::GenerationProgress;

/// The source that states how far a message has come.
#[derive(Debug, Clone, PartialEq)]
pub enum ProgressSource {
    /// The publisher of the message: the message is at its first step.
    Publisher,
    /// ferryd's own headers state it.
    Headers,
    /// No source: ferryd sent the message on, and its headers can't be read.
    Unreadable,
    /// Perhaps its publisher: ferryd seems to have sent the message on, and this is what its
    /// headers claim, where they can be read.
    Claimed(Option<Box<MessageState>>),
}

impl ProgressSource {
    /// Returns true where the ledger has to say how far the message has come.
    #[must_use]
    pub fn is_unproven(&self) -> bool {
        matches!(self, Self::Unreadable | Self::Claimed(_))
    }
}

/// Reads how far a delivery has come by its own headers, and whether that is proven.
pub(super) fn read_progress(
    delivery: &Delivery,
    names: &TopologyNames,
    now: Timestamp,
) -> (MessageState, ProgressSource) {
    let exchange = delivery.exchange.as_str();
    let is_own = |exchange: &str| exchange == names.redeliver() || exchange == names.retry();
    // A key of the contract has three words, those of ferryd's own exchanges have two.
    let is_published_under = delivery.routing_key.as_str().split('.').count() == 3;
    let routing_key = is_published_under.then(|| delivery.routing_key.to_string());
    let publisher = delivery.properties.user_id().as_ref().map(ToString::to_string);
    let fresh = |routing_key| MessageState {
        routing_key,
        publisher,
        unchecked: true,
        ..MessageState::fresh(now)
    };
    let read = || MessageState::read(delivery.properties.headers().as_ref());
    if is_own(exchange) {
        return match read() {
            Some(state) => (state, ProgressSource::Headers),
            // ferryd has checked it before it sent it on; how far it has come is unknown.
            None => (MessageState { unchecked: false, ..fresh(None) }, ProgressSource::Unreadable),
        };
    }
    let is_published = exchange != names.poison()
        || headers::first_death_exchange(&delivery.properties) == Some(names.commands());
    if is_published {
        return (fresh(Some(delivery.routing_key.to_string())), ProgressSource::Publisher);
    }
    let claim = read();
    let state = claim.clone().unwrap_or_else(|| fresh(routing_key));
    (state, ProgressSource::Claimed(claim.map(Box::new)))
}

/// Returns the step of a message with this progress.
pub(super) fn message_step(progress: &GenerationProgress) -> Step {
    let GenerationProgress { generation, attempt, query: provider_query, .. } = progress;
    Step {
        generation: *generation,
        attempt: *attempt,
        query: provider_query.map_or(0, |provider_query| provider_query.number),
    }
}

/// Describes a message that is given up because its headers do not say how far it had come.
pub(super) fn unreadable_headers() -> Failure {
    Failure::new("unreadable_headers", "the message came back without saying how far it had come")
}
