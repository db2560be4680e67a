//! Consumes a queue of a provider's broker over AMQP 0-9-1.
//!
//! A message stays in the queue until it is acked. A lost link gives back everything that was not,
//! and its messages come again on the next one.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicRejectOptions};
use tokio::time::timeout;
use url::Url;

use super::amqp_failure as failure;
use super::amqp_headers::read_headers;
use super::amqp_link::AmqpLink;
use super::amqp_setup::BrokerTarget;

use ferryd_domain::outcome::Failure;

pub use super::amqp_headers::MESSAGE_ID;
pub use super::amqp_setup::{AmqpLinkSettings, AmqpSetupError};

/// The most messages that the broker delivers ahead of their acks.
pub const PREFETCH: u16 = 32;

/// The longest time for the broker to begin a consumer, or to end one.
const PATIENCE: Duration = Duration::from_secs(30);

/// A queue of an account's broker, to be consumed.
pub struct QueueSource {
    target: BrokerTarget,
    queue: String,
    url: Url,
}

/// A consumer of a queue, on a connection of its own.
pub struct QueueConsumer {
    link: AmqpLink,
    deliveries: lapin::Consumer,
    queue: String,
}

/// A message of a queue. Dropped without an ack, it comes again once its connection has ended.
pub struct QueuedAnswer {
    /// The properties that name the message, and its headers, as headers of a webhook.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// The delivery, without its body.
    delivery: Delivery,
}

impl QueueSource {
    /// Sets up a source: reads the TLS files, connects to nothing.
    ///
    /// # Errors
    /// As [`AmqpPublisher::new`](super::amqp::AmqpPublisher::new).
    pub fn new(settings: &AmqpLinkSettings, queue: &str) -> Result<Self, AmqpSetupError> {
        let target = BrokerTarget::new(settings)?;
        let mut url = settings.server.clone();
        url.set_query(None);
        url.query_pairs_mut().append_pair("queue", queue);
        Ok(Self { target, queue: queue.to_owned(), url })
    }

    /// Returns the address of the queue, for people.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Connects, and begins to consume.
    ///
    /// # Errors
    /// A [`Failure`] that says why the broker cannot be reached or refuses.
    pub async fn open(&self) -> Result<QueueConsumer, Failure> {
        let link = AmqpLink::open(&self.target).await?;
        match timeout(PATIENCE, link.consume(&self.queue, PREFETCH)).await {
            Ok(Ok(deliveries)) => Ok(QueueConsumer { link, deliveries, queue: self.queue.clone() }),
            Ok(Err(error)) => Err(failure::consume_failure(&self.queue, Some(&error))),
            Err(_) => Err(failure::channel_timeout(PATIENCE)),
        }
    }
}

impl QueueConsumer {
    /// Waits for the next message. Dropping the future loses none.
    ///
    /// # Errors
    /// A [`Failure`]: the consumer has ended, and yields no further message.
    pub async fn next(&mut self) -> Result<QueuedAnswer, Failure> {
        match self.deliveries.next().await {
            Some(Ok(delivery)) => Ok(QueuedAnswer::of(delivery)),
            Some(Err(error)) => Err(failure::consume_failure(&self.queue, Some(&error))),
            None => Err(failure::consume_failure(&self.queue, None)),
        }
    }

    /// Closes the connection, after the acks that were sent on it. The broker keeps what was not
    /// acked.
    pub async fn close(self) {
        self.link.say_goodbye().await;
    }
}

impl QueuedAnswer {
    fn of(mut delivery: Delivery) -> Self {
        let headers = read_headers(&delivery.properties, delivery.routing_key.as_str());
        let body = std::mem::take(&mut delivery.data).into();
        Self { headers, body, delivery }
    }

    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Takes the message out of the queue. Where the connection has ended, the message comes again.
    pub async fn ack(&self) {
        let _ = self.delivery.ack(BasicAckOptions::default()).await;
    }

    /// Refuses the message: the broker drops it, or moves it to the queue's dead letters.
    pub async fn refuse(&self) {
        let _ = self.delivery.reject(BasicRejectOptions { requeue: false }).await;
    }
}

impl fmt::Debug for QueueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSource").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}
