//! The stream of calls: every HTTP request and response, masked, for people who investigate what
//! was sent to a provider.
//!
//! The stream is evidence and no decision depends on it, so it must not delay a call. Lines gather
//! in memory and are published in batches; a daemon that is killed loses the newest few. While the
//! broker is away and the [buffer](CAPACITY) is full, a call waits for a [second](PATIENCE) at
//! most; then its record is dropped and counted, and a warning is logged, at most once a minute. An
//! orderly end publishes what is left.
//!
//! A message is a batch: one JSON object a line (`application/x-ndjson`), packed, each the record
//! of one call. A batch whose confirm was lost is published again, so a line may be there twice;
//! [`find`] returns it once.

mod call_window;
mod indexed_line;
mod offsets;
mod published_calls;
mod search;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lapin::types::ShortString;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use call_window::{CallWindow, spans};
pub use offsets::note_offsets;
pub use search::{FoundCalls, find, find_on};

use self::published_calls::{PublishedCalls, add_call};
use super::compression::compress_body;
use super::index::CallMessage;
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::message::{
    OutgoingMessage, TextTooLong, persistent_properties, short_or_empty, short_string,
};
use ferryd_domain::command_id::CommandId;

/// The maximum size of the lines in memory, in bytes, those on their way to the broker included.
pub const CAPACITY: usize = 8 << 20;
/// The longest time for which a call waits for room in the buffer before its record is dropped.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// The maximum size of the lines of a message, in bytes, unless one line alone is longer.
const BATCH: usize = 1 << 20;
/// The time for which lines gather before they are published. Fewer messages cost the broker, and
/// every reader, less.
const GATHERING: Duration = Duration::from_millis(50);
/// The size in bytes from which on gathered lines are published at once.
const ENOUGH: usize = 256 << 10;
/// The time that an orderly end leaves for publishing the remaining lines.
const LAST: Duration = Duration::from_secs(5);
/// The shortest time between two warnings about dropped records.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Writes records of calls to the stream; cheap to clone.
#[derive(Clone)]
pub struct CallLog(Arc<SharedCallLog>);

struct SharedCallLog {
    stream: ShortString,
    waiting: Mutex<WaitingCalls>,
    published: PublishedCalls,
    /// One permit for each free byte of the buffer.
    room: Semaphore,
    written: Notify,
    /// The number of bytes of lines that the broker has confirmed so far.
    confirmed: watch::Sender<u64>,
}

#[derive(Default)]
struct WaitingCalls {
    /// The full batches, and behind them one that is being filled.
    batches: VecDeque<CallBatch>,
    bytes: usize,
    /// The number of bytes of lines that were ever appended.
    appended: u64,
    /// True while a task waits for the buffered lines, which then gather no longer.
    is_wanted: bool,
    dropped: u64,
    /// The time of the last warning about dropped records, and their number by then.
    last_warning: Option<(Instant, u64)>,
}

/// The calls of one message.
#[derive(Default)]
struct CallBatch {
    lines: Vec<u8>,
    calls: CallMessage,
}

impl CallBatch {
    fn append(&mut self, call: &CallLine<'_>) {
        self.lines.extend_from_slice(call.line.as_bytes());
        add_call(&mut self.calls, call.command, call.at);
    }
}

/// A line, with the part of it that the index records.
struct CallLine<'l> {
    line: &'l str,
    command: &'l CommandId,
    at: Timestamp,
}

impl WaitingCalls {
    /// Returns true if the lines gather no longer and are to be published.
    fn is_due(&self) -> bool {
        self.is_wanted || self.bytes >= ENOUGH
    }
}

impl CallLog {
    /// Starts the task that publishes to `stream`. Once `stop` is cancelled, the task publishes
    /// what is left, for at most five seconds, and ends; the broker connection has to last until
    /// then.
    ///
    /// # Errors
    /// Where the name of the stream is too long for AMQP.
    pub fn start(
        broker: BrokerHandle,
        stream: &str,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), TextTooLong> {
        let shared = SharedCallLog {
            stream: short_string(stream)?,
            waiting: Mutex::default(),
            published: PublishedCalls::new(),
            room: Semaphore::new(CAPACITY),
            written: Notify::new(),
            confirmed: watch::Sender::new(0),
        };
        let call_log = Self(Arc::new(shared));
        let publishing = tokio::spawn(call_log.clone().publish_all(broker, stop));
        Ok((call_log, publishing))
    }

