//! The link to the broker: two connections, kept alive for ever.
//!
//! A supervisor connects, declares the topology and hands out a [`Session`]; when either connection fails, both are
//! dropped and a new session begins, after an endless jittered back-off. There are two connections because a broker that
//! is short of memory stops reading from connections that publish, and acks must get through all the same.
//!
//! [`Broker::publish`] returns when the broker has confirmed, across as many sessions as that takes. A message can be
//! published more than once by that; it is never lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::join;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPErrorKind;
use lapin::{Channel, Confirmation, Connection, ErrorKind};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connection::AmqpSettings;
use super::declare;
use super::error::BrokerError;
use super::message::Message;
use super::reconnect::ReconnectPauses;
use super::topology::Topology;

/// The pause after a publish that the broker refused.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// How often a connection's own word for its state is read, should an event about its end be missed.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a goodbye to the broker may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle on the link; cheap to clone.
#[derive(Clone)]
pub struct Broker {
    sessions: watch::Receiver<Option<Arc<Session>>>,
    settings: Arc<AmqpSettings>,
    topology: Arc<Topology>,
    stop: CancellationToken,
}

/// One life of the link.
pub struct Session {
    /// Counts the sessions of this process, from 1.
    pub number: u64,
    consuming: Connection,
    publishing: Connection,
    confirms: Channel,
    unconfirmed: Semaphore,
    blocked: watch::Receiver<bool>,
    opened: Instant,
    /// Milliseconds from `opened` to the latest confirm.
    confirmed: AtomicU64,
    over: CancellationToken,
}

impl Broker {
    /// Starts the supervisor. It returns at once and connects in the background; it ends when `stop` is cancelled.
    #[must_use]
    pub fn start(settings: AmqpSettings, topology: Topology, stop: CancellationToken) -> (Self, JoinHandle<()>) {
        let (sender, sessions) = watch::channel(None);
        let broker = Self { sessions, settings: Arc::new(settings), topology: Arc::new(topology), stop };
        let supervisor = tokio::spawn(broker.clone().supervise(sender));
        (broker, supervisor)
    }

