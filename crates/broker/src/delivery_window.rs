//! The window of a queue: the deliveries that are held in memory before they are acked, bounded in
//! number and in bytes.
//!
//! RabbitMQ has no prefetch in bytes, a consumer's prefetch can't be changed, and a consumer that
//! is cancelled loses the deliveries that are under way to it. So the broker pushes as many
//! deliveries as are within the bound even where each has the largest size. Further deliveries are
//! fetched, each once there is room for another of that size. The space that small messages leave
//! free is used, and the bound holds for any sizes in any order.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::BasicGetOptions;
use lapin::types::ShortString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::delivery_acks::{ChannelAcks, HeldDelivery};

/// The pause before an empty queue is fetched from again. Until then the broker pushes what there
/// is a place for.
const EMPTY_PAUSE: Duration = Duration::from_millis(200);

/// The bounds of the deliveries of a queue that are held.
#[derive(Debug, Clone)]
pub struct DeliveryWindow {
    /// The consumer's prefetch.
    pub pushed: u16,
    fetched: Arc<Semaphore>,
    fetched_bytes: Arc<Semaphore>,
    largest: u32,
}

/// The held deliveries of one channel.
#[derive(Debug, Default)]
pub struct ChannelDeliveries {
    held: watch::Sender<HeldCount>,
    acks: Arc<ChannelAcks>,
}

#[derive(Debug, Clone, Copy, Default)]
struct HeldCount {
    pushed: usize,
    fetched: usize,
}

/// A place in the window, for as long as the delivery is in memory and not acked; given back when
/// dropped.
#[derive(Debug)]
pub struct DeliveryPermit {
    channel: Arc<ChannelDeliveries>,
    fetched: Option<FetchPermit>,
}

#[derive(Debug)]
struct FetchPermit {
    _number: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl DeliveryWindow {
    /// Creates a window that bounds the number alone.
    #[must_use]
    pub fn of_number(number: u16) -> Self {
        Self::new(number, number, 0, 1)
    }

    /// Creates a window that bounds the number, and the bytes while no message is longer than
    /// `largest`. At most `pushed` bytes are held of deliveries that the broker pushes, and
    /// `fetched` of those that are fetched beyond that.
    #[must_use]
    pub fn of_bytes(number: u16, largest: usize, pushed: usize, fetched: usize) -> Self {
        let least = u16::try_from(pushed / largest.max(1)).unwrap_or(u16::MAX).max(1);
        Self::new(number, number.min(least), fetched, largest)
    }

    fn new(number: u16, pushed: u16, bytes: usize, largest: usize) -> Self {
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        let further = if bytes < largest as usize { 0 } else { usize::from(number - pushed) };
        let (fetched, fetched_bytes) =
            (Arc::new(Semaphore::new(further)), Arc::new(Semaphore::new(bytes)));
        Self { pushed, fetched, fetched_bytes, largest }
    }

    /// Fetches one delivery beyond those that are pushed, once these are all held and there is
    /// room. `None` where `stop` was cancelled before the request, or the queue was empty. Not to
    /// be dropped before it ends, unless the channel is.
    pub(super) async fn fetch(
        &self,
        channel: &Channel,
        queue: &ShortString,
        held: &Arc<ChannelDeliveries>,
        stop: &CancellationToken,
    ) -> lapin::Result<Option<(Delivery, DeliveryPermit)>> {
        let Some((number, bytes)) =
            stop.run_until_cancelled(self.wait_for_place(held)).await.flatten()
        else {
            return Ok(None);
        };
        let Some(got) = channel.basic_get(queue.clone(), BasicGetOptions::default()).await? else {
            stop.run_until_cancelled(tokio::time::sleep(EMPTY_PAUSE)).await;
            return Ok(None);
        };
        let place = held.place(Some(self.fetched_place(number, bytes, got.delivery.data.len())));
        Ok(Some((got.delivery, place)))
    }

    /// Waits for a place, and for room for the largest message.
    async fn wait_for_place(
        &self,
        held: &ChannelDeliveries,
    ) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let number = Arc::clone(&self.fetched).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.fetched_bytes).acquire_many_owned(self.largest).await.ok()?;
        let pushed = usize::from(self.pushed);
        // The sender lives as long as `held`.
        let _ = held.held.subscribe().wait_for(|held| held.pushed >= pushed).await;
        Some((number, bytes))
    }

    fn fetched_place(
        &self,
        number: OwnedSemaphorePermit,
        mut bytes: OwnedSemaphorePermit,
        size: usize,
    ) -> FetchPermit {
        // Bytes that the delivery does not use are free for the next.
        drop(bytes.split((self.largest as usize).saturating_sub(size)));
        FetchPermit { _number: number, _bytes: bytes }
    }
}

