//! What this process has written and not yet read back: records that wait for their batch, and records whose batch is on
//! its way.
//!
//! Every record has its number from the moment it is queued, so that batches are runs of numbers. A record leaves when it is
//! read back. What was confirmed and is not there when a later record of ours is read was lost with the broker's memory, or
//! with a deleted stream; it is queued again, as a new record. What was confirmed and is not read back in time is written once
//! more under the number that it has, which is right whether it was lost or is only late: readers skip what they have seen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::Batch;
use crate::domain::ledger::record::{AnyRecord, Line, RecordId};
use crate::domain::ledger::ruling::Ruling;

/// The most bytes of a batch; a larger record goes alone. The stream's readers hold many batches at a time.
const MAX_BATCH: usize = 256 * 1024;
/// The most bytes that are written and not read back; who appends more waits.
const MAX_APPENDED: usize = 16 << 20;
/// The most bytes of notes that wait; beyond that, notes are dropped.
const MAX_NOTED: usize = 16 << 20;
/// How long a note may wait for a batch that is sent anyway.
const LAZILY: Duration = Duration::from_millis(100);

/// Whoever waits for a ruling.
pub(super) type Waiter = oneshot::Sender<(RecordId, Ruling)>;

/// The records of this process on their way.
pub(super) struct Outbox {
    /// This process, as a writer.
    pub writer: Uuid,
    state: Mutex<State>,
    budget: Arc<Semaphore>,
    work: Notify,
    read_back: watch::Sender<u64>,
}

struct State {
    /// The number of the next record to be queued.
    next: u64,
    queue: VecDeque<Queued>,
    held: VecDeque<Held>,
    /// The number up to which batches are confirmed.
    confirmed: u64,
    /// The number from which on what is confirmed is written once more.
    again: Option<u64>,
    /// The latest marker.
    marker: u64,
    /// Whether something in the queue is waited for.
    urgent: bool,
    /// Bytes of queued notes.
    noted: usize,
    dropped: u64,
}

struct Queued {
    line: Vec<u8>,
    held: Held,
}

/// A record that was not read back yet.
pub(super) struct Held {
    number: u64,
    /// `None` for a marker.
    pub record: Option<AnyRecord>,
    pub waiter: Option<Waiter>,
    /// Gives the record's bytes back to the budget.
    permit: Option<OwnedSemaphorePermit>,
    since: Instant,
    /// The time at which the broker confirmed it.
    confirmed: Option<Instant>,
}

/// What is known of the oldest record that was not read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Oldest {
    /// When it was queued.
    pub since: Instant,
    /// The time at which the broker confirmed it.
    pub confirmed: Option<Instant>,
}

