//! The quarantine: messages of which one may have made the broker close a channel or a connection.
//!
//! The broker does not name the message that it refused: all unconfirmed messages fail with the
//! same cause. So each of those is published alone, on a connection of its own. A message that ends
//! that connection twice is refused; the others are confirmed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

use super::connection::AmqpSettings;
use super::failure::{CloseCause, PublishFailure};
use super::message::OutgoingMessage;

/// The number of times that a message has to end the connection on which it is alone, to be
/// refused.
const STRIKES: usize = 2;

/// The longest time for closing a connection in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The connection on which one message is published at a time.
pub struct PublishQuarantine {
    settings: Arc<AmqpSettings>,
    link: Mutex<Option<QuarantineLink>>,
    /// The number of messages that wait or are under way.
    suspects: AtomicUsize,
}

struct QuarantineLink {
    connection: Connection,
    channel: Channel,
}

/// The result of publishing a message alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuarantinedPublish {
    /// The broker has confirmed the message.
    Confirmed,
    /// The broker refuses the message.
    Refused(CloseCause),
    /// Another failure, which proves nothing about the message.
    Undecided(PublishFailure),
}

impl PublishQuarantine {
    /// Creates a quarantine at this broker, without a connection.
    #[must_use]
    pub fn new(settings: Arc<AmqpSettings>) -> Self {
        Self { settings, link: Mutex::default(), suspects: AtomicUsize::default() }
    }

    /// Publishes a message while no other is under way here.
    pub async fn publish_alone(&self, message: &OutgoingMessage) -> QuarantinedPublish {
        let suspect = SuspectGuard::enter(&self.suspects);
        let mut slot = self.link.lock().await;
        // A task that is dropped here leaves no connection with an unconfirmed message behind.
        let mut link = slot.take();
        let published = self.try_twice(&mut link, message).await;
        if !suspect.is_last() {
            *slot = link;
        } else if let Some(QuarantineLink { connection, .. }) = link {
            let _ = timeout(CLOSE_TIMEOUT, connection.close(200, "done".into())).await;
        }
        published
    }

    async fn try_twice(
        &self,
        link: &mut Option<QuarantineLink>,
        message: &OutgoingMessage,
    ) -> QuarantinedPublish {
        let mut refused = CloseCause::found("");
        for strike in 1..=STRIKES {
            let failure = match self.publish(link, message).await {
                Ok(()) => return QuarantinedPublish::Confirmed,
                Err(failure) => failure,
            };
            *link = None;
            let Some(cause) = failure.refusal() else {
                return QuarantinedPublish::Undecided(failure);
            };
            let (exchange, routing_key) = (message.exchange.as_str(), message.routing_key.as_str());
            warn!(
                exchange,
                routing_key,
                strike,
                reason = cause.reason,
                "the broker refuses a message that was alone"
            );
            refused = cause.clone();
        }
        QuarantinedPublish::Refused(refused)
    }

    async fn publish(
        &self,
        link: &mut Option<QuarantineLink>,
        message: &OutgoingMessage,
    ) -> Result<(), PublishFailure> {
        let QuarantineLink { channel, .. } = match link {
            Some(link) => link,
            None => link.insert(self.open().await?),
        };
        let OutgoingMessage { exchange, routing_key, properties, body } = message;
        let options = BasicPublishOptions::default();
        let sending = channel.basic_publish(
            exchange.clone(),
            routing_key.clone(),
            options,
            body,
            properties.clone(),
        );
        let after = self.settings.publish_timeout;
        let confirming = async { sending.await?.await };
        match timeout(after, confirming).await {
            Err(_) => Err(PublishFailure::Unconfirmed { after }),
            Ok(confirmation) => match confirmation? {
                Confirmation::Ack(_) => Ok(()),
                Confirmation::Nack(_) | Confirmation::NotRequested => Err(PublishFailure::Nacked),
            },
        }
    }

    async fn open(&self) -> Result<QuarantineLink, PublishFailure> {
        let lost = |reason: &str| PublishFailure::SessionLost { cause: CloseCause::found(reason) };
        let connection = self
            .settings
            .connect("publish-quarantine")
            .await
            .map_err(|error| lost(&error.to_string()))?;
        let open_channel = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(channel)
        };
        let opened = timeout(self.settings.connect_timeout, open_channel).await;
        let channel = opened
            .map_err(|_| lost("no answer from the broker in time"))?
            .map_err(|error| lost(&error.to_string()))?;
        Ok(QuarantineLink { connection, channel })
    }
}

/// Counts one message that waits or is under way, until it is dropped.
struct SuspectGuard<'a>(&'a AtomicUsize);

impl<'a> SuspectGuard<'a> {
    fn enter(suspects: &'a AtomicUsize) -> Self {
        suspects.fetch_add(1, Ordering::Relaxed);
        Self(suspects)
    }

    fn is_last(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

impl Drop for SuspectGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
