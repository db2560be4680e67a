//! Queues log lines for the standard error, which may be a pipe that nobody reads.
//!
//! A logging task puts a line into a queue in memory and goes on; a separate thread writes. A line
//! in a quiet log is written at once. The lines that come while the thread writes, and for a moment
//! after that, are written together: to wake a thread costs more than to make a line. Lines that
//! find the queue full are dropped and counted, and a line at their place in the log states the
//! count.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most bytes of lines that wait.
const MAX_QUEUED: usize = 4 << 20;
/// The number of bytes that are written at a time, unless one line is longer: as many as a pipe
/// holds.
const MAX_WRITTEN: usize = 64 << 10;
/// The time for which lines gather after others were written, unless there are many.
const GATHERING: Duration = Duration::from_millis(2);
/// The wait before the next try where the standard error takes nothing and does not block either.
const RETRY: Duration = Duration::from_millis(10);

/// Lines that wait to be written, and the thread that writes them. Cheap to clone.
#[derive(Clone)]
pub(super) struct LogQueue(Arc<SharedQueue>);

struct SharedQueue {
    state: Mutex<QueueState>,
    /// Notified when the thread has to write.
    filled: Condvar,
    /// Notified when everything is written.
    emptied: Condvar,
    /// The time for which lines gather.
    gathering: Duration,
}

/// The occupation of the thread that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterState {
    /// Everything was written for a while: the thread waits for a line.
    Asleep,
    /// The thread has just written: it waits for more lines than one.
    Gathering,
    /// The thread writes, or is about to.
    Writing,
}

struct QueueState {
    /// The full batches of lines, and behind them one that is being filled.
    batches: VecDeque<Vec<u8>>,
    /// The room of a batch that was written, for the next one.
    spare: Vec<u8>,
    /// The bytes of the lines, those that are being written included.
    bytes: usize,
    /// The number of lines that were dropped since the log last stated a number.
    dropped: u64,
    writer: WriterState,
}

impl LogQueue {
    /// Starts the thread. `notice` makes the line that states the number of dropped lines.
    ///
    /// # Errors
    /// No further thread can be started.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        notice: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_gathering(output, notice, GATHERING)
    }

    fn start_gathering(
        output: impl Write + Send + 'static,
        notice: impl Fn(u64) -> Vec<u8> + Send + 'static,
        gathering: Duration,
    ) -> io::Result<Self> {
        let state = Mutex::new(QueueState::new());
        let (filled, emptied) = (Condvar::new(), Condvar::new());
        let queue = Self(Arc::new(SharedQueue { state, filled, emptied, gathering }));
        let shared = Arc::clone(&queue.0);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || shared.write_lines(output, notice))?;
        Ok(queue)
    }

    /// Queues a line, its line break included.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        state.queue(line);
        if state.is_worth_waking() {
            self.0.wake(&mut state);
        }
    }

    /// Waits until everything is written, for `timeout` at most.
    pub(super) fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut state = self.0.lock();
        self.0.wake(&mut state);
        while state.bytes > 0 || state.dropped > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state =
                self.0.emptied.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Queues a line; the log's formatter writes each line at once.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl QueueState {
    fn new() -> Self {
        Self {
            batches: VecDeque::new(),
            spare: Vec::new(),
            bytes: 0,
            dropped: 0,
            writer: WriterState::Writing,
        }
    }

    /// Queues a line. After a dropped line all others are dropped too, until the gap is stated at
    /// its place.
    fn queue(&mut self, line: &[u8]) {
        if self.dropped > 0 || self.bytes.saturating_add(line.len()) > MAX_QUEUED {
            self.dropped += 1;
        } else {
            self.push(line);
        }
    }

    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        match self.batches.back_mut() {
            Some(batch) if batch.len() + line.len() <= MAX_WRITTEN => batch.extend_from_slice(line),
            _ => {
                let mut batch = std::mem::take(&mut self.spare);
                batch.extend_from_slice(line);
                self.batches.push_back(batch);
            }
        }
    }

    /// Returns true if the thread waits and the queued lines are reason enough to wake it.
    fn is_worth_waking(&self) -> bool {
        match self.writer {
            WriterState::Asleep => true,
            WriterState::Gathering => self.batches.len() > 1,
            WriterState::Writing => false,
        }
    }
}

impl SharedQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread if it waits.
    fn wake(&self, state: &mut QueueState) {
        if std::mem::replace(&mut state.writer, WriterState::Writing) != WriterState::Writing {
            self.filled.notify_one();
        }
    }

    fn write_lines(&self, mut output: impl Write, notice: impl Fn(u64) -> Vec<u8>) {
        let mut state = self.lock();
        let mut has_written = false;
        loop {
            // There is room by now: the lines queued before are written, or being written, in part.
            if state.dropped > 0 {
                let line = notice(std::mem::take(&mut state.dropped));
                state.push(&line);
            }
            // The bytes of a batch count as queued until they are written.
            if let Some(mut batch) = state.batches.pop_front() {
                drop(state);
                write_through(&mut output, &batch);
                state = self.lock();
                state.bytes -= batch.len();
                batch.clear();
                // A very long line leaves no room behind.
                batch.shrink_to(2 * MAX_WRITTEN);
                state.spare = batch;
                has_written = true;
                continue;
            }
            self.emptied.notify_all();
            state = if std::mem::take(&mut has_written) {
                self.gather_lines(state)
            } else {
                self.wait_for_line(state)
            };
        }
    }

    /// Waits for as long as lines gather, or until there are many or somebody waits for them.
    fn gather_lines<'s>(
        &self,
        mut state: MutexGuard<'s, QueueState>,
    ) -> MutexGuard<'s, QueueState> {
        state.writer = WriterState::Gathering;
        let is_gathering = |state: &mut QueueState| state.writer == WriterState::Gathering;
        let waited = self.filled.wait_timeout_while(state, self.gathering, is_gathering);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.writer = WriterState::Writing;
        state
    }

    /// Waits until there is a line.
    fn wait_for_line<'s>(
        &self,
        mut state: MutexGuard<'s, QueueState>,
    ) -> MutexGuard<'s, QueueState> {
        state.writer = WriterState::Asleep;
        let is_asleep = |state: &mut QueueState| state.writer == WriterState::Asleep;
        self.filled.wait_while(state, is_asleep).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes bytes, for as long as that takes. Where the reader has closed the pipe, they are lost.
fn write_through(output: &mut impl Write, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
#[path = "log_queue_tests.rs"]
mod tests;
