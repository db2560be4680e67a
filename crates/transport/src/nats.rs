//! Publishes messages to JetStream streams of a provider's NATS server, and reports with certainty
//! what the server has stored.
//!
//! Each account has one [`NatsPublisher`]. It connects when the first message is published, keeps
//! one connection, and repeats nothing, so that one call is one message. Once a message was handed
//! to the client, only the server's answer tells what became of it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::nats_failure as failure;
use super::nats_link::NatsLink;
use super::nats_message::NatsMessage;
use super::nats_setup::NatsTarget;
use super::shared_link::SharedLink;

use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_domain::outcome::Failure;

pub use super::nats_setup::{NatsLinkSettings, NatsSetupError};

/// The link of one account to its server.
pub struct NatsPublisher {
    target: NatsTarget,
    /// The messages that may await their acknowledgement at the same time.
    in_flight: Arc<Semaphore>,
    shared: SharedLink<NatsLink>,
}

impl NatsPublisher {
    /// Sets up the link: reads its CA file, connects to nothing.
    ///
    /// # Errors
    /// The address is none of a NATS server, or the CA file can't be used.
    pub fn new(settings: NatsLinkSettings) -> Result<Self, NatsSetupError> {
        let in_flight = usize::from(settings.max_in_flight.max(1));
        Ok(Self {
            target: NatsTarget::new(settings)?,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            shared: SharedLink::new(),
        })
    }

    /// Publishes a message and waits for the acknowledgement of its stream, both within the
    /// message's timeout. Dropping the future leaves the message in doubt.
    pub async fn publish(&self, message: &MessageRequest) -> MessageResult {
        let (timeout, deadline) = (message.timeout, Instant::now() + message.timeout);
        let outgoing = match NatsMessage::new(message) {
            Ok(outgoing) => outgoing,
            Err(failure) => return MessageResult::NotSent(failure),
        };
        match timeout_at(deadline, self.lease()).await {
            Ok(Ok((link, _permit))) if Instant::now() < deadline => {
                link.publish(outgoing, deadline, timeout).await
            }
            Ok(Err(failure)) => MessageResult::NotSent(failure),
            Ok(Ok(_)) | Err(_) => failure::timed_out_before_publish(timeout),
        }
    }

    /// Connects and logs in, as a call would; then disconnects.
    ///
    /// # Errors
    /// The [`Failure`] that a call would have.
    pub async fn probe(&self) -> Result<(), Failure> {
        NatsLink::open(&self.target).await.map(drop)
    }

    /// Waits for a permit and the connection.
    async fn lease(&self) -> Result<(Arc<NatsLink>, OwnedSemaphorePermit), Failure> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::new("timeout", "the link is closed"))?;
        Ok((self.shared.link(NatsLink::is_usable, NatsLink::open(&self.target)).await?, permit))
    }
}

impl fmt::Debug for NatsPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsPublisher")
            .field("server", &self.target.settings.server.as_str())
            .finish_non_exhaustive()
    }
}
