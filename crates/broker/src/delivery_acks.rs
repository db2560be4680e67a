//! Acks in batches: one frame acks every delivery of a channel up to a tag.
//!
//! An ack of its own costs the broker as much as the delivery did: the queue replicates it. So the
//! acks of a channel gather for a moment. Those of the oldest deliveries leave as one `basic.ack`
//! with `multiple`; a delivery behind one that is still handled is acked by itself, so that a slow
//! call never uses up the prefetch.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::sync::Notify;
use tracing::debug;

/// The time for which acks gather.
const GATHER: Duration = Duration::from_millis(1);

/// A delivery with the right to ack it.
#[derive(Debug)]
pub struct HeldDelivery {
    delivery: Delivery,
    /// Acks the delivery, in the place of the client's own acker.
    pub acker: DeliveryAcker,
}

impl HeldDelivery {
    /// Joins a delivery of a channel and the acks of that channel.
    #[must_use]
    pub fn new(acks: &Arc<ChannelAcks>, delivery: Delivery) -> Self {
        Self::joined(acks, delivery, None)
    }

    /// Joins a delivery of a batch and the acks of its channel.
    pub(super) fn of_batch(
        acks: &Arc<ChannelAcks>,
        delivery: Delivery,
        credit: &Arc<BatchCredit>,
    ) -> Self {
        credit.unacked.fetch_add(1, Ordering::Relaxed);
        Self::joined(acks, delivery, Some(Arc::clone(credit)))
    }

    fn joined(
        acks: &Arc<ChannelAcks>,
        delivery: Delivery,
        credit: Option<Arc<BatchCredit>>,
    ) -> Self {
        let (tag, acker) = (delivery.delivery_tag, delivery.acker.clone());
        let acker = DeliveryAcker { due: DueAck { tag, acker, credit }, acks: Arc::clone(acks) };
        Self { delivery, acker }
    }
}

impl Deref for HeldDelivery {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

/// The right to ack one delivery, or to requeue it; the first use counts. Where none is used, the
/// broker keeps the delivery for its channel until the channel closes.
#[derive(Debug, Clone)]
pub struct DeliveryAcker {
    due: DueAck,
    acks: Arc<ChannelAcks>,
}

#[derive(Debug, Clone)]
struct DueAck {
    tag: u64,
    acker: Acker,
    /// The credit that the ack gives back to the consumer of a batch.
    credit: Option<Arc<BatchCredit>>,
}

/// The credit of the consumer of a batch: the broker has nothing under way to it once as many of
/// its deliveries are unacked as its prefetch is.
#[derive(Debug)]
pub(super) struct BatchCredit {
    prefetch: usize,
    /// The deliveries that have arrived and whose acks are not sent.
    unacked: AtomicUsize,
}

impl BatchCredit {
    pub(super) fn new(prefetch: u16) -> Self {
        Self { prefetch: prefetch.into(), unacked: AtomicUsize::new(0) }
    }

