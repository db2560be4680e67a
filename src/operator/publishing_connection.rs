//! Publishes one message at a time, so that the broker's confirm of each is beyond doubt.

use std::borrow::Cow;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, PublisherConfirm};

use super::error::is_not_found;
use super::{OperatorContext, OperatorError};
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::error::BrokerError;
use ferryd_broker::header_frame::fit_header_frame;
use ferryd_broker::message::OutgoingMessage;

/// A connection of its own for publishing: one that also consumes could not ack while the broker
/// blocks publishers.
pub struct PublishingConnection {
    operator: OperatorContext,
    connection: Connection,
    channel: Channel,
}

impl PublishingConnection {
    /// Connects.
    ///
    /// # Errors
    /// [`OperatorError::Broker`].
    pub async fn open(operator: &OperatorContext) -> Result<Self, OperatorError> {
        Self::is_closed(operator, operator.amqp.connect("operator-publish").await?).await
    }

    async fn is_closed(
        operator: &OperatorContext,
        connection: Connection,
    ) -> Result<Self, OperatorError> {
        let channel = connection
            .create_channel()
            .await
            .map_err(BrokerError::while_doing("open a channel"))?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirming.map_err(BrokerError::while_doing("ask for publisher confirms"))?;
        Ok(Self { operator: operator.clone(), connection, channel })
    }

    /// Publishes a message and returns when the broker has confirmed that a queue holds it. An
    /// event need not be held by any: who subscribes is not the operator's business.
    ///
    /// The sender is borrowed alone: with more than one publish in flight a return may be
    /// another's.
    ///
    /// # Errors
    /// [`OperatorError`]; only after [`OperatorError::NoConfirm`] or a lost connection the message
    /// may have been taken.
    pub async fn send(&mut self, message: &OutgoingMessage) -> Result<(), OperatorError> {
        let exchange = message.exchange.to_string();
        let confirmed = async { self.publish(message).await?.await };
        match tokio::time::timeout(self.confirm_timeout(), confirmed).await {
            Err(_) => Err(self.confirm_timeout_error(message)),
            Ok(Err(error)) => Err(self.failure(message, error)),
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)))) => {
                Err(OperatorError::Unroutable { exchange, key: message.routing_key.to_string() })
            }
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => {
                Err(OperatorError::Refused { exchange })
            }
        }
    }

    /// Hands a message to the broker. Its confirm comes later.
    pub(super) async fn publish(
        &self,
        message: &OutgoingMessage,
    ) -> Result<PublisherConfirm, lapin::Error> {
        let frame_max = self.connection.configuration().frame_max();
        let message = fit_header_frame(message, frame_max).unwrap_or(Cow::Borrowed(message));
        let OutgoingMessage { exchange, routing_key, properties, body } = message.as_ref();
        let mandatory = exchange.as_str() != self.operator.names.events();
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        self.channel
            .basic_publish(exchange.clone(), routing_key.clone(), options, body, properties.clone())
            .await
    }

    /// The longest time for the broker to confirm a message.
    pub(super) fn confirm_timeout(&self) -> Duration {
        self.operator.amqp.publish_timeout
    }

    /// The most messages that may be under way.
    pub(super) fn most_unconfirmed(&self) -> usize {
        self.operator.amqp.max_unconfirmed
    }

    /// Builds the error for a message that was not confirmed in time.
    pub(super) fn confirm_timeout_error(&self, message: &OutgoingMessage) -> OperatorError {
        OperatorError::NoConfirm {
            exchange: message.exchange.to_string(),
            after: self.confirm_timeout(),
        }
    }

    /// Builds the error for a message that could not be published, or not be confirmed.
    pub(super) fn failure(&self, message: &OutgoingMessage, error: lapin::Error) -> OperatorError {
        let exchange = message.exchange.to_string();
        if is_not_found(&error) {
            return OperatorError::NoExchange { exchange, address: self.operator.amqp.address() };
        }
        BrokerError::while_doing(format!("publish to exchange {exchange}"))(error).into()
    }

    /// Says goodbye to the broker.
    pub async fn close(self) {
        // Everything sent was confirmed; there is nothing left to lose.
        say_goodbye(&self.connection).await;
    }
}
