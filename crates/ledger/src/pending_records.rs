//! Records that this process has queued or written and not yet read back: some wait for their
//! batch, others' batch is on its way.
//!
//! Every record has its number from the moment it is queued, so that batches are runs of numbers. A
//! record stops being pending when it is read back. A confirmed record that is absent when a later
//! record of this process is read was lost with the broker's memory, or with a deleted stream; it
//! is queued again, as a new record. A confirmed record that is not read back in time is written
//! once more under the number that it has. That is right whether the record was lost or is only
//! late: readers skip repeats.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::batch::RecordBatch;
use super::unread_record::{RulingWaiter, UnreadRecord};
use ferryd_domain::ledger::record::{AnyRecord, LedgerLine};

/// The maximum size of a batch in bytes; a larger record goes alone. The stream's readers hold many
/// batches at a time.
const MAX_BATCH: usize = 256 * 1024;
/// The maximum size of the records that are not read back, in bytes; further appenders wait.
const MAX_APPENDED: usize = 16 << 20;
/// The maximum size of the notes that wait, in bytes; further notes are dropped.
const MAX_NOTED: usize = 16 << 20;
/// The longest time for which a note waits for a batch that is sent anyway.
const LAZILY: Duration = Duration::from_millis(100);

/// The records of this process that are not read back yet.
pub(super) struct PendingRecords {
    /// The id of this process as a writer.
    pub writer: Uuid,
    state: Mutex<PendingState>,
    budget: Arc<Semaphore>,
    work: Notify,
    read_back: watch::Sender<u64>,
}

struct PendingState {
    /// The number of the next record to be queued.
    next: u64,
    queue: VecDeque<QueuedRecord>,
    held: VecDeque<UnreadRecord>,
    /// The number up to which batches are confirmed.
    confirmed: u64,
    /// The number from which on confirmed records are written once more.
    again: Option<u64>,
    /// The number of the latest marker.
    marker: u64,
    /// True if an appender waits for a record in the queue.
    urgent: bool,
    /// The size of the queued notes, in bytes.
    noted: usize,
    dropped: u64,
}

struct QueuedRecord {
    line: Vec<u8>,
    held: UnreadRecord,
}

/// The oldest record that was not read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OldestRecord {
    /// The time at which the record was queued.
    pub since: Instant,
    /// The time at which the broker confirmed the record.
    pub confirmed: Option<Instant>,
}

impl PendingRecords {
    /// Creates the pending records of a new writer; there are none yet.
    pub fn new(writer: Uuid) -> Self {
        let state = PendingState {
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

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this many bytes fit into the budget.
    pub async fn wait_for_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes.min(MAX_APPENDED)).unwrap_or(u32::MAX);
        Arc::clone(&self.budget).acquire_many_owned(bytes).await.ok()
    }

    /// Queues a record whose appender waits for the ruling.
    pub fn append(
        &self,
        record: AnyRecord,
        line: Vec<u8>,
        waiter: RulingWaiter,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let mut state = self.lock();
        state.push(line, Some(record), Some(waiter), permit);
        state.urgent = true;
        drop(state);
        self.work.notify_one();
    }