    async fn supervise(self, sender: watch::Sender<Option<Arc<Session>>>) {
        let mut number = 0;
        let mut pauses = ReconnectPauses::new();
        while !self.stop.is_cancelled() {
            let opened = tokio::select! {
                opened = Session::open(&self.settings, &self.topology, number + 1) => opened,
                () = self.stop.cancelled() => break,
            };
            let pause = match opened {
                Ok(session) => {
                    number += 1;
                    let session = Arc::new(session);
                    info!(session = number, broker = %self.settings.address(), "connected");
                    sender.send_replace(Some(Arc::clone(&session)));
                    session.watch(&self.stop).await;
                    let lived = session.opened.elapsed();
                    sender.send_replace(None);
                    session.close().await;
                    let pause = pauses.after_session(lived);
                    if !pause.is_zero() && !self.stop.is_cancelled() {
                        let (lived_ms, pause_ms) = (millis(lived), millis(pause));
                        warn!(session = number, lived_ms, pause_ms, "the session was short; connecting after a pause");
                    }
                    pause
                }
                Err(error) => {
                    let pause = pauses.after_failure();
                    let (failures, pause_ms) = (pauses.failures(), millis(pause));
                    warn!(%error, failures, pause_ms, "failed to connect to the broker; trying again");
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// The current session, or the next one; `None` once ferryd is stopping.
    pub async fn session(&self) -> Option<Arc<Session>> {
        let mut sessions = self.sessions.clone();
        loop {
            if let Some(session) = sessions.borrow_and_update().as_ref().filter(|session| !session.over.is_cancelled())
            {
                return Some(Arc::clone(session));
            }
            tokio::select! {
                changed = sessions.changed() => changed.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    /// Whether a session is up just now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.sessions.borrow().as_ref().is_some_and(|session| !session.over.is_cancelled())
    }

    /// Whether a session is up on which the broker takes no messages for now.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.sessions.borrow().as_ref().is_some_and(|session| *session.blocked.borrow())
    }

    /// Declares the topology again, for a queue that was deleted under a running daemon.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses or is lost.
    pub async fn declare_again(&self, session: &Session) -> Result<(), BrokerError> {
        declare::declare(&session.consuming, &self.topology).await.map(drop)
    }

    /// Publishes a message and waits for the broker's confirm, through outages of any length.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops before the confirm came.
    pub async fn publish(&self, message: &Message) -> Result<(), BrokerError> {
        loop {
            let Some(session) = self.session().await else { return Err(BrokerError::Stopping) };
            if self.publish_on(&session, message).await {
                return Ok(());
            }
        }
    }

    /// As [`publish`](Self::publish), but not anew once it is `unwanted`. A confirm that is on its way by then is still waited
    /// for: the message is in the broker's hands and counts as unconfirmed.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops, or nobody wants it any more, before the confirm came.
    pub async fn publish_unless(&self, message: &Message, unwanted: &CancellationToken) -> Result<(), BrokerError> {
        loop {
            let session = unwanted.run_until_cancelled(self.session()).await.flatten();
            let Some(session) = session else { return Err(BrokerError::Stopping) };
            if self.publish_on(&session, message).await {
                return Ok(());
            }
        }
    }

    /// Whether the broker confirmed a message. Where not, this returns when it can be published again.
    async fn publish_on(&self, session: &Session, message: &Message) -> bool {
        match session.publish(message, self.settings.publish_timeout).await {
            Ok(()) => return true,
            Err(Refused::ByBroker) => {
                warn!(exchange = %message.exchange, "the broker did not take a message (a queue that is full or has no leader?); publishing it again");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            Err(Refused::SessionLost(reason)) => session.end(&reason),
        }
        false
    }

    /// Publishes a message once, without waiting for anything: for answers that are best effort.
    pub async fn publish_once(&self, message: &Message) {
        let Some(session) = self.sessions.borrow().clone() else { return };
        let _ = session.publish(message, self.settings.publish_timeout).await;
    }
}

/// Why a publish has to be made again.
enum Refused {
    /// The broker answered with a nack, or not at all while it answered others.
    ByBroker,
    /// The session can't be used any more.
    SessionLost(String),
}

impl Session {
    async fn open(settings: &AmqpSettings, topology: &Topology, number: u64) -> Result<Self, BrokerError> {
        let consuming = settings.connect("consume").await?;
        let publishing = settings.connect("publish").await?;
        declare::declare(&consuming, topology).await?;
        let setting_up = async {
            let confirms = publishing.create_channel().await.map_err(BrokerError::during("open a channel"))?;
            let confirmed = confirms.confirm_select(ConfirmSelectOptions::default()).await;
            confirmed.map_err(BrokerError::during("ask for publisher confirms"))?;
            Ok(confirms)
        };
        let after = settings.connect_timeout;
        let confirms = tokio::time::timeout(after, setting_up).await.unwrap_or_else(|_| {
            let action = "ask for publisher confirms".to_owned();
            Err(BrokerError::Timeout { action, after })
        })?;
        let (blocking, blocked) = watch::channel(false);
        let over = CancellationToken::new();
        listen(&consuming, None, over.clone());
        listen(&publishing, Some(blocking), over.clone());
        let unconfirmed = Semaphore::new(settings.max_unconfirmed);
        let (opened, confirmed) = (Instant::now(), AtomicU64::new(0));
        Ok(Self { number, consuming, publishing, confirms, unconfirmed, blocked, opened, confirmed, over })
    }

    /// Waits until the session is over or ferryd stops.
    async fn watch(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(STATUS_INTERVAL);
        while !stop.is_cancelled() && !self.over.is_cancelled() {
            tokio::select! {
                () = self.over.cancelled() => {}
                () = stop.cancelled() => {}
                _ = ticks.tick() => {
                    if !(self.consuming.status().connected() && self.publishing.status().connected()) {
                        self.end("a connection is closed");
                    }
                }
            }
        }
        self.over.cancel();
    }

    /// Ends the session; the supervisor opens the next.
    pub fn end(&self, reason: &str) {
        if !self.over.is_cancelled() {
            warn!(session = self.number, reason, "the session with the broker is over");
            self.over.cancel();
        }
    }

    /// Resolves when the session is over.
    pub async fn ended(&self) {
        self.over.cancelled().await;
    }

    /// A new channel for consuming.
    ///
    /// # Errors
    /// [`BrokerError`] where the connection is lost.
    pub async fn consuming_channel(&self) -> Result<Channel, BrokerError> {
        tokio::select! {
            channel = self.consuming.create_channel() => channel.map_err(BrokerError::during("open a channel")),
            () = self.ended() => Err(BrokerError::Stopping),
        }
    }

    async fn publish(&self, message: &Message, timeout: Duration) -> Result<(), Refused> {
        let lost = |error: lapin::Error| Refused::SessionLost(error.to_string());
        let publishing = async {
            let Ok(_permit) = self.unconfirmed.acquire().await else {
                return Err(Refused::SessionLost("closed".to_owned()));
            };
            let Message { exchange, routing_key, properties, body } = message;
            let options = BasicPublishOptions::default();
            let sent =
                self.confirms.basic_publish(exchange.clone(), routing_key.clone(), options, body, properties.clone());
            let confirmation = sent.await.map_err(lost)?.await.map_err(lost)?;
            self.confirmed.fetch_max(self.age(), Ordering::Relaxed);
            match confirmation {
                Confirmation::Ack(_) => Ok(()),
                Confirmation::Nack(_) => Err(Refused::ByBroker),
                Confirmation::NotRequested => Err(Refused::SessionLost("publisher confirms are off".to_owned())),
            }
        };
        tokio::select! {
            confirmed = publishing => confirmed,
            () = self.stalled(timeout) => Err(self.overdue(timeout)),
            () = self.ended() => Err(Refused::SessionLost("the session ended".to_owned())),
        }
    }

    /// Milliseconds since the session was opened.
    fn age(&self) -> u64 {
        millis(self.opened.elapsed())
    }

    /// What a confirm that did not come in time means. Where others came meanwhile, one queue is in trouble, such as one
    /// without a leader, and the rest must not suffer from it.
    fn overdue(&self, timeout: Duration) -> Refused {
        let since = self.age().saturating_sub(self.confirmed.load(Ordering::Relaxed));
        if u128::from(since) < timeout.as_millis() {
            Refused::ByBroker
        } else {
            Refused::SessionLost("no confirm from the broker in time".to_owned())
        }
    }

    /// Resolves when `timeout` has passed in one piece without the broker blocking publishers. While it blocks them
    /// (a memory or disk alarm), confirms may take for ever, and publishing again would only add copies.
    async fn stalled(&self, timeout: Duration) {
        let mut blocked = self.blocked.clone();
        loop {
            if blocked.wait_for(|blocked| !blocked).await.is_err() {
                return self.ended().await;
            }
            if tokio::time::timeout(timeout, blocked.wait_for(|blocked| *blocked)).await.is_err() {
                return;
            }
        }
    }

    async fn close(&self) {
        // Both at once: over a stalled network the goodbye to one takes all the time there is.
        let goodbye = join(self.publishing.close(200, "bye".into()), self.consuming.close(200, "bye".into()));
        // A dead peer does not answer; the socket is dropped then.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Follows a connection's events until its session is over.
fn listen(connection: &Connection, blocking: Option<watch::Sender<bool>>, over: CancellationToken) {
    let mut events = connection.events_listener();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = over.cancelled() => return,
            };
            match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    warn!(reason, "the broker blocks publishers; waiting");
                    blocking.as_ref().map(|blocking| blocking.send_replace(true));
                }
                Some(lapin::Event::ConnectionUnblocked) => {
                    info!("the broker takes messages again");
                    blocking.as_ref().map(|blocking| blocking.send_replace(false));
                }
                Some(lapin::Event::Error(error)) if is_of_a_channel(&error) => {
                    debug!(%error, "the broker closed a channel");
                }
                Some(lapin::Event::Error(error)) => {
                    warn!(%error, "a connection to the broker failed");
                    return over.cancel();
                }
                Some(_) => {}
                None => return over.cancel(),
            }
        }
    });
}

/// Whether the broker closed only a channel (a "soft error" of AMQP 0-9-1): whoever uses it finds out by itself.
fn is_of_a_channel(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if matches!(error.kind(), AMQPErrorKind::Soft(_)))
}
