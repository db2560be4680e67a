//! The link to the broker, which lasts as long as the process: one connection that consumes, and
//! one for each purpose of publishing.
//!
//! A supervisor connects, declares the topology and hands out a [`BrokerSession`]. When a
//! connection fails, all are dropped and a new session begins, after an endless jittered back-off.
//! Consuming has a connection of its own because a broker that is short of memory stops reading
//! from connections that publish, and acks must get through all the same.
//!
//! [`BrokerHandle::publish`] returns when the broker has confirmed, across as many sessions as that
//! takes. So a message can be published more than once; it is never lost. Where a destination takes
//! no messages, only the messages to that destination wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::OptionFuture;
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::AmqpSettings;
use super::destination_health::pause;
use super::error::BrokerError;
use super::failure::{CloseCause, PublishFailure};
use super::message::{OutgoingMessage, short_string};
use super::outlet::{DestinationOutlet, OutletMap, PublishPermit};
use super::quarantine::{PublishQuarantine, QuarantinedPublish};
use super::reconnect::ReconnectPauses;
use super::refused_message::{self, RefusedMessage};
pub use super::session::BrokerSession;
use super::topology::Topology;

/// The shortest time between two declarations of the topology after a missing exchange.
const DECLARE_INTERVAL: Duration = Duration::from_secs(1);
/// The reply code for an exchange that is missing (AMQP 0-9-1, `not-found`).
const NOT_FOUND: u16 = 404;

/// A handle on the link; cheap to clone.
#[derive(Clone)]
pub struct BrokerHandle {
    sessions: watch::Receiver<Option<Arc<BrokerSession>>>,
    settings: Arc<AmqpSettings>,
    topology: Arc<Topology>,
    outlets: Arc<OutletMap>,
    quarantine: Arc<PublishQuarantine>,
    declared: Arc<Mutex<Option<Instant>>>,
    stop: CancellationToken,
}

impl BrokerHandle {
    /// Starts the supervisor, which connects in the background and ends when `stop` is cancelled.
    /// Returns at once.
    #[must_use]
    pub fn start(
        settings: AmqpSettings,
        topology: Topology,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (sender, sessions) = watch::channel(None);
        let (outlets, declared) = (Arc::new(OutletMap::new(&settings, &topology)), Arc::default());
        let (settings, topology) = (Arc::new(settings), Arc::new(topology));
        let quarantine = Arc::new(PublishQuarantine::new(Arc::clone(&settings)));
        let broker = Self { sessions, settings, topology, outlets, quarantine, declared, stop };
        let supervisor = tokio::spawn(broker.clone().supervise(sender));
        (broker, supervisor)
    }

