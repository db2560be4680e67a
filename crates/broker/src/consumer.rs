//! Consumes a queue for as long as ferryd runs.
//!
//! A consumer ends for many reasons: a lost connection, a closed channel, a deleted queue, the
//! broker's consumer timeout. In each case the queue is declared again where it is gone, and
//! consumed again on a new channel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::Consumer;
use lapin::options::{BasicCancelOptions, BasicQosOptions};
use lapin::types::ShortString;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::batch_fetch::{BatchFetcher, CANCEL_TIMEOUT, subscribe};
use super::broker::{BrokerHandle, BrokerSession};
use super::delivery_handler::DeliveryHandler;
use super::delivery_window::{ChannelDeliveries, DeliveryWindow};
use super::error::BrokerError;
use super::owned_channel::OwnedChannel;

/// The pause before a queue is declared and consumed again on a session that is still up. RabbitMQ
/// 3.10 confuses a deleted queue with one that is declared at once under its name: its old consumer
/// is then counted, but gets nothing.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest time for the broker to begin a consumer: a queue without a leader never answers.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(15);
/// The channel of a consumer that was stopped. When the channel is closed, the broker takes back
/// unacknowledged deliveries, and those that were under way when the consumer ended, which the
/// client drops.
pub struct StoppedConsumer {
    _channel: OwnedChannel,
    deliveries: Arc<ChannelDeliveries>,
}

impl StoppedConsumer {
    /// Keeps the channel until its deliveries are acked, then closes it.
    pub async fn close(self) {
        self.deliveries.wait_until_released().await;
    }
}

/// A consumer on its channel.
struct AttachedConsumer {
    channel: OwnedChannel,
    consumer: Consumer,
    deliveries: Arc<ChannelDeliveries>,
}

/// Consumes `queue` within a window until `stop` is cancelled, handing every delivery to `handler`.
///
/// Returns the channel of the deliveries that are still being handled: it has to be kept until they
/// are acked, because the broker takes them back when the channel is closed.
pub async fn consume(
    broker: BrokerHandle,
    queue: ShortString,
    window: DeliveryWindow,
    handler: Arc<dyn DeliveryHandler>,
    stop: CancellationToken,
) -> Option<StoppedConsumer> {
    loop {
        let session = tokio::select! {
            session = broker.session() => session?,
            () = stop.cancelled() => return None,
        };
        let attaching = timeout(ATTACH_TIMEOUT, AttachedConsumer::begin(&session, &queue, &window));
        let late = |_| {
            Err(BrokerError::Timeout { action: format!("consume {queue}"), after: ATTACH_TIMEOUT })
        };
        let attached = tokio::select! {
            attached = attaching => attached.unwrap_or_else(late),
            () = session.ended() => continue,
        };
        match attached {
            Ok(mut attached) => {
                handler.queue_attached();
                match attached.feed(&queue, &window, handler.as_ref(), &stop).await {
                    ConsumerEnd::Stopped => {
                        let AttachedConsumer { channel, deliveries, .. } = attached;
                        return Some(StoppedConsumer { _channel: channel, deliveries });
                    }
                    ConsumerEnd::SessionOver => continue,
                    ConsumerEnd::ConsumerLost => {
                        warn!(%queue, "the consumer is gone; consuming again");
                    }
                }
            }
            Err(error) => warn!(%queue, %error, "failed to consume; trying again"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return None,
        }
        let declared = tokio::select! {
            declared = broker.declare_again(&session) => declared,
            () = session.ended() => continue,
            () = stop.cancelled() => return None,
        };
        if let Err(error) = declared {
            debug!(%queue, %error, "failed to declare the topology again");
        }
    }
}

/// The reason why feeding deliveries to the handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConsumerEnd {
    Stopped,
    SessionOver,
    ConsumerLost,
}

impl AttachedConsumer {
    async fn begin(
        session: &Arc<BrokerSession>,
        queue: &ShortString,
        window: &DeliveryWindow,
    ) -> Result<Self, BrokerError> {
        let channel = OwnedChannel::open(session).await?;
        let consuming = async {
            channel.channel().basic_qos(window.pushed, BasicQosOptions::default()).await?;
            subscribe(channel.channel(), queue).await
        };
        let consumer =
            consuming.await.map_err(BrokerError::while_doing(format!("consume {queue}")))?;
        let deliveries = Arc::new(ChannelDeliveries::new(window));
        Ok(Self { channel, consumer, deliveries })
    }

    async fn feed(
        &mut self,
        queue: &ShortString,
        window: &DeliveryWindow,
        handler: &dyn DeliveryHandler,
        stop: &CancellationToken,
    ) -> ConsumerEnd {
        let Self { channel: owned, consumer, deliveries } = self;
        let (session, channel, over) = (owned.session(), owned.channel(), &stop.child_token());
        let take_pushed = |delivery| {
            let place = deliveries.pushed();
            handler.take_delivery(place.hold(delivery), place);
        };
        let batches = BatchFetcher { channel, queue, window, deliveries, handler, stop, over };
        let (mut fetching, mut fetched) = (pin!(batches.run()), None);
        // Made once, and not for each delivery.
        let (mut stopped, mut ended) = (pin!(stop.cancelled()), pin!(session.ended()));
        let end = loop {
            let next = tokio::select! {
                biased;
                () = &mut stopped => break ConsumerEnd::Stopped,
                () = &mut ended => break ConsumerEnd::SessionOver,
                next = consumer.next() => next,
                end = &mut fetching => {
                    fetched = Some(end);
                    break ConsumerEnd::ConsumerLost;
                }
            };
            match next {
                Some(Ok(delivery)) => take_pushed(delivery),
                Some(Err(error)) => debug!(%error, "a consumer failed"),
                None => break ConsumerEnd::ConsumerLost,
            }
        };
        over.cancel();
        let fetched = match fetched {
            Some(fetched) => fetched,
            None => fetching.await,
        };
        if let Err(error) = fetched {
            debug!(%error, "failed to fetch from a queue");
        }
        if end == ConsumerEnd::Stopped {
            let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            let _ = timeout(CANCEL_TIMEOUT, cancelled).await;
        }
        // Deliveries that the broker had already pushed are still in the buffer. Stopping gives
        // them back, on the channel that stays open. After a lost session they arrive again, marked
        // as delivered before: a consumer that has not taken them then does not know that they were
        // never begun.
        while let Some(Some(next)) = consumer.next().now_or_never() {
            if let Ok(delivery) = next {
                take_pushed(delivery);
            }
        }
        end
    }
}
