//! Fetches deliveries beyond those that the broker pushes, in batches: each by a consumer of its
//! own, which is cancelled once it has got its batch.
//!
//! `basic.get` costs the broker two entries of the queue's log for each message. A consumer costs
//! two for a whole batch.
//!
//! A consumer that is cancelled while deliveries are under way to it loses them: the broker gives
//! them back to the queue, and counts them as delivered. Nothing is under way to a consumer of
//! which as many deliveries are unacked as its prefetch is. So the consumer is cancelled at such a
//! moment, before any of its acks is sent. Its deliveries stay with the channel and are acked
//! later. Until that moment the consumer is one like any other, and there is room for its whole
//! prefetch.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::batch_room::BatchRoom;
use super::delivery_handler::DeliveryHandler;
use super::delivery_window::{ChannelDeliveries, DeliveryWindow};

/// The longest time for the broker to end a consumer, or to answer earlier requests.
pub(super) const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches the deliveries of a channel in batches.
pub(super) struct BatchFetcher<'c> {
    pub(super) channel: &'c Channel,
    pub(super) queue: &'c ShortString,
    pub(super) window: &'c DeliveryWindow,
    pub(super) deliveries: &'c Arc<ChannelDeliveries>,
    pub(super) handler: &'c dyn DeliveryHandler,
    /// Cancelled where consuming is being stopped: the channel goes on, without its consumers.
    pub(super) stop: &'c CancellationToken,
    /// Cancelled when nothing more is to be fetched, for whatever reason.
    pub(super) over: &'c CancellationToken,
}

/// The reason why a batch got no further deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchEnd {
    Complete,
    Over,
    ConsumerLost,
}

impl BatchFetcher<'_> {
    /// Fetches batches until `over` is cancelled or a consumer is lost. The handler then has every
    /// delivery that has arrived.
    pub(super) async fn run(&self) -> lapin::Result<()> {
        let mut prefetch = 0;
        while let Some(Some(room)) =
            self.over.run_until_cancelled(self.window.wait_for_room(self.deliveries)).await
        {
            let opening = async {
                if prefetch != room.size {
                    self.channel.basic_qos(room.size, BasicQosOptions::default()).await?;
                    prefetch = room.size;
                }
                subscribe(self.channel, self.queue).await
            };
            let mut consumer = tokio::select! {
                opened = opening => opened?,
                () = self.wait_until_given_up() => break,
            };
            let end = self.fill(&mut consumer, &room).await;
            if matches!(end, Ok(BatchEnd::Over)) && self.stop.is_cancelled() {
                let options = BasicCancelOptions::default();
                let cancelling = self.channel.basic_cancel(consumer.tag(), options);
                let _ = timeout(CANCEL_TIMEOUT, cancelling).await;
            }
            while let Some(Some(next)) = consumer.next().now_or_never() {
                self.take(next, &room);
            }
            room.complete();
            if end? != BatchEnd::Complete {
                break;
            }
        }
        Ok(())
    }

    /// Waits until no answer is expected any more. While the channel goes on, a consumer that the
    /// broker begins has to be cancelled.
    async fn wait_until_given_up(&self) {
        self.over.cancelled().await;
        if self.stop.is_cancelled() {
            tokio::time::sleep(CANCEL_TIMEOUT).await;
        }
    }

    /// Takes deliveries until the batch is complete and its consumer cancelled.
    async fn fill(
        &self,
        consumer: &mut Consumer,
        room: &Arc<BatchRoom>,
    ) -> lapin::Result<BatchEnd> {
        let mut over = pin!(self.over.cancelled());
        loop {
            let next = tokio::select! {
                biased;
                () = &mut over => return Ok(BatchEnd::Over),
                next = consumer.next() => next,
            };
            let Some(next) = next else { return Ok(BatchEnd::ConsumerLost) };
            self.take(next, room);
            if !room.credit.is_used_up() {
                continue;
            }
            // A request without an answer is sent when the future is first polled.
            let options = BasicCancelOptions { nowait: true };
            let cancelling = self.channel.basic_cancel(consumer.tag(), options);
            let acks = self.deliveries.acks();
            let cancelled = tokio::select! {
                biased;
                () = &mut over => return Ok(BatchEnd::Over),
                cancelled = acks.run_if_used_up(&room.credit, cancelling) => cancelled,
            };
            if let Some(cancelled) = cancelled {
                return cancelled.map(|()| BatchEnd::Complete);
            }
        }
    }

    fn take(&self, next: lapin::Result<Delivery>, room: &Arc<BatchRoom>) {
        match next {
            Ok(delivery) => {
                let place = self.deliveries.fetched(room.place(delivery.data.len()));
                self.handler.take_delivery(place.hold(delivery), place);
            }
            Err(error) => debug!(%error, "a consumer failed"),
        }
    }
}

/// Begins a consumer with the prefetch that is set.
pub(super) async fn subscribe(channel: &Channel, queue: &ShortString) -> lapin::Result<Consumer> {
    let (tag, options) = (ShortString::from(""), BasicConsumeOptions::default());
    channel.basic_consume(queue.clone(), tag, options, FieldTable::default()).await
}
