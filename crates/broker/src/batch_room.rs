//! The room of a batch of deliveries: reserved for the largest messages before the batch comes,
//! then cut to what its deliveries have.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::delivery_acks::BatchCredit;

/// The part of a window that a batch takes.
#[derive(Debug)]
pub(super) struct BatchRoom {
    /// The number of unacked deliveries for which there is room.
    pub(super) size: u16,
    /// The deliveries of the batch whose acks are not sent.
    pub(super) credit: Arc<BatchCredit>,
    largest: usize,
    reserved: Mutex<ReservedRoom>,
}

#[derive(Debug)]
struct ReservedRoom {
    number: OwnedSemaphorePermit,
    bytes: OwnedSemaphorePermit,
    held: usize,
    held_bytes: usize,
    /// True once no further delivery comes.
    complete: bool,
}

/// The place of one delivery of a batch; given back when dropped.
#[derive(Debug)]
pub(super) struct BatchPlace {
    room: Arc<BatchRoom>,
    bytes: usize,
}

impl BatchRoom {
    pub(super) fn new(
        size: u16,
        largest: usize,
        number: OwnedSemaphorePermit,
        bytes: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let reserved = ReservedRoom { number, bytes, held: 0, held_bytes: 0, complete: false };
        let (credit, reserved) = (Arc::new(BatchCredit::new(size)), Mutex::new(reserved));
        Arc::new(Self { size, credit, largest, reserved })
    }

    fn lock(&self) -> MutexGuard<'_, ReservedRoom> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a delivery with so many bytes.
    pub(super) fn place(self: &Arc<Self>, bytes: usize) -> BatchPlace {
        let bytes = bytes.min(self.largest);
        let mut reserved = self.lock();
        reserved.held += 1;
        reserved.held_bytes += bytes;
        BatchPlace { room: Arc::clone(self), bytes }
    }

    /// Gives back what the deliveries of the batch do not use. No further delivery may come.
    pub(super) fn complete(&self) {
        let mut reserved = self.lock();
        reserved.complete = true;
        reserved.give_back_unused();
    }
}

impl ReservedRoom {
    fn give_back_unused(&mut self) {
        // A delivery whose ack is sent is held for another moment, in which the broker may have
        // delivered the next: `held` may exceed what is reserved.
        let number = self.number.num_permits().saturating_sub(self.held);
        let bytes = self.bytes.num_permits().saturating_sub(self.held_bytes);
        drop((self.number.split(number), self.bytes.split(bytes)));
    }
}

impl BatchPlace {
    pub(super) fn credit(&self) -> &Arc<BatchCredit> {
        &self.room.credit
    }
}

impl Drop for BatchPlace {
    fn drop(&mut self) {
        let mut reserved = self.room.lock();
        reserved.held -= 1;
        reserved.held_bytes -= self.bytes;
        if reserved.complete {
            reserved.give_back_unused();
        }
    }
}
