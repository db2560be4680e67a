//! Sessions with the broker: each has the connection that consumes, and those that publish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lapin::{Channel, Connection};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connection::AmqpSettings;
use super::declare;
use super::destination::LinkPurpose;
use super::error::BrokerError;
use super::failure::{CloseCause, PublishFailure};
use super::link::PublishingLink;
use super::session_end::{SessionEnd, follow_events};
use super::topology::Topology;

/// The interval of reading a connection's own state, should an event about its end be missed.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The longest time for closing a connection in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A session with the broker, from connecting until one of its connections ends.
pub struct BrokerSession {
    /// The number of the session in this process, from 1.
    pub number: u64,
    settings: Arc<AmqpSettings>,
    opened: Instant,
    consuming: Connection,
    /// The links by purpose, each opened when it is first needed.
    links: [OnceCell<PublishingLink>; LinkPurpose::ALL.len()],
    end: Arc<SessionEnd>,
}

impl BrokerSession {
    pub(super) async fn open(
        settings: &Arc<AmqpSettings>,
        topology: &Topology,
        number: u64,
    ) -> Result<Self, BrokerError> {
        let consuming = settings.connect_consuming("consume").await?;
        declare::declare(&consuming, topology).await?;
        let end = Arc::<SessionEnd>::default();
        follow_events(&consuming, None, Arc::clone(&end));
        let (settings, opened) = (Arc::clone(settings), Instant::now());
        Ok(Self { number, settings, opened, consuming, links: Default::default(), end })
    }

    /// Waits until the session is over or ferryd stops.
    pub(super) async fn wait_until_over(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(STATUS_INTERVAL);
        while !stop.is_cancelled() && !self.is_over() {
            tokio::select! {
                () = self.ended() => {}
                () = stop.cancelled() => {}
                _ = ticks.tick() => {
                    if !self.connections().all(|connection| connection.status().connected()) {
                        self.end("a connection is closed");
                    }
                }
            }
        }
        self.end.end_without_cause();
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        let publishing = self.links.iter().filter_map(OnceCell::get).map(|link| &link.connection);
        [&self.consuming].into_iter().chain(publishing)
    }

    /// Ends the session; the supervisor opens the next.
    pub fn end(&self, reason: &str) {
        self.end_by(&CloseCause::found(reason));
    }

    pub(super) fn end_by(&self, cause: &CloseCause) {
        if !self.is_over() {
            let broker = self.settings.address();
            warn!(
                session = self.number,
                broker,
                reason = cause.reason,
                "the session with the broker is over"
            );
            self.end.end(cause.clone());
        }
    }

    /// Returns the end of the session, for tasks that wait for an answer on one of its links.
    pub(super) fn session_end(&self) -> &SessionEnd {
        &self.end
    }

    /// Returns the time since the session was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Resolves when the session is over.
    pub async fn ended(&self) {
        self.end.ended().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.end.is_over()
    }

    /// Returns the failure of the messages that were under way on this session, once it is over.
    pub(super) fn publish_failure(&self) -> PublishFailure {
        self.end.publish_failure()
    }

    /// Returns true if the broker blocks a link and takes no messages on it.
    pub(super) fn is_blocked(&self) -> bool {
        self.links.iter().filter_map(OnceCell::get).any(PublishingLink::is_blocked)
    }

    /// Returns the link for a purpose.
    pub(super) async fn link(
        &self,
        purpose: LinkPurpose,
    ) -> Result<&PublishingLink, PublishFailure> {
        let slot = &self.links[purpose as usize];
        if let Some(link) = slot.get() {
            return Ok(link);
        }
        // Boxed: every message that is published passes here, and hardly one connects.
        let open_link = || Box::pin(PublishingLink::open(&self.settings, purpose, &self.end));
        tokio::select! {
            link = slot.get_or_try_init(open_link) => link.map_err(|error| {
                PublishFailure::SessionLost { cause: CloseCause::found(&error.to_string()) }
            }),
            () = self.ended() => Err(self.publish_failure()),
        }
    }

    /// Opens a new channel for consuming.
    ///
    /// # Errors
    /// [`BrokerError`] where the connection is lost.
    pub async fn consuming_channel(&self) -> Result<Channel, BrokerError> {
        tokio::select! {
            channel = self.consuming.create_channel() => channel.map_err(BrokerError::while_doing("open a channel")),
            () = self.ended() => Err(BrokerError::Stopping),
        }
    }

    pub(super) async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        declare::declare(&self.consuming, topology).await.map(drop)
    }

    pub(super) async fn close(&self) {
        // All connections are closed at the same time: over a stalled network one takes all the
        // time there is.
        let goodbyes =
            join_all(self.connections().map(|connection| connection.close(200, "bye".into())));
        // A dead peer does not answer; the socket is dropped then.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbyes).await;
    }
}
