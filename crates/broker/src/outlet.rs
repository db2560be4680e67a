//! Outlets: one channel for each destination, and the recent answers of the destination.
//!
//! RabbitMQ stops a channel that publishes to a queue without a leader, for up to 65 s, and then,
//! 400 messages later, its connection. So no channel leads to two destinations, and a channel has
//! at most [`MOST_UNCONFIRMED`] unconfirmed messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::connection::AmqpSettings;
use super::destination::{DestinationAddress, DestinationMap, PublishDestination};
use super::destination_health::{DestinationHealth, HealthChange};
use super::failure::{CloseCause, PublishFailure};
use super::header_frame::{fit_header_frame, header_frame_size};
use super::link::PublishingLink;
use super::message::OutgoingMessage;
use super::session::BrokerSession;
use super::topology::Topology;

/// The maximum number of unconfirmed messages of a channel. The broker lets a connection send 400
/// messages that a channel has not looked at, and counts in steps of 200; with more than 200, one
/// channel could use them up.
const MOST_UNCONFIRMED: usize = 200;
/// The longest time for which a best-effort message waits for its turn.
const BEST_EFFORT: Duration = Duration::from_secs(1);

/// The outlets of a process, over all sessions.
pub(super) struct OutletMap {
    destinations: DestinationMap,
    most_unconfirmed: usize,
    table: Mutex<OutletTable>,
}

/// The outlets that were needed so far.
#[derive(Default)]
struct OutletTable {
    /// The outlets by exchange and word of the address. Two addresses may have one outlet.
    by_address: HashMap<String, HashMap<String, Arc<DestinationOutlet>>>,
    by_destination: HashMap<PublishDestination, Arc<DestinationOutlet>>,
}

/// The outlet of one destination.
pub(super) struct DestinationOutlet {
    destination: PublishDestination,
    unconfirmed: Semaphore,
    channel: tokio::sync::Mutex<Option<OpenChannel>>,
    standing: watch::Sender<DestinationHealth>,
    probing: tokio::sync::Mutex<()>,
}

/// The right to publish one message; given back when dropped.
pub(super) struct PublishPermit<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    /// Held by the only message that is published to a destination which is down.
    probe: Option<MutexGuard<'a, ()>>,
}

impl PublishPermit<'_> {
    pub(super) fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// A channel in confirm mode. The client closes the channel when the last copy is dropped, so
/// unconfirmed messages of an abandoned channel can still be confirmed.
#[derive(Clone)]
struct OpenChannel {
    session: u64,
    channel: Channel,
}

impl OutletMap {
    pub(super) fn new(settings: &AmqpSettings, topology: &Topology) -> Self {
        let most_unconfirmed = settings.max_unconfirmed.clamp(1, MOST_UNCONFIRMED);
        Self {
            destinations: DestinationMap::new(topology),
            most_unconfirmed,
            table: Mutex::default(),
        }
    }

    /// Returns the outlet of a message's destination.
    pub(super) fn outlet(&self, message: &OutgoingMessage) -> Arc<DestinationOutlet> {
        let address = self.destinations.address(message);
        let DestinationAddress { exchange, word } = address;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outlet) = table.by_address.get(exchange).and_then(|words| words.get(word)) {
            return Arc::clone(outlet);
        }
        let destination = self.destinations.destination(address);
        let outlet = table.by_destination.entry(destination).or_insert_with_key(|destination| {
            Arc::new(DestinationOutlet::new(destination.clone(), self.most_unconfirmed))
        });
        let outlet = Arc::clone(outlet);
        let words = table.by_address.entry(exchange.to_owned()).or_default();
        words.insert(word.to_owned(), Arc::clone(&outlet));
        outlet
    }
}

