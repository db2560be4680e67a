//! The window of a queue: the deliveries that are held in memory before they are acked, bounded in
//! number and in bytes.
//!
//! RabbitMQ has no prefetch in bytes, a consumer's prefetch can't be changed, and a consumer that
//! is cancelled loses the deliveries that are under way to it. So the broker pushes as many
//! deliveries as are within the bound even where each has the largest size. Further deliveries are
//! fetched in batches, each once there is room for all of a batch at that size. The space that small
//! messages leave free is used, and the bound holds for any sizes in any order.

use std::sync::Arc;
use std::time::Duration;

use lapin::message::Delivery;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::batch_room::{BatchPlace, BatchRoom};
use super::delivery_acks::{ChannelAcks, HeldDelivery};

/// The most deliveries of a batch. A batch costs the broker about as much as two deliveries that
/// are fetched one by one.
const LARGEST_BATCH: u16 = 32;
/// The longest wait for the room of half of the largest batch before a smaller one is fetched. It
/// bounds the number of small batches.
const ROOM_WAIT: Duration = Duration::from_millis(20);

/// The bounds of the deliveries of a queue that are held.
#[derive(Debug, Clone)]
pub struct DeliveryWindow {
    /// The consumer's prefetch.
    pub pushed: u16,
    fetched: Arc<Semaphore>,
    fetched_bytes: Arc<Semaphore>,
    largest: u32,
    /// The most deliveries of a batch.
    batch: u16,
}

/// The held deliveries of one channel.
#[derive(Debug)]
pub struct ChannelDeliveries {
    held: watch::Sender<HeldCount>,
    acks: Arc<ChannelAcks>,
    /// Nearly the number that the broker pushes. Some are always under way while others are acked.
    nearly_pushed: usize,
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
    fetched: Option<BatchPlace>,
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
        let largest = u32::try_from(largest.max(1)).unwrap_or(u32::MAX);
        let further = if bytes < largest as usize { 0 } else { number - pushed };
        let batch = u16::try_from(bytes / largest as usize).unwrap_or(u16::MAX);
        let batch = batch.min(further).clamp(1, LARGEST_BATCH);
        let (fetched, fetched_bytes) =
            (Arc::new(Semaphore::new(further.into())), Arc::new(Semaphore::new(bytes)));
        Self { pushed, fetched, fetched_bytes, largest, batch }
    }

    /// Waits until nearly all deliveries that the broker pushes are held, and there is room for
    /// half of the largest batch, or after a while for one delivery. Takes the room of the largest
    /// batch as far as there is any.
    pub(super) async fn wait_for_room(&self, held: &ChannelDeliveries) -> Option<Arc<BatchRoom>> {
        held.wait_until_nearly_pushed().await;
        let half = self.batch.div_ceil(2);
        let (mut size, (mut number, mut bytes)) = match timeout(ROOM_WAIT, self.reserve(half)).await
        {
            Ok(reserved) => (half, reserved?),
            Err(_) => (1, self.reserve(1).await?),
        };
        while size < self.batch
            && let Ok(one) = Arc::clone(&self.fetched).try_acquire_owned()
            && let Ok(largest) =
                Arc::clone(&self.fetched_bytes).try_acquire_many_owned(self.largest)
        {
            number.merge(one);
            bytes.merge(largest);
            size += 1;
        }
        held.wait_until_nearly_pushed().await;
        Some(BatchRoom::new(size, self.largest as usize, number, bytes))
    }

    async fn reserve(&self, size: u16) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let number = Arc::clone(&self.fetched).acquire_many_owned(size.into()).await.ok()?;
        let bytes = self.largest.saturating_mul(size.into());
        let bytes = Arc::clone(&self.fetched_bytes).acquire_many_owned(bytes).await.ok()?;
        Some((number, bytes))
    }
}

impl ChannelDeliveries {
    /// Creates the deliveries of a channel, none of which is held.
    pub(super) fn new(window: &DeliveryWindow) -> Self {
        let nearly_pushed = usize::from(window.pushed - window.pushed / 8);
        Self { held: watch::Sender::default(), acks: Arc::default(), nearly_pushed }
    }

    /// Returns the place of a delivery that was pushed.
    pub(super) fn pushed(self: &Arc<Self>) -> DeliveryPermit {
        self.place(None)
    }

    /// Returns the place of a delivery that was fetched.
    pub(super) fn fetched(self: &Arc<Self>, place: BatchPlace) -> DeliveryPermit {
        self.place(Some(place))
    }

    fn place(self: &Arc<Self>, fetched: Option<BatchPlace>) -> DeliveryPermit {
        let place = DeliveryPermit { channel: Arc::clone(self), fetched };
        self.held.send_if_modified(|held| {
            *place.count(held) += 1;
            held.pushed == self.nearly_pushed
        });
        place
    }

    /// Returns the acks of the channel.
    pub(super) fn acks(&self) -> &ChannelAcks {
        &self.acks
    }

    // Those who wait are woken only where what they wait for may have come true. The sender lives
    // as long as `self`.