    /// Queues a record that goes with the next batch. Where the record has to be dropped, returns
    /// the number of records dropped so far.
    pub fn queue_unawaited(&self, record: AnyRecord) -> Result<(), u64> {
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

    /// Returns the number of a marker that is still to be sent; queues a new one where there is
    /// none.
    pub fn pending_marker(&self, now: Timestamp) -> u64 {
        let mut state = self.lock();
        if state.queue.front().is_none_or(|front| state.marker < front.held.number) {
            state.marker = state.next;
            state.push(LedgerLine::marker_line(now), None, None, None);
        }
        let marker = state.marker;
        state.urgent = true;
        drop(state);
        self.work.notify_one();
        marker
    }

    /// Resolves when a record of this process with at least this number is read back.
    pub async fn read_back(&self, number: u64) {
        let mut read_back = self.read_back.subscribe();
        // The sender lives as long as `self`.
        let _ = read_back.wait_for(|read| *read >= number).await;
    }

    /// Waits for the next batch.
    pub async fn next_batch(&self) -> RecordBatch {
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

    /// Takes a batch of the queued records, urgent or not.
    pub fn queued_rest(&self) -> Option<RecordBatch> {
        self.lock().take()
    }

    /// Records that batches up to this number are confirmed.
    pub fn confirm(&self, last: u64) {
        let mut state = self.lock();
        let (known, now) = (state.confirmed, Instant::now());
        let new = state.held.partition_point(|held| held.number <= known);
        for held in state.held.range_mut(new..).take_while(|held| held.number <= last) {
            held.confirmed = Some(now);
        }
        state.confirmed = known.max(last);
    }

    /// Schedules the confirmed records that were not read back to be written once more, under their
    /// numbers.
    pub fn write_again(&self) {
        let mut state = self.lock();
        state.again = state.held.front().map(|front| front.number);
        drop(state);
        self.work.notify_one();
    }

    /// Returns true if a record was confirmed for longer than `patience` and is not read back.
    pub fn is_overdue(&self, patience: Duration) -> bool {
        self.oldest()
            .and_then(|oldest| oldest.confirmed)
            .is_some_and(|confirmed| confirmed.elapsed() > patience)
    }

    /// Returns true if the records with these numbers are the next to be read back, and all are held.
    pub fn are_next(&self, first: u64, last: u64) -> bool {
        let state = self.lock();
        let nth = last.checked_sub(first).and_then(|nth| usize::try_from(nth).ok());
        let is_at =
            |nth: usize, number| state.held.get(nth).is_some_and(|held| held.number == number);
        nth.is_some_and(|nth| is_at(0, first) && is_at(nth, last))
    }

    /// Removes the record of this number, which was read back. `None` if it was read back before.
    /// Older records that are still held are lost, and queued again; the second number counts them.
    pub fn take(&self, number: u64) -> (Option<UnreadRecord>, usize) {
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

    /// Removes the record of this number, which the broker refuses: it is never going to be read
    /// back, and its appender learns that no ruling comes.
    pub fn give_up(&self, number: u64) {
        let mut state = self.lock();
        state.held.retain(|held| held.number != number);
    }

    /// Puts back a record that [`take`](Self::take) removed, to be read once more.
    pub fn hold_again(&self, held: UnreadRecord) {
        self.lock().held.push_front(held);
    }

    /// Publishes to barriers the number up to which records of this process were read back.
    pub fn note_read_back(&self, number: u64) {
        self.read_back.send_if_modified(|read| std::mem::replace(read, number.max(*read)) < number);
    }

    /// Returns the oldest record that was not read back.
    pub fn oldest(&self) -> Option<OldestRecord> {
        let state = self.lock();
        let oldest = state.held.front().or_else(|| state.queue.front().map(|queued| &queued.held));
        oldest.map(|held| OldestRecord { since: held.since, confirmed: held.confirmed })
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl PendingState {
    fn push(
        &mut self,
        line: Vec<u8>,
        record: Option<AnyRecord>,
        waiter: Option<RulingWaiter>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let held = UnreadRecord {
            number: self.next,
            record,
            bytes: line.len(),
            waiter,
            permit,
            since: Instant::now(),
            confirmed: None,
        };
        self.next += 1;
        self.queue.push_back(QueuedRecord { line, held });
    }

    /// Takes a batch from the front of the queue.
    fn take(&mut self) -> Option<RecordBatch> {
        let first = self.queue.front()?.held.number;
        let lines = self.queue.iter().map(|queued| queued.line.len() + 1).sum::<usize>();
        let mut body = Vec::with_capacity(lines.min(MAX_BATCH));
        while let Some(QueuedRecord { line, .. }) = self.queue.front() {
            if !body.is_empty() && body.len() + 1 + line.len() > MAX_BATCH {
                break;
            }
            let Some(QueuedRecord { line, held }) = self.queue.pop_front() else { break };
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
        Some(RecordBatch { first, last, body })
    }

    /// Copies the next run of records that are written once more into a batch.
    fn take_again(&mut self) -> Option<RecordBatch> {
        let from = self.again.take()?;
        let first = self.held.partition_point(|held| held.number < from);
        let confirmed = self.confirmed;
        let mut batch: Option<RecordBatch> = None;
        for held in self.held.range(first..).take_while(|held| held.number <= confirmed) {
            let line = held.line();
            let Some(RecordBatch { last, body, .. }) = &mut batch else {
                batch = Some(RecordBatch { first: held.number, last: held.number, body: line });
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
        let Some(UnreadRecord { record, waiter, permit, since, .. }) = self.held.pop_front() else {
            return;
        };
        // A waiter for a marker writes another.
        let Some(record) = record else { return };
        let line = record.encode();
        if waiter.is_none() {
            self.noted += line.len();
        }
        let held = UnreadRecord {
            number: self.next,
            record: Some(record),
            bytes: line.len(),
            waiter,
            permit,
            since,
            confirmed: None,
        };
        self.next += 1;
        self.queue.push_back(QueuedRecord { line, held });
        self.urgent = true;
    }
}

#[cfg(test)]
#[path = "pending_records_tests.rs"]
mod tests;
