//! Following events with a queue of one's own.

use futures_util::StreamExt as _;
use jiff::Timestamp;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, Consumer};
use serde::Deserialize as _;
use serde_json::Value;

use super::error::is_not_found;
use super::{OperatorContext, OperatorError};
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::short_string;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::Event;
use ferryd_domain::webhook_event::ReceivedEvent;

/// Most events that wait in memory for the reader.
const PREFETCH: u16 = 500;
/// Most events that wait at the broker for a reader that has stopped, such as a pager; the oldest
/// are dropped then.
const MOST_WAITING: i64 = 100_000;

/// A subscription to events. Its queue is gone with its connection.
pub struct EventSubscription {
    connection: Connection,
    consumer: Consumer,
}

/// Something published to the events' exchange.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowedEvent {
    /// An event.
    Event(Box<Event>, Value),
    /// A contradiction to the recorded outcome of a command.
    Conflict(Box<ConflictEvent>, Value),
    /// The notices of a webhook.
    Webhook(Box<ReceivedEvent>, Value),
    /// Something else, from another version or another hand.
    Other {
        /// The routing key of the event.
        routing_key: String,
        /// The body as JSON; a JSON string where the body is no JSON.
        body: Value,
    },
}

impl EventSubscription {
    /// Subscribes to what the binding keys match. What is published after this returns is seen.
    ///
    /// # Errors
    /// [`OperatorError::Broker`], [`OperatorError::NoExchange`].
    pub async fn open(
        operator: &OperatorContext,
        bindings: &[String],
    ) -> Result<Self, OperatorError> {
        let connection = operator.amqp.connect_consuming("operator-follow").await?;
        let channel = connection
            .create_channel()
            .await
            .map_err(BrokerError::while_doing("open a channel"))?;
        let queue = declare(&channel)
            .await
            .map_err(BrokerError::while_doing("declare a queue for events"))?;
        for binding in bindings {
            let exchange = operator.names.events();
            let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
            let bound = channel
                .queue_bind(
                    queue.clone(),
                    short_string(exchange)?,
                    short_string(binding)?,
                    options,
                    arguments,
                )
                .await;
            bound.map_err(|error| {
                if is_not_found(&error) {
                    return OperatorError::NoExchange {
                        exchange: exchange.to_owned(),
                        address: operator.amqp.address(),
                    };
                }
                BrokerError::while_doing(format!("bind events under `{binding}`"))(error).into()
            })?;
        }
        let consumer =
            consume(&channel, queue).await.map_err(BrokerError::while_doing("consume events"))?;
        Ok(Self { connection, consumer })
    }

    /// The next thing published. Safe to be dropped while it waits.
    ///
    /// # Errors
    /// [`OperatorError::SubscriptionLost`].
    pub async fn next(&mut self) -> Result<FollowedEvent, OperatorError> {
        let Some(Ok(delivery)) = self.consumer.next().await else {
            return Err(OperatorError::SubscriptionLost);
        };
        // No other consumer can get the event, so a lost ack means nothing but the end of the
        // subscription, which the next read returns.
        let _ = delivery.acker.ack(BasicAckOptions::default()).await;
        Ok(read(delivery.routing_key.to_string(), &delivery.data))
    }

    /// The next event of state `waiting`, `completed` or `failed` that `wanted` accepts.
    ///
    /// # Errors
    /// [`OperatorError::SubscriptionLost`].
    pub async fn next_matching(
        &mut self,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Result<Box<Event>, OperatorError> {
        loop {
            if let FollowedEvent::Event(event, _) = self.next().await?
                && wanted(&event)
            {
                return Ok(event);
            }
        }
    }

    /// Ends the subscription.
    pub async fn close(self) {
        say_goodbye(&self.connection).await;
    }
}

impl FollowedEvent {
    /// Returns the time of the event, where the event has one.
    #[must_use]
    pub fn occurred_at(&self) -> Option<Timestamp> {
        match self {
            Self::Event(event, _) => Some(event.time),
            Self::Conflict(event, _) => Some(event.time),
            Self::Webhook(event, _) => Some(event.time),
            Self::Other { body, .. } => body.get("time")?.as_str()?.parse().ok(),
        }
    }

    /// All of it, as it was published.
    #[must_use]
    pub fn json(&self) -> &Value {
        match self {
            Self::Event(_, json) | Self::Conflict(_, json) | Self::Webhook(_, json) => json,
            Self::Other { body, .. } => body,
        }
    }
}

fn read(routing_key: String, data: &[u8]) -> FollowedEvent {
    let body: Value = serde_json::from_slice(data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(data).into_owned()));
    // Each has fields that the others lack.
    if let Ok(event) = Event::deserialize(&body) {
        FollowedEvent::Event(Box::new(event), body)
    } else if let Ok(event) = ConflictEvent::deserialize(&body) {
        FollowedEvent::Conflict(Box::new(event), body)
    } else if let Ok(event) = ReceivedEvent::deserialize(&body) {
        FollowedEvent::Webhook(Box::new(event), body)
    } else {
        FollowedEvent::Other { routing_key, body }
    }
}

async fn declare(channel: &Channel) -> Result<ShortString, lapin::Error> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("classic")));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MOST_WAITING));
    let options = QueueDeclareOptions::exclusive().auto_delete();
    Ok(channel.queue_declare(ShortString::from(""), options, arguments).await?.name().clone())
}

async fn consume(channel: &Channel, queue: ShortString) -> Result<Consumer, lapin::Error> {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    channel.basic_consume(queue, ShortString::from(""), options, arguments).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_no_event_is_shown_as_it_is() {
        let body = br#"{"type":"ferry.webhook.received","time":"2026-11-01T00:00:00Z"}"#;
        let followed = read("a.b".to_owned(), body);
        assert!(
            matches!(&followed, FollowedEvent::Other { routing_key, .. } if routing_key == "a.b")
        );
        assert_eq!(followed.occurred_at(), "2026-11-01T00:00:00Z".parse().ok());
        let followed = read("a.b".to_owned(), b"\xff no JSON");
        assert_eq!(followed.json(), "\u{fffd} no JSON");
    }
}