impl ChannelDeliveries {
    /// Returns the place of a delivery that was pushed.
    pub(super) fn pushed(self: &Arc<Self>) -> DeliveryPermit {
        self.place(None)
    }

    fn place(self: &Arc<Self>, fetched: Option<FetchPermit>) -> DeliveryPermit {
        let place = DeliveryPermit { channel: Arc::clone(self), fetched };
        self.held.send_modify(|held| *place.count(held) += 1);
        place
    }

    /// Resolves once no delivery is held.
    pub async fn wait_until_released(&self) {
        let _ = self.held.subscribe().wait_for(|held| held.pushed + held.fetched == 0).await;
    }
}

impl DeliveryPermit {
    /// Joins the delivery that has this place and the right to ack it.
    #[must_use]
    pub fn hold(&self, delivery: Delivery) -> HeldDelivery {
        HeldDelivery::new(&self.channel.acks, delivery)
    }

    fn count<'c>(&self, held: &'c mut HeldCount) -> &'c mut usize {
        if self.fetched.is_some() { &mut held.fetched } else { &mut held.pushed }
    }
}

impl Drop for DeliveryPermit {
    fn drop(&mut self) {
        self.channel.held.send_modify(|held| *self.count(held) -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_pushed_is_within_the_bound_even_where_each_is_the_largest() {
        for (number, pushed_bytes, fetched_bytes, pushed, fetched) in [
            (128, 128 * MIB, 32 * MIB, 128, 0),
            (4096, 128 * MIB, 32 * MIB, 128, 3968),
            (264, 65 * MIB, 32 * MIB, 65, 199),
            (4, 128 * MIB, 32 * MIB, 4, 0),
            (40, MIB / 2, MIB / 2, 1, 0),
        ] {
            let window = DeliveryWindow::of_bytes(number, MIB, pushed_bytes, fetched_bytes);
            assert_eq!(
                (window.pushed, window.fetched.available_permits()),
                (pushed, fetched),
                "{number}"
            );
        }
        assert_eq!(DeliveryWindow::of_number(16).fetched.available_permits(), 0);
    }

    #[tokio::test]
    async fn what_is_fetched_takes_what_it_has_and_waits_for_the_pushed_ones_and_for_room() {
        let window = DeliveryWindow::of_bytes(100, 10, 20, 25);
        let held = Arc::<ChannelDeliveries>::default();
        let room = async || {
            tokio::time::timeout(Duration::from_millis(20), window.wait_for_place(&held))
                .await
                .ok()
                .flatten()
        };
        let mut pushed = vec![held.pushed()];
        assert!(room().await.is_none(), "one more is going to be pushed");
        pushed.push(held.pushed());
        let mut fetched = Vec::new();
        // The largest delivery has to fit into 25 bytes.
        for (size, free) in [(1, 24), (10, 14), (3, 11), (1, 10), (4, 6)] {
            let (number, bytes) = room().await.unwrap();
            fetched.push(held.place(Some(window.fetched_place(number, bytes, size))));
            assert_eq!(window.fetched_bytes.available_permits(), free);
        }
        assert!(room().await.is_none());
        fetched.remove(1);
        assert!(room().await.is_some());
        assert!(
            tokio::time::timeout(Duration::from_millis(20), held.wait_until_released())
                .await
                .is_err()
        );
        drop((pushed, fetched));
        held.wait_until_released().await;
        assert_eq!(
            (window.fetched_bytes.available_permits(), window.fetched.available_permits()),
            (25, 98)
        );
    }
}
