//! Publishing by hand: one message at a time, so that the broker's word on each is beyond doubt.

use std::borrow::Cow;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};

use super::error::is_not_found;
use super::{Operator, OperatorError};
use crate::amqp::error::BrokerError;
use crate::amqp::header_frame::fit_header_frame;
use crate::amqp::message::Message;

/// A connection of its own for publishing: one that also consumes could not ack while the broker blocks publishers.
pub struct Sender {
    operator: Operator,
    connection: Connection,
    channel: Channel,
}

impl Sender {
    /// Connects.
    ///
    /// # Errors
    /// [`OperatorError::Broker`].
    pub async fn open(operator: &Operator) -> Result<Self, OperatorError> {
        let connection = operator.amqp.connect("operator-publish").await?;
        let channel = connection.create_channel().await.map_err(BrokerError::during("open a channel"))?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirming.map_err(BrokerError::during("ask for publisher confirms"))?;
        Ok(Self { operator: operator.clone(), connection, channel })
    }

    /// Publishes a message and returns when the broker has confirmed that a queue holds it. An event need not be held
    /// by any: who subscribes is not the operator's business.
    ///
    /// It borrows the sender alone: with more than one publish in flight a return can't be told from another's.
    ///
    /// # Errors
    /// [`OperatorError`]; only after [`OperatorError::NoConfirm`] or a lost connection the message may have been taken.
    pub async fn send(&mut self, message: &Message) -> Result<(), OperatorError> {
        let after = self.operator.amqp.publish_timeout;
        let exchange = message.exchange.to_string();
        match tokio::time::timeout(after, self.confirmed(message)).await {
            Err(_) => Err(OperatorError::NoConfirm { exchange, after }),
            Ok(Err(error)) if is_not_found(&error) => {
                Err(OperatorError::NoExchange { exchange, address: self.operator.amqp.address() })
            }
            Ok(Err(error)) => Err(BrokerError::during(format!("publish to exchange {exchange}"))(error).into()),
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)))) => {
                Err(OperatorError::Unroutable { exchange, key: message.routing_key.to_string() })
            }
            Ok(Ok(Confirmation::Nack(_) | Confirmation::NotRequested)) => Err(OperatorError::Refused { exchange }),
        }
    }

    async fn confirmed(&self, message: &Message) -> Result<Confirmation, lapin::Error> {
        let frame_max = self.connection.configuration().frame_max();
        let message = fit_header_frame(message, frame_max).unwrap_or(Cow::Borrowed(message));
        let Message { exchange, routing_key, properties, body } = message.as_ref();
        let mandatory = exchange.as_str() != self.operator.names.events();
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let publishing =
            self.channel.basic_publish(exchange.clone(), routing_key.clone(), options, body, properties.clone());
        publishing.await?.await
    }

    /// Says goodbye to the broker.
    pub async fn close(self) {
        // Everything sent was confirmed; there is nothing left to lose.
        let _ = self.connection.close(200, "done".into()).await;
    }
}