impl DestinationOutlet {
    fn new(destination: PublishDestination, most_unconfirmed: usize) -> Self {
        Self {
            destination,
            unconfirmed: Semaphore::new(most_unconfirmed),
            channel: tokio::sync::Mutex::default(),
            standing: watch::Sender::default(),
            probing: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the permit to publish a message where the message need not wait.
    pub(super) fn turn_now(&self) -> Option<PublishPermit<'_>> {
        let permit = self.unconfirmed.try_acquire().ok()?;
        let is_down = self.standing.borrow().is_down();
        (!is_down).then_some(PublishPermit { _permit: Some(permit), probe: None })
    }

    /// Waits until a message may be published: at once, unless the limit of unconfirmed messages is
    /// reached, or the destination is down. While it is down, one of the waiting messages probes
    /// it.
    pub(super) async fn wait_for_turn(&self) -> PublishPermit<'_> {
        loop {
            let permit = self.unconfirmed.acquire().await.ok();
            if !self.standing.borrow().is_down() {
                return PublishPermit { _permit: permit, probe: None };
            }
            drop(permit);
            let mut standing = self.standing.subscribe();
            let probe = tokio::select! {
                biased;
                _ = standing.wait_for(|standing| !standing.is_down()) => None,
                probe = self.wait_for_probe() => probe,
            };
            if probe.is_some() {
                return PublishPermit { _permit: self.unconfirmed.acquire().await.ok(), probe };
            }
        }
    }