    async fn supervise(self, sender: watch::Sender<Option<Arc<BrokerSession>>>) {
        let nodes = &self.settings.nodes;
        let (mut number, mut turn) = (0, nodes.latest());
        let mut pauses = ReconnectPauses::new(nodes.count());
        while !self.stop.is_cancelled() {
            // Each attempt goes to the next node, also after a session that was good: its node may
            // be the one in trouble.
            let (place, node) = (turn, Arc::new(self.settings.of_node(turn)));
            turn += 1;
            let opened = tokio::select! {
                opened = BrokerSession::open(&node, &self.topology, number + 1) => opened,
                () = self.stop.cancelled() => break,
            };
            let pause = match opened {
                Ok(session) => {
                    number += 1;
                    let session = Arc::new(session);
                    nodes.prefer(place);
                    info!(session = number, broker = %node.address(), "connected");
                    sender.send_replace(Some(Arc::clone(&session)));
                    session.wait_until_over(&self.stop).await;
                    let lived = session.age();
                    sender.send_replace(None);
                    session.close().await;
                    let pause = pauses.after_session(lived);
                    if !pause.is_zero() && !self.stop.is_cancelled() {
                        let (lived_ms, pause_ms) = (to_millis(lived), to_millis(pause));
                        warn!(
                            session = number,
                            lived_ms, pause_ms, "the session was short; connecting after a pause"
                        );
                    }
                    pause
                }
                Err(error) => {
                    let pause = pauses.after_failure();
                    let (failures, pause_ms) = (pauses.failures(), to_millis(pause));
                    warn!(%error, broker = %node.address(), failures, pause_ms, "failed to connect to the broker; trying again");
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Returns the current session, or waits for the next one; `None` once ferryd is stopping.
    pub async fn session(&self) -> Option<Arc<BrokerSession>> {
        let mut sessions = self.sessions.clone();
        loop {
            if let Some(session) =
                sessions.borrow_and_update().as_ref().filter(|session| !session.is_over())
            {
                return Some(Arc::clone(session));
            }
            tokio::select! {
                changed = sessions.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Returns true while a session is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.sessions.borrow().as_ref().is_some_and(|session| !session.is_over())
    }

    /// Returns true while a session is up on which the broker takes no messages.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.sessions.borrow().as_ref().is_some_and(|session| session.is_blocked())
    }

    /// Declares the topology again, for a queue that was deleted under a running daemon.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses or is lost.
    pub async fn declare_again(&self, session: &BrokerSession) -> Result<(), BrokerError> {
        session.declare(&self.topology).await
    }

    /// Publishes a message and waits for the broker's confirm, through outages of any length. One
    /// that the broker refuses is kept as a dead letter.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops before the confirm came.
    /// [`BrokerError::Refused`] where there are no dead letters, or the broker refuses even that.
    pub async fn publish(&self, message: &OutgoingMessage) -> Result<(), BrokerError> {
        self.publish_wanted(message, None).await
    }

    /// Publishes a message as [`publish`](Self::publish) does, but not again once it is `unwanted`.
    /// A confirm that is on its way by then is still waited for: the message is in the broker's
    /// hands and counts as unconfirmed.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`BrokerError::Stopping`] also once the message is unwanted.
    pub async fn publish_unless(
        &self,
        message: &OutgoingMessage,
        unwanted: &CancellationToken,
    ) -> Result<(), BrokerError> {
        self.publish_wanted(message, Some(unwanted)).await
    }

    async fn publish_wanted(
        &self,
        message: &OutgoingMessage,
        unwanted: Option<&CancellationToken>,
    ) -> Result<(), BrokerError> {
        match self.publish_while_wanted(message, unwanted).await {
            Err(BrokerError::Refused { cause }) => {
                Box::pin(self.keep_refused(message, cause)).await
            }
            published => published,
        }
    }

    /// Publishes a message that the broker refuses as a dead letter. An event has all its data in
    /// its body: ferryd first tries to publish it without the properties that are only a
    /// convenience.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn keep_refused(
        &self,
        message: &OutgoingMessage,
        cause: CloseCause,
    ) -> Result<(), BrokerError> {
        let (exchange, routing_key, reason) =
            (message.exchange.as_str(), message.routing_key.as_str(), &cause.reason);
        if let Some(bare) = refused_message::bare_event(message) {
            warn!(
                exchange,
                routing_key,
                reason,
                "publishing an event without its headers: the broker refuses it with them"
            );
            match self.publish_or_refuse(&bare).await {
                Err(BrokerError::Refused { .. }) => {}
                published => return published,
            }
        }
        let dead_letters = self.topology.dead_letters().and_then(|name| short_string(name).ok());
        let Some(dead_letters) = dead_letters else { return Err(BrokerError::Refused { cause }) };
        error!(
            exchange,
            routing_key,
            reason,
            "the broker refuses a message; it is dead-lettered, with its headers in the body"
        );
        let whole = RefusedMessage::new(message, &cause, Timestamp::now());
        let cut = whole.clone().truncate_body(message);
        for kept in [whole, cut] {
            match self.publish_or_refuse(&kept.to_message(dead_letters.clone())).await {
                Err(BrokerError::Refused { .. }) => {}
                published => return published,
            }
        }
        Err(BrokerError::Refused { cause })
    }

    /// Publishes a message for a caller that handles a refusal by the broker itself.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); [`BrokerError::Refused`] once the message has twice ended a
    /// connection on which it was alone.
    pub async fn publish_or_refuse(&self, message: &OutgoingMessage) -> Result<(), BrokerError> {
        self.publish_while_wanted(message, None).await
    }

    async fn publish_while_wanted(
        &self,
        message: &OutgoingMessage,
        unwanted: Option<&CancellationToken>,
    ) -> Result<(), BrokerError> {
        let outlet = self.outlets.outlet(message);
        let (mut refusals, mut wait) = (0, Duration::ZERO);
        loop {
            let may_begin =
                wait.is_zero() && unwanted.is_none_or(|unwanted| !unwanted.is_cancelled());
            let turn = match may_begin.then(|| self.turn_now(&outlet)).flatten() {
                Some(turn) => Some(turn),
                // Boxed: hardly one has to wait.
                None => Box::pin(self.wait_for_turn(&outlet, wait, unwanted)).await,
            };
            // The turn is held until the answer is there.
            let Some((session, turn)) = turn else { return Err(BrokerError::Stopping) };
            let failure = match outlet.publish(&session, message).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            if let PublishFailure::SessionLost { cause } = &failure {
                session.end_by(cause);
            }
            if failure.refusal().is_some() {
                drop(turn);
                if let Some(decided) = Box::pin(self.publish_suspect(message, failure)).await {
                    return decided;
                }
                wait = pause(refusals);
                refusals += 1;
                continue;
            }
            match failure {
                PublishFailure::SessionLost { .. } => wait = Duration::ZERO,
                failure => {
                    let (exchange, routing_key) =
                        (message.exchange.as_str(), message.routing_key.as_str());
                    debug!(exchange, routing_key, %failure, "a message was not confirmed; publishing it again");
                    if matches!(&failure, PublishFailure::ChannelClosed { cause } if cause.code == Some(NOT_FOUND))
                    {
                        self.declare_missing(&session).await;
                    }
                    // A probe has waited for its turn already.
                    wait = if turn.is_probe() { Duration::ZERO } else { pause(refusals) };
                    refusals += 1;
                }
            }
        }
    }

    /// Returns the session and the turn of a message that need not wait for either.
    fn turn_now<'o>(
        &self,
        outlet: &'o DestinationOutlet,
    ) -> Option<(Arc<BrokerSession>, PublishPermit<'o>)> {
        let session = self.sessions.borrow().clone().filter(|session| !session.is_over())?;
        Some((session, outlet.turn_now()?))
    }

    /// Waits for the session and the turn of a message; `None` once ferryd is stopping or the
    /// message is unwanted.
    async fn wait_for_turn<'o>(
        &self,
        outlet: &'o DestinationOutlet,
        pause: Duration,
        unwanted: Option<&CancellationToken>,
    ) -> Option<(Arc<BrokerSession>, PublishPermit<'o>)> {
        let turn = async {
            // A timer of zero would still take a millisecond.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let turn = outlet.wait_for_turn().await;
            self.session().await.map(|session| (session, turn))
        };
        let unwanted = OptionFuture::from(unwanted.map(CancellationToken::cancelled));
        tokio::select! {
            turn = turn => turn,
            Some(()) = unwanted => None,
            () = self.stop.cancelled() => None,
        }
    }

    /// Publishes a message alone, after a failure that one of several messages may have caused.
    /// `None` if the result is undecided.
    async fn publish_suspect(
        &self,
        message: &OutgoingMessage,
        failure: PublishFailure,
    ) -> Option<Result<(), BrokerError>> {
        if let PublishFailure::TooLarge { cause } = failure {
            return Some(Err(BrokerError::Refused { cause }));
        }
        let published = tokio::select! {
            published = self.quarantine.publish_alone(message) => published,
            () = self.stop.cancelled() => return Some(Err(BrokerError::Stopping)),
        };
        match published {
            QuarantinedPublish::Confirmed => Some(Ok(())),
            QuarantinedPublish::Refused(cause) => Some(Err(BrokerError::Refused { cause })),
            QuarantinedPublish::Undecided(failure) => {
                debug!(%failure, "a message that was alone was neither confirmed nor refused; publishing it again");
                None
            }
        }
    }

    /// Declares the topology again where an exchange is missing, once for all messages that need
    /// it.
    async fn declare_missing(&self, session: &BrokerSession) {
        let mut declared = self.declared.lock().await;
        if declared.is_none_or(|declared| declared.elapsed() >= DECLARE_INTERVAL) {
            if let Err(error) = self.declare_again(session).await {
                warn!(%error, "failed to declare the topology again");
            }
            *declared = Some(Instant::now());
        }
    }

    /// Publishes a message once, for best-effort answers: waits for no session, and only briefly
    /// for its turn.
    pub async fn publish_once(&self, message: &OutgoingMessage) {
        let Some(session) = self.sessions.borrow().clone() else { return };
        let _ = self.outlets.outlet(message).publish_soon(&session, message).await;
    }
}

fn to_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
