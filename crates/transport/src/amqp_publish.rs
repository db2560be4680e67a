//! One message on its way to a provider's broker: from a free channel to the confirm.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::amqp_failure as failure;
use super::amqp_link::AmqpLink;
use super::amqp_message::AmqpMessage;
use ferryd_domain::message_call::MessageResult;

/// The time for which an abandoned message keeps its place among those in flight.
const SETTLE: Duration = Duration::from_secs(5);

/// The longest time for the broker to answer the closing of a channel.
const CLOSE: Duration = Duration::from_secs(5);

/// The longest time for which an abandoned message is kept on a connection that carries no further
/// ones, for the sake of others that are still on it.
const LONGEST_RETIRED: Duration = Duration::from_mins(1);

/// The longest time for which an abandoned message is kept while the broker blocks publishers: it is
/// sent once the broker no longer does.
const LONGEST_BLOCKED: Duration = Duration::from_mins(10);

/// A channel for one message, with the permit to use it.
pub(super) struct ChannelLease {
    link: Arc<AmqpLink>,
    channel: Channel,
    permit: OwnedSemaphorePermit,
}

type ConfirmFuture = BoxFuture<'static, lapin::Result<Confirmation>>;

/// A message that was handed to the client. Dropping abandons it, and closes its channel as soon as
/// the message is no longer on its way.
struct MessageInFlight(Option<(ChannelLease, ConfirmFuture)>);

impl ChannelLease {
    pub(super) fn new(link: Arc<AmqpLink>, channel: Channel, permit: OwnedSemaphorePermit) -> Self {
        Self { link, channel, permit }
    }

    /// Publishes the message of a call and waits for its confirm, until the deadline. `timeout` is
    /// the whole time of the call, for messages.
    pub(super) async fn publish(
        self,
        message: AmqpMessage,
        deadline: Instant,
        timeout: Duration,
    ) -> MessageResult {
        if let Err(failure) = message.check_header_frame(self.link.frame_max()) {
            self.give_back();
            return MessageResult::NotSent(failure);
        }
        if self.link.is_blocked() {
            self.give_back();
            return MessageResult::NotSent(failure::blocked());
        }
        let confirming = confirm(self.channel.clone(), message).boxed();
        let mut flight = MessageInFlight(Some((self, confirming)));
        match timeout_at(deadline, flight.confirmed()).await {
            Ok(Some((lease, confirmed))) => lease.finish(confirmed),
            Ok(None) => failure::without_confirms(),
            Err(_) => {
                flight.distrust_link();
                failure::unconfirmed(timeout)
            }
        }
    }

    fn finish(self, confirmed: lapin::Result<Confirmation>) -> MessageResult {
        match confirmed {
            Ok(Confirmation::Ack(None)) => {
                self.give_back();
                MessageResult::Acknowledged
            }
            Ok(Confirmation::Ack(Some(returned))) => {
                self.give_back();
                failure::unroutable(&returned)
            }
            Ok(Confirmation::Nack(_)) => {
                // RabbitMQ 3.10 continues to refuse on a channel on which it has refused, even
                // after the queue has room again.
                self.close();
                failure::nacked()
            }
            Ok(Confirmation::NotRequested) => {
                self.close();
                failure::without_confirms()
            }
            Err(error) => failure::publish_failure(&error, self.link.is_connected()),
        }
    }

    fn give_back(self) {
        self.link.give_back(self.channel);
    }

    fn close(self) {
        tokio::spawn(self.closed());
    }

    /// Closes the channel. A connection whose broker does not answer to that carries no further
    /// message.
    async fn closed(self) {
        let closing = self.channel.close(200, "done".into());
        if timeout(CLOSE, closing).await.is_err() && !self.link.is_blocked() {
            self.link.retire();
        }
    }

    /// Waits until an abandoned message is no longer on its way, then closes its channel. If closed
    /// earlier, the closing would overtake the message, and the broker would end the connection.
    async fn settle(self, mut confirming: ConfirmFuture) {
        if self.link.is_usable() && timeout(SETTLE, &mut confirming).await.is_ok() {
            return self.closed().await;
        }
        let Self { link, channel, permit } = self;
        let longest = if link.is_blocked() { LONGEST_BLOCKED } else { LONGEST_RETIRED };
        if !link.is_blocked() {
            link.retire();
        }
        drop(permit);
        let settled = timeout(longest, &mut confirming).await.is_ok();
        if !settled || timeout(CLOSE, channel.close(200, "done".into())).await.is_err() {
            link.retire();
        }
    }
}

impl MessageInFlight {
    /// Waits for the confirm.
    async fn confirmed(&mut self) -> Option<(ChannelLease, lapin::Result<Confirmation>)> {
        let (_, confirming) = self.0.as_mut()?;
        let confirmed = confirming.await;
        let (lease, _) = self.0.take()?;
        Some((lease, confirmed))
    }

    /// Lets no further message begin on a connection that may be dead; a broker that blocks
    /// publishers is not.
    fn distrust_link(&self) {
        if let Some((lease, _)) = self.0.as_ref().filter(|(lease, _)| !lease.link.is_blocked()) {
            lease.link.retire();
        }
    }
}

impl Drop for MessageInFlight {
    fn drop(&mut self) {
        let Some((lease, confirming)) = self.0.take() else { return };
        // Without a runtime the process ends, and the connection with it.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(lease.settle(confirming));
    }
}

async fn confirm(channel: Channel, message: AmqpMessage) -> lapin::Result<Confirmation> {
    let AmqpMessage { exchange, routing_key, properties, body, .. } = message;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
}
