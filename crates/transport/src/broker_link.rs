//! The link of an account to its provider's broker, whichever protocol that broker speaks.

use super::amqp::{AmqpLinkSettings, AmqpPublisher, AmqpSetupError};
use super::nats::{NatsLinkSettings, NatsPublisher, NatsSetupError};
use ferryd_domain::message_call::{MessageRequest, MessageResult};
use ferryd_domain::outcome::Failure;
use ferryd_provider::{Account, Provider};

pub use super::amqp_failure::LOGIN_REFUSED;

/// The link of an account to its provider's broker.
#[derive(Debug)]
pub enum BrokerLink {
    /// AMQP 0-9-1.
    Amqp(AmqpPublisher),
    /// NATS JetStream.
    Nats(NatsPublisher),
}

/// The reason why the link to a provider's broker can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum BrokerSetupError {
    /// The settings of AMQP can't be used.
    #[error(transparent)]
    Amqp(#[from] AmqpSetupError),
    /// The settings of NATS can't be used.
    #[error(transparent)]
    Nats(#[from] NatsSetupError),
}

impl BrokerLink {
    /// Sets up the link of an account: reads its TLS files, connects to nothing. `None` where the
    /// provider is reached by HTTPS.
    ///
    /// # Errors
    /// The address is none of a broker, or a TLS file can't be used.
    pub fn of(provider: &Provider, account: &Account) -> Result<Option<Self>, BrokerSetupError> {
        if let Some(settings) = AmqpLinkSettings::of(provider, account) {
            return Ok(Some(Self::Amqp(AmqpPublisher::new(&settings)?)));
        }
        let Some(settings) = NatsLinkSettings::of(provider, account) else { return Ok(None) };
        Ok(Some(Self::Nats(NatsPublisher::new(settings)?)))
    }

    /// Publishes a message and waits until the broker acknowledges it, both within the message's
    /// timeout. Dropping the future leaves the message in doubt.
    pub async fn publish(&self, message: &MessageRequest) -> MessageResult {
        match self {
            Self::Amqp(publisher) => publisher.publish(message).await,
            Self::Nats(publisher) => publisher.publish(message).await,
        }
    }

    /// Connects and logs in, as a call would; then disconnects.
    ///
    /// # Errors
    /// The [`Failure`] that a call would have.
    pub async fn probe(&self) -> Result<(), Failure> {
        match self {
            Self::Amqp(publisher) => publisher.probe().await,
            Self::Nats(publisher) => publisher.probe().await,
        }
    }
}