    /// Waits until the destination is to be probed; `None` where it is up again.
    async fn wait_for_probe(&self) -> Option<MutexGuard<'_, ()>> {
        let guard = self.probing.lock().await;
        loop {
            let DestinationHealth::Down { next, .. } = *self.standing.borrow() else { return None };
            if next <= Instant::now() {
                return Some(guard);
            }
            sleep_until(next).await;
        }
    }

    /// Publishes a message once, which holds a turn, and records the answer of the destination.
    pub(super) async fn publish(
        &self,
        session: &BrokerSession,
        message: &OutgoingMessage,
    ) -> Result<(), PublishFailure> {
        let sent = Instant::now();
        let published = self.confirm(session, message).await;
        let mut change = HealthChange::None;
        self.standing.send_if_modified(|standing| {
            let before = *standing;
            change = match &published {
                Ok(()) => standing.confirm(Instant::now()),
                // The end of a session is no answer of the destination.
                Err(PublishFailure::SessionLost { .. }) => HealthChange::None,
                Err(failure) if failure.refusal().is_some() => HealthChange::None,
                Err(_) => standing.refuse(sent, Instant::now()),
            };
            before != *standing
        });
        self.log_change(change, published.as_ref().err());
        if published.is_err() && self.standing.borrow().is_down() {
            // RabbitMQ 3.10 continues to refuse on a channel on which it has refused, even after
            // the queue has room again.
            *self.channel.lock().await = None;
        }
        published
    }

    /// Publishes a message once, if its turn comes soon: while the destination does not answer, no
    /// messages gather in memory.
    pub(super) async fn publish_soon(
        &self,
        session: &BrokerSession,
        message: &OutgoingMessage,
    ) -> Result<(), PublishFailure> {
        match timeout(BEST_EFFORT, self.unconfirmed.acquire()).await {
            Ok(Ok(_permit)) => self.confirm(session, message).await,
            _ => Err(PublishFailure::Unconfirmed { after: BEST_EFFORT }),
        }
    }

    async fn confirm(
        &self,
        session: &BrokerSession,
        message: &OutgoingMessage,
    ) -> Result<(), PublishFailure> {
        let link = session.link(self.destination.link).await?;
        let too_large = || PublishFailure::TooLarge {
            cause: CloseCause::large_header_frame(header_frame_size(&message.properties)),
        };
        let fitting = fit_header_frame(message, link.connection.configuration().frame_max())
            .ok_or_else(too_large)?;
        let open = self.open(session, link).await?;
        // Other tasks were woken with this one, for instance by the same batch of the ledger. Their
        // messages then leave together, which costs the broker and both ends less.
        tokio::task::yield_now().await;
        let OutgoingMessage { exchange, routing_key, properties, body } = fitting.as_ref();
        let options = BasicPublishOptions::default();
        let sending = open.channel.basic_publish(
            exchange.clone(),
            routing_key.clone(),
            options,
            body,
            properties.clone(),
        );
        // Boxed: the functions below would each hold it by value.
        let confirming = Box::pin(async { Ok::<_, PublishFailure>(sending.await?.await?) });
        let confirmed = link.await_answer(session.session_end(), confirming).await.map_or_else(
            |after| Err(PublishFailure::Unconfirmed { after }),
            |answer| match answer? {
                Confirmation::Ack(_) => Ok(()),
                Confirmation::Nack(_) => Err(PublishFailure::Nacked),
                Confirmation::NotRequested => Err(PublishFailure::ChannelClosed {
                    cause: CloseCause::found("publisher confirms are off"),
                }),
            },
        );
        if matches!(
            confirmed,
            Err(PublishFailure::Unconfirmed { .. } | PublishFailure::ChannelClosed { .. })
        ) {
            self.give_up(&open).await;
        }
        confirmed
    }

    /// Returns the channel of this session.
    async fn open(
        &self,
        session: &BrokerSession,
        link: &PublishingLink,
    ) -> Result<OpenChannel, PublishFailure> {
        let mut slot = self.channel.lock().await;
        let usable = |open: &&OpenChannel| {
            open.session == session.number && open.channel.status().connected()
        };
        if let Some(open) = slot.as_ref().filter(usable) {
            return Ok(open.clone());
        }
        let channel = Box::pin(link.open_channel(session.session_end())).await?;
        Ok(slot.insert(OpenChannel { session: session.number, channel }).clone())
    }

    /// Drops a channel, so that the next message opens a new one.
    async fn give_up(&self, given_up: &OpenChannel) {
        let mut slot = self.channel.lock().await;
        let place = |open: &OpenChannel| (open.session, open.channel.id());
        if slot.as_ref().map(place) == Some(place(given_up)) {
            *slot = None;
        }
    }

    fn log_change(&self, change: HealthChange, failure: Option<&PublishFailure>) {
        let destination = self.destination.name.as_str();
        match change {
            HealthChange::None => {}
            HealthChange::WentDown => {
                let reason = failure.map(ToString::to_string).unwrap_or_default();
                warn!(
                    destination,
                    reason,
                    "the destination is down; what has to go there is held, all else goes on"
                );
            }
            HealthChange::CameUp(after) => {
                info!(
                    destination,
                    down_s = after.as_secs(),
                    "the destination takes messages again"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::destination::LinkPurpose;

    fn outlet(most_unconfirmed: usize) -> DestinationOutlet {
        let destination =
            PublishDestination { link: LinkPurpose::Events, name: "ferry.events acme".to_owned() };
        DestinationOutlet::new(destination, most_unconfirmed)
    }

    #[tokio::test]
    async fn no_more_messages_are_under_way_than_may_be() {
        let outlet = outlet(2);
        let turns = [outlet.wait_for_turn().await, outlet.wait_for_turn().await];
        assert!(outlet.wait_for_turn().now_or_never().is_none() && outlet.turn_now().is_none());
        drop(turns);
        assert!(outlet.turn_now().is_some());
        assert!(!outlet.wait_for_turn().await.is_probe());
    }

    #[tokio::test]
    async fn what_is_down_gets_one_message_at_a_time_until_it_confirms() {
        let outlet = outlet(2);
        let now = Instant::now();
        outlet.standing.send_replace(DestinationHealth::Down { since: now, probes: 0, next: now });
        assert!(outlet.turn_now().is_none());
        let probe = outlet.wait_for_turn().await;
        assert!(probe.is_probe());
        let mut next = Box::pin(outlet.wait_for_turn());
        assert!(next.as_mut().now_or_never().is_none());
        outlet.standing.send_modify(|standing| {
            let _ = standing.confirm(Instant::now());
        });
        assert!(!next.await.is_probe());
    }

    #[tokio::test]
    async fn who_waited_for_room_when_the_destination_went_down_waits_on() {
        let outlet = outlet(1);
        let turn = outlet.wait_for_turn().await;
        let mut next = Box::pin(outlet.wait_for_turn());
        assert!(next.as_mut().now_or_never().is_none());
        let later = Instant::now() + Duration::from_mins(1);
        outlet.standing.send_replace(DestinationHealth::Down {
            since: later,
            probes: 0,
            next: later,
        });
        drop(turn);
        assert!(next.as_mut().now_or_never().is_none(), "it is no time for a probe");
    }
}
