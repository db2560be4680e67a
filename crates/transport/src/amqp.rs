//! Publishes messages to a provider's broker over AMQP 0-9-1, and reports with certainty what the
//! broker has taken.
//!
//! Each account has one [`AmqpPublisher`]. It connects when the first message is published, keeps
//! one connection, and repeats nothing, so that one call is one message. Once a message was handed
//! to the client, only the broker's answer tells what became of it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::amqp_failure as failure;
use super::amqp_link::{AmqpLink, ChannelError};
use super::amqp_message::AmqpMessage;
use super::amqp_publish::ChannelLease;
use super::amqp_setup::BrokerTarget;
use super::shared_link::SharedLink;

use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_domain::outcome::Failure;

pub use super::amqp_setup::{AmqpLinkSettings, AmqpSetupError};

/// The number of connections that a message tries. One can be lost just before its channel opens.
const TRIES: u32 = 2;

/// The link of one account to its broker.
pub struct AmqpPublisher {
    target: BrokerTarget,
    /// The messages that may await their confirm at the same time.
    in_flight: Arc<Semaphore>,
    shared: SharedLink<AmqpLink>,
}

impl AmqpPublisher {
    /// Sets up the link: reads its TLS files, connects to nothing.
    ///
    /// # Errors
    /// The address is none of a broker, or a TLS file can't be used.
    pub fn new(settings: &AmqpLinkSettings) -> Result<Self, AmqpSetupError> {
        let in_flight = usize::from(settings.max_in_flight.max(1));
        Ok(Self {
            target: BrokerTarget::new(settings)?,
            in_flight: Arc::new(Semaphore::new(in_flight)),
            shared: SharedLink::new(),
        })
    }

    /// Publishes a message and waits for the broker's confirm, both within the message's timeout.
    /// Dropping the future leaves the message in doubt.
    pub async fn publish(&self, message: &MessageRequest) -> MessageResult {
        let (timeout, deadline) = (message.timeout, Instant::now() + message.timeout);
        let outgoing = match AmqpMessage::new(message) {
            Ok(outgoing) => outgoing,
            Err(failure) => return MessageResult::NotSent(failure),
        };
        match timeout_at(deadline, self.lease()).await {
            Ok(Ok(lease)) if Instant::now() < deadline => {
                lease.publish(outgoing, deadline, timeout).await
            }
            Ok(Err(failure)) => MessageResult::NotSent(failure),
            Ok(Ok(_)) | Err(_) => failure::timed_out_before_publish(timeout),
        }
    }

    /// Connects, authenticates and opens the virtual host, as a call would; then disconnects.
    ///
    /// # Errors
    /// The [`Failure`] that a call would have.
    pub async fn probe(&self) -> Result<(), Failure> {
        let link = AmqpLink::open(&self.target).await?;
        link.say_goodbye().await;
        Ok(())
    }

    /// Waits for a permit and a channel.
    async fn lease(&self) -> Result<ChannelLease, Failure> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.in_flight).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::new("timeout", "the link is closed"))?;
        self.lease_with(permit).await
    }

    async fn lease_with(&self, permit: OwnedSemaphorePermit) -> Result<ChannelLease, Failure> {
        let mut tries = 1;
        loop {
            let link = self.shared.link(AmqpLink::is_usable, AmqpLink::open(&self.target)).await?;
            if link.is_blocked() {
                return Err(failure::blocked());
            }
            match link.channel(self.target.connect_timeout).await {
                Ok(channel) => return Ok(ChannelLease::new(link, channel, permit)),
                Err(ChannelError::Refused(failure)) => return Err(failure),
                Err(ChannelError::LinkLost(failure)) => {
                    link.retire();
                    if tries == TRIES {
                        return Err(failure);
                    }
                    tries += 1;
                }
            }
        }
    }
}

impl fmt::Debug for AmqpPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpPublisher")
            .field("address", &self.target.address)
            .finish_non_exhaustive()
    }
}