    /// Returns true if nothing is under way to the consumer, as long as no ack is sent.
    pub(super) fn is_used_up(&self) -> bool {
        self.unacked.load(Ordering::Relaxed) >= self.prefetch
    }
}

impl DueAck {
    /// Notes that the broker may deliver another in the place of this one. To be called while acks
    /// are sent.
    fn give_credit(&self) {
        if let Some(credit) = &self.credit {
            credit.unacked.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The acks of the deliveries of one channel.
#[derive(Debug, Default)]
pub struct ChannelAcks {
    state: Mutex<AckState>,
    /// Held while acks are sent. An ack that is sent after another has covered its tag would close
    /// the channel.
    sending: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct AckState {
    /// The deliveries that are acked or requeued, or are due to be acked.
    settled: TagRanges,
    due: Vec<DueAck>,
    /// Wakes those that wait for the acks that are due.
    sent: Arc<Notify>,
}

/// A set of delivery tags. A channel's tags count from 1, over pushed and fetched deliveries alike,
/// so the set is one range but for the deliveries that are still handled.
#[derive(Debug, Default, PartialEq)]
struct TagRanges(BTreeMap<u64, u64>);

impl TagRanges {
    /// Adds a tag; false if the set had it.
    fn insert(&mut self, tag: u64) -> bool {
        let mut range = (tag, tag);
        if let Some((&first, &last)) = self.0.range(..=tag).next_back() {
            if last >= tag {
                return false;
            }
            if last + 1 == tag {
                range.0 = first;
            }
        }
        if let Some(last) = self.0.remove(&(tag + 1)) {
            range.1 = last;
        }
        self.0.insert(range.0, range.1);
        true
    }

    /// Returns the tag up to which the set has every tag of the channel; 0 where the first is
    /// missing.
    fn complete_up_to(&self) -> u64 {
        self.0.get(&1).copied().unwrap_or_default()
    }
}

impl ChannelAcks {
    fn lock(&self) -> MutexGuard<'_, AckState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `cancelling` if the credit is used up, and before any further ack is sent.
    pub(super) async fn run_if_used_up<T>(
        &self,
        credit: &BatchCredit,
        cancelling: impl Future<Output = T>,
    ) -> Option<T> {
        let _sending = self.sending.lock().await;
        if credit.is_used_up() { Some(cancelling.await) } else { None }
    }

    /// Sends the acks that are due after they have gathered.
    async fn send_gathered(self: Arc<Self>) {
        tokio::time::sleep(GATHER).await;
        let _sending = self.sending.lock().await;
        let (due, complete, sent) = {
            let mut state = self.lock();
            let due = std::mem::take(&mut state.due);
            (due, state.settled.complete_up_to(), std::mem::take(&mut state.sent))
        };
        due.iter().for_each(DueAck::give_credit);
        let acks = plan_acks(due, complete);
        join_all(acks.iter().map(|(acker, multiple)| send_ack(acker, *multiple))).await;
        sent.notify_waiters();
    }
}

/// Plans the acks of deliveries: one for all with a tag up to `complete`, and one for each other.
/// The second value says whether an ack is for several.
fn plan_acks(mut due: Vec<DueAck>, complete: u64) -> Vec<(Acker, bool)> {
    due.sort_unstable_by_key(|due| due.tag);
    let covered = due.partition_point(|due| due.tag <= complete);
    let multiple = covered > 1;
    due.into_iter()
        .skip(covered.saturating_sub(1))
        .enumerate()
        .map(|(nr, due)| (due.acker, nr == 0 && multiple))
        .collect()
}

async fn send_ack(acker: &Acker, multiple: bool) {
    match acker.ack(BasicAckOptions { multiple }).await {
        Ok(true) => {}
        Ok(false) => {
            debug!("a delivery was taken back before its ack; its copy will be recognised");
        }
        Err(error) => debug!(%error, "failed to ack a delivery; its copy will be recognised"),
    }
}

impl DeliveryAcker {
    /// Acks the delivery, and returns once the ack is sent. A failed ack is no error: the delivery
    /// comes back and is recognised.
    pub async fn ack(self) {
        let Self { due, acks } = self;
        let (sent, is_first) = {
            let mut state = acks.lock();
            if !state.settled.insert(due.tag) {
                // A second use of the client's acker would send nothing, neither for this delivery
                // nor for those before it.
                return;
            }
            state.due.push(due);
            (Arc::clone(&state.sent).notified_owned(), state.due.len() == 1)
        };
        if is_first {
            tokio::spawn(acks.send_gathered());
        }
        sent.await;
    }

    /// Gives the delivery back to its queue, unchanged.
    pub async fn requeue(self) {
        let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        // No ack of several may cover the delivery before it is given back.
        let _sending = self.acks.sending.lock().await;
        if !self.acks.lock().settled.insert(self.due.tag) {
            return;
        }
        self.due.give_credit();
        if let Err(error) = self.due.acker.nack(again).await {
            debug!(%error, "failed to give a delivery back; the broker takes it back with the connection");
        }
    }
}

#[cfg(test)]
#[path = "delivery_acks_tests.rs"]
mod tests;