impl Outbox {
    /// An empty one of a new writer.
    pub fn new(writer: Uuid) -> Self {
        let state = State {
            next: 1,
            queue: VecDeque::new(),
            held: VecDeque::new(),
            confirmed: 0,
            again: None,
            marker: 0,
            urgent: false,
            noted: 0,
            dropped: 0,
        };
        let budget = Arc::new(Semaphore::new(MAX_APPENDED));
        let (read_back, _) = watch::channel(0);
        Self { writer, state: Mutex::new(state), budget, work: Notify::new(), read_back }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for so many bytes.
    pub async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(MAX_APPENDED)).unwrap_or(u32::MAX);
        Arc::clone(&self.budget).acquire_many_owned(bytes).await.ok()
    }

    /// Queues a record that is waited for.
    pub fn append(&self, record: AnyRecord, line: Vec<u8>, waiter: Waiter, permit: Option<OwnedSemaphorePermit>) {
        let mut state = self.lock();
        state.push(line, Some(record), Some(waiter), permit);
        state.urgent = true;
        drop(state);
        self.work.notify_one();
    }

    /// Queues a record that goes with the next batch. Returns how many were dropped so far, where this one had to be.
    pub fn note(&self, record: AnyRecord) -> Result<(), u64> {
        let line = record.encode();
        let mut state = self.lock();
        if state.noted.saturating_add(line.len()) > MAX_NOTED {
            state.dropped += 1;
            return Err(state.dropped);
        }
        state.noted += line.len();
        let first = state.queue.is_empty();
        state.push(line, Some(record), None, None);
        drop(state);
        if first {
            self.work.notify_one();
        }
        Ok(())
    }

    /// A marker that is still to be sent; a new one where there is none. Returns its number.
    pub fn mark(&self, now: Timestamp) -> u64 {
        let mut state = self.lock();
        if state.queue.front().is_none_or(|front| state.marker < front.held.number) {
            state.marker = state.next;
            state.push(Line::marker(now), None, None, None);
        }
        let marker = state.marker;
        state.urgent = true;
        drop(state);
        self.work.notify_one();
        marker
    }

    /// Resolves when a record of ours with at least this number is read back.
    pub async fn read_back(&self, number: u64) {
        let mut read_back = self.read_back.subscribe();
        // The sender lives as long as this.
        let _ = read_back.wait_for(|read| *read >= number).await;
    }

    /// The next batch, as soon as there is one.
    pub async fn batch(&self) -> Batch {
        loop {
            let due = {
                let mut state = self.lock();
                if let Some(batch) = state.take_again() {
                    return batch;
                }
                let due = state.queue.front().map(|front| front.held.since + LAZILY);
                if due.is_some_and(|due| state.urgent || due <= Instant::now())
                    && let Some(batch) = state.take()
                {
                    return batch;
                }
                due
            };
            tokio::select! {
                () = self.work.notified() => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// What is queued now, whether urgent or not.
    pub fn rest(&self) -> Option<Batch> {
        self.lock().take()
    }

    /// Notes that batches up to this number are confirmed.
    pub fn confirm(&self, last: u64) {
        let mut state = self.lock();
        let (known, now) = (state.confirmed, Instant::now());
        let new = state.held.partition_point(|held| held.number <= known);
        for held in state.held.range_mut(new..).take_while(|held| held.number <= last) {
            held.confirmed = Some(now);
        }
        state.confirmed = known.max(last);
    }

    /// Has what is confirmed and was not read back written once more, under the numbers that it has.
    pub fn write_again(&self) {
        let mut state = self.lock();
        state.again = state.held.front().map(|front| front.number);
        drop(state);
        self.work.notify_one();
    }

    /// Returns whether a record was confirmed for longer than `patience` and is not read back.
    pub fn is_overdue(&self, patience: Duration) -> bool {
        self.oldest().and_then(|oldest| oldest.confirmed).is_some_and(|confirmed| confirmed.elapsed() > patience)
    }

    /// Takes out the record of this number, which was read back. `None` where it was read back before. Older ones that
    /// are still held are lost, and queued again; the second number says how many.
    pub fn take(&self, number: u64) -> (Option<Held>, usize) {
        let mut state = self.lock();
        let mut lost = 0;
        while state.held.front().is_some_and(|front| front.number < number) {
            lost += 1;
            state.requeue_front();
        }
        let held = state.held.pop_front_if(|front| front.number == number);
        drop(state);
        if lost > 0 {
            self.work.notify_one();
        }
        (held, lost)
    }

    /// Gives up the record of this number, which the broker refuses: it is never going to be read back, and whoever waits for it
    /// learns that nothing comes.
    pub fn give_up(&self, number: u64) {
        let mut state = self.lock();
        state.held.retain(|held| held.number != number);
    }

    /// Takes back what [`take`](Self::take) gave, to be read once more.
    pub fn hold_again(&self, held: Held) {
        self.lock().held.push_front(held);
    }

    /// Tells barriers how far our own records were read back.
    pub fn told(&self, number: u64) {
        self.read_back.send_if_modified(|read| std::mem::replace(read, number.max(*read)) < number);
    }

    /// The oldest record that was not read back.
    pub fn oldest(&self) -> Option<Oldest> {
        let state = self.lock();
        let oldest = state.held.front().or_else(|| state.queue.front().map(|queued| &queued.held));
        oldest.map(|held| Oldest { since: held.since, confirmed: held.confirmed })
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl State {
    fn push(
        &mut self,
        line: Vec<u8>,
        record: Option<AnyRecord>,
        waiter: Option<Waiter>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let held = Held { number: self.next, record, waiter, permit, since: Instant::now(), confirmed: None };
        self.next += 1;
        self.queue.push_back(Queued { line, held });
    }

    /// Cuts a batch off the queue.
    fn take(&mut self) -> Option<Batch> {
        let first = self.queue.front()?.held.number;
        let lines = self.queue.iter().map(|queued| queued.line.len() + 1).sum::<usize>();
        let mut body = Vec::with_capacity(lines.min(MAX_BATCH));
        while let Some(Queued { line, .. }) = self.queue.front() {
            if !body.is_empty() && body.len() + 1 + line.len() > MAX_BATCH {
                break;
            }
            let Some(Queued { line, held }) = self.queue.pop_front() else { break };
            if held.is_note() {
                self.noted = self.noted.saturating_sub(line.len());
            }
            if !body.is_empty() {
                body.push(b'\n');
            }
            body.extend_from_slice(&line);
            self.held.push_back(held);
        }
        self.urgent &= !self.queue.is_empty();
        let last = self.held.back().map_or(first, |held| held.number);
        Some(Batch { first, last, body })
    }

    /// Copies the next run of numbers that are written once more into a batch.
    fn take_again(&mut self) -> Option<Batch> {
        let from = self.again.take()?;
        let first = self.held.partition_point(|held| held.number < from);
        let confirmed = self.confirmed;
        let mut batch: Option<Batch> = None;
        for held in self.held.range(first..).take_while(|held| held.number <= confirmed) {
            let line = held.line();
            let Some(Batch { last, body, .. }) = &mut batch else {
                batch = Some(Batch { first: held.number, last: held.number, body: line });
                continue;
            };
            if held.number != *last + 1 || body.len() + 1 + line.len() > MAX_BATCH {
                break;
            }
            *last = held.number;
            body.push(b'\n');
            body.extend_from_slice(&line);
        }
        self.again = batch.as_ref().map(|batch| batch.last + 1);
        batch
    }

    /// Queues the oldest held record again, under a new number.
    fn requeue_front(&mut self) {
        let Some(Held { record, waiter, permit, since, .. }) = self.held.pop_front() else { return };
        // Whoever waits for a marker writes another.
        let Some(record) = record else { return };
        let line = record.encode();
        if waiter.is_none() {
            self.noted += line.len();
        }
        let held = Held { number: self.next, record: Some(record), waiter, permit, since, confirmed: None };
        self.next += 1;
        self.queue.push_back(Queued { line, held });
        self.urgent = true;
    }
}

impl Held {
    fn is_note(&self) -> bool {
        self.record.is_some() && self.waiter.is_none()
    }

    fn line(&self) -> Vec<u8> {
        self.record.as_ref().map_or_else(|| Line::marker(Timestamp::now()), AnyRecord::encode)
    }

    /// Gives whoever waits the ruling, and the record's bytes back to the budget.
    pub fn tell(self, id: RecordId, ruling: Ruling) {
        if let Some(waiter) = self.waiter {
            // Whoever waited may have given up.
            let _ = waiter.send((id, ruling));
        }
        drop(self.permit);
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