    /// Resolves once nearly all deliveries that the broker pushes are held.
    async fn wait_until_nearly_pushed(&self) {
        let nearly_pushed = self.nearly_pushed;
        let _ = self.held.subscribe().wait_for(|held| held.pushed >= nearly_pushed).await;
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
        match &self.fetched {
            None => HeldDelivery::new(&self.channel.acks, delivery),
            Some(place) => HeldDelivery::of_batch(&self.channel.acks, delivery, place.credit()),
        }
    }

    fn count<'c>(&self, held: &'c mut HeldCount) -> &'c mut usize {
        if self.fetched.is_some() { &mut held.fetched } else { &mut held.pushed }
    }
}

impl Drop for DeliveryPermit {
    fn drop(&mut self) {
        self.channel.held.send_if_modified(|held| {
            *self.count(held) -= 1;
            held.pushed + held.fetched == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

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

    #[test]
    fn the_largest_batch_is_within_the_number_and_the_bytes() {
        for (number, bytes, batch) in [
            (4096, 32 * MIB, 32),
            (4096, 31 * MIB, 31),
            (4096, 512 * MIB, LARGEST_BATCH),
            (12, 32 * MIB, 2),
            (4096, MIB, 1),
            (10, 0, 1),
        ] {
            let window = DeliveryWindow::of_bytes(number, MIB, 10 * MIB, bytes);
            assert_eq!(window.batch, batch, "{number} {bytes}");
        }
    }

    /// Waits for room, but not for long.
    async fn room(window: &DeliveryWindow, held: &ChannelDeliveries) -> Option<Arc<BatchRoom>> {
        timeout(3 * ROOM_WAIT, window.wait_for_room(held)).await.ok().flatten()
    }

    fn free(window: &DeliveryWindow) -> (usize, usize) {
        (window.fetched.available_permits(), window.fetched_bytes.available_permits())
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_the_pushed_ones_and_takes_what_it_has_once_it_is_complete() {
        let window = DeliveryWindow::of_bytes(100, 10, 20, 60);
        let held = Arc::new(ChannelDeliveries::new(&window));
        let mut pushed = vec![held.pushed()];
        assert!(room(&window, &held).await.is_none(), "one more is going to be pushed");
        pushed.push(held.pushed());
        assert_eq!(free(&window), (98, 60));
        let batch = room(&window, &held).await.unwrap();
        assert_eq!((batch.size, free(&window)), (6, (92, 0)));
        let acked = held.fetched(batch.place(9));
        let mut fetched = vec![held.fetched(batch.place(1)), held.fetched(batch.place(12))];
        drop(acked);
        assert_eq!(free(&window), (92, 0), "another may come in its place");
        fetched.push(held.fetched(batch.place(3)));
        batch.complete();
        assert_eq!(free(&window), (95, 46));
        drop(fetched.remove(1));
        assert_eq!(free(&window), (96, 56));
        drop((batch, fetched));
        assert_eq!(free(&window), (98, 60));
        assert!(timeout(ROOM_WAIT, held.wait_until_released()).await.is_err());
        drop(pushed);
        held.wait_until_released().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_for_the_room_of_half_of_the_largest_and_then_takes_what_there_is() {
        let window = DeliveryWindow::of_bytes(10, 10, 10, 60);
        let held = Arc::new(ChannelDeliveries::new(&window));
        let _pushed = held.pushed();
        let mut batches = Vec::new();
        for (size, of_largest, waited) in [(6, 2, false), (2, 0, true), (1, 1, true), (0, 0, true)]
        {
            let begin = Instant::now();
            let batch = room(&window, &held).await;
            assert_eq!(batch.as_ref().map_or(0, |batch| batch.size), size);
            assert_eq!(begin.elapsed() >= ROOM_WAIT, waited);
            batches.extend(batch.map(|batch| {
                let place = |nr| held.fetched(batch.place(if nr < of_largest { 10 } else { 3 }));
                let places: Vec<_> = (0..size).map(place).collect();
                batch.complete();
                places
            }));
        }
        assert_eq!(free(&window), (0, 12));
        batches.truncate(1);
        assert_eq!(free(&window), (3, 28));
        drop(batches[0].remove(0));
        let begin = Instant::now();
        assert_eq!(room(&window, &held).await.map(|batch| batch.size), Some(3));
        assert!(begin.elapsed() < ROOM_WAIT, "there is room for half of the largest batch");
        batches.clear();
        assert_eq!(free(&window), (9, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_whose_channel_is_lost_keeps_room_for_what_is_held_of_it() {
        let window = DeliveryWindow::of_bytes(100, 10, 10, 60);
        let held = Arc::new(ChannelDeliveries::new(&window));
        let _pushed = held.pushed();
        let batch = room(&window, &held).await.unwrap();
        // One is acked, but still in memory when others have come in its place.
        let places: Vec<_> = (0..7).map(|_| held.fetched(batch.place(9))).collect();
        batch.complete();
        drop(batch);
        assert_eq!(free(&window), (93, 0));
        drop(places);
        assert_eq!(free(&window), (99, 60));
    }
}