    /// Writes the record of a call of `command` that began at `at`, a line with its line break, into
    /// the buffer. Where the buffer is full, waits for room, a second at most, then drops the
    /// record.
    pub fn write<'s>(
        &'s self,
        line: &str,
        command: &CommandId,
        at: Timestamp,
    ) -> impl Future<Output = ()> + use<'s> {
        // Only the line is kept while waiting for room: thousands of calls may wait.
        let waiting = match self.free_room(line.len()) {
            Some(room) => {
                self.append(room, &CallLine { line, command, at });
                None
            }
            None => Some((line.to_owned(), command.clone())),
        };
        async move {
            let Some((line, command)) = waiting else { return };
            match self.room_for(line.len()).await {
                Some(room) => {
                    self.append(room, &CallLine { line: &line, command: &command, at });
                }
                None => self.drop_one(),
            }
        }
    }

    /// Publishes the buffered lines at once, and waits until the broker has confirmed them. Waits
    /// for as long as the broker is away; while ferryd stops, the call may never return.
    pub async fn flush(&self) {
        let appended = {
            let mut waiting = self.waiting();
            waiting.is_wanted = true;
            waiting.appended
        };
        self.0.written.notify_one();
        // The sender lives as long as `self`.
        let _ = self.0.confirmed.subscribe().wait_for(|confirmed| *confirmed >= appended).await;
    }

    /// Takes room in the buffer where there is some.
    fn free_room(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        self.0.room.try_acquire_many(u32::try_from(bytes).ok()?).ok()
    }

    /// Waits for room in the buffer; `None` where there is none in time.
    async fn room_for(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = u32::try_from(bytes).ok().filter(|_| bytes <= CAPACITY)?;
        tokio::time::timeout(PATIENCE, self.0.room.acquire_many(permits)).await.ok()?.ok()
    }

    /// Returns the number of records that were dropped because the buffer was full.
    #[must_use]
    pub fn dropped_calls(&self) -> u64 {
        self.waiting().dropped
    }

    fn append(&self, room: SemaphorePermit<'_>, call: &CallLine<'_>) {
        // The permits are given back when the broker has confirmed the line's batch.
        room.forget();
        let bytes = call.line.len();
        let mut waiting = self.waiting();
        waiting.bytes += bytes;
        waiting.appended += bytes as u64;
        let is_first = waiting.batches.is_empty();
        let has_enough = waiting.bytes >= ENOUGH;
        match waiting.batches.back_mut() {
            Some(batch) if batch.lines.len() + bytes <= BATCH => batch.append(call),
            _ => {
                let lines = Vec::with_capacity(bytes.max(ENOUGH));
                let mut batch = CallBatch { lines, ..CallBatch::default() };
                batch.append(call);
                waiting.batches.push_back(batch);
            }
        }
        drop(waiting);
        if is_first || has_enough {
            self.0.written.notify_one();
        }
    }

    fn drop_one(&self) {
        let mut waiting = self.waiting();
        waiting.dropped += 1;
        let (dropped, now) = (waiting.dropped, Instant::now());
        let since = waiting.last_warning.map_or(0, |(_, before)| before);
        if waiting.last_warning.is_none_or(|(at, _)| now - at >= WARNING_INTERVAL) {
            waiting.last_warning = Some((now, dropped));
            drop(waiting);
            let (stream, count) = (self.0.stream.as_str(), dropped - since);
            warn!(
                stream,
                count, "dropped calls: the broker does not take them and the buffer is full"
            );
        }
    }

    async fn publish_all(self, broker: BrokerHandle, stop: CancellationToken) {
        let publishing = async {
            while self.gather_batch(&stop).await {
                while let Some(batch) = self.take() {
                    let bytes = batch.lines.len();
                    if broker.publish(&self.message(batch)).await.is_err() {
                        return;
                    }
                    self.0.room.add_permits(bytes);
                    self.0.confirmed.send_modify(|confirmed| *confirmed += bytes as u64);
                }
            }
        };
        let too_late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = publishing => {}
            () = too_late => {}
        }
        let lost = self.waiting().bytes;
        if lost > 0 {
            warn!(bytes = lost, "stopping without having published the newest calls");
        }
    }

    /// Waits until there are lines to publish and more have gathered. Returns false at the end.
    async fn gather_batch(&self, stop: &CancellationToken) -> bool {
        while self.waiting().bytes == 0 {
            if stop.is_cancelled() {
                return false;
            }
            tokio::select! {
                () = self.0.written.notified() => {}
                () = stop.cancelled() => {}
            }
        }
        let enough = async {
            while !self.waiting().is_due() {
                self.0.written.notified().await;
            }
        };
        tokio::select! {
            () = enough => {}
            () = tokio::time::sleep(GATHERING) => {}
            () = stop.cancelled() => {}
        }
        self.waiting().is_wanted = false;
        true
    }

    fn take(&self) -> Option<CallBatch> {
        let mut waiting = self.waiting();
        let batch = waiting.batches.pop_front()?;
        waiting.bytes -= batch.lines.len();
        Some(batch)
    }

    fn message(&self, batch: CallBatch) -> OutgoingMessage {
        let at = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let CallBatch { lines, calls } = batch;
        let properties = persistent_properties()
            .with_content_type("application/x-ndjson".into())
            .with_message_id(short_or_empty(&self.0.published.add(calls)))
            .with_timestamp(at);
        let (properties, body) = compress_body(properties, lines);
        OutgoingMessage {
            exchange: ShortString::default(),
            routing_key: self.0.stream.clone(),
            properties,
            body,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, WaitingCalls> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
