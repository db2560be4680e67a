//! Records in the index at which offsets the stream of calls holds the calls of each command.
//!
//! The broker does not report the offset of a message to its publisher. So each instance reads the
//! stream once and records what each message holds; of its own new messages it knows that and does
//! not unpack them. It begins with the oldest message, and after a
//! restart with the last one that it recorded. Where that message differs or never arrives, the stream is
//! another one and is recorded from its beginning. Nothing waits for this reader; a search reads
//! the part that is not recorded yet by itself.

use std::sync::Arc;
use std::time::Duration;

use memchr::memchr;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::super::batch::fingerprint;
use super::super::compression::decompress_body;
use super::super::index::{CallCheckpoint, CallMessage, IndexError, LedgerIndex};
use super::CallLog;
use super::indexed_line::IndexedLine;
use ferryd_broker::stream::{BrokerStream, StreamEntry, StreamPosition};

/// The maximum number of messages, each of up to a mebibyte, on their way to the reader.
const PREFETCH: u16 = 32;
/// The longest time for which messages that were read wait to be recorded.
const GATHERING: Duration = Duration::from_millis(200);
/// The number of messages that are recorded at once.
const ENOUGH: usize = 64;
/// The longest time for the last recorded message to arrive. A stream that was made anew and has
/// fewer messages never delivers it, nor anything before it.
const EXPECTED_WITHIN: Duration = Duration::from_secs(5);
/// The pause after the index could not be read or written.
const RETRY: Duration = Duration::from_secs(5);

/// Reads the stream of calls and records the offsets of its messages in the index, until `stop` is
/// cancelled or the link has ended. `call_log` is the one of this process.
pub async fn note_offsets(
    stream: BrokerStream,
    index: Arc<LedgerIndex>,
    call_log: CallLog,
    stop: CancellationToken,
) {
    let stream = stream.with_prefetch(PREFETCH);
    let mut notes = OffsetNotes {
        stream,
        index,
        call_log,
        noted: None,
        read: None,
        expected: None,
        messages: Vec::new(),
    };
    tokio::select! {
        _ended = notes.follow() => {}
        () = stop.cancelled() => {}
    }
}

struct OffsetNotes {
    stream: BrokerStream,
    index: Arc<LedgerIndex>,
    call_log: CallLog,
    /// The last message that the index has recorded.
    noted: Option<CallCheckpoint>,
    /// The last message that was read.
    read: Option<ReadMessage>,
    /// The message that has to be next, unless the next one lies later in the stream.
    expected: Option<CallCheckpoint>,
    /// The messages that were read and are not recorded yet.
    messages: Vec<CallMessage>,
}

/// The last message that was read.
struct ReadMessage {
    entry: StreamEntry,
    published: u64,
}

impl ReadMessage {
    /// Returns the place of the message. Only the last of many messages is hashed.
    fn checkpoint(&self) -> CallCheckpoint {
        CallCheckpoint {
            offset: self.entry.offset,
            hash: fingerprint(None, &self.entry.data),
            published: self.published,
        }
    }
}

impl OffsetNotes {
    /// Reads on, through outages of any length; `None` once the link has ended.
    async fn follow(&mut self) -> Option<()> {
        loop {
            if let Err(error) = self.go_on().await? {
                warn!(%error, "failed to note in the ledger's index where calls are; trying again");
                sleep(RETRY).await;
            }
        }
    }

    /// Begins where the index ends, and reads until the reader is gone.
    async fn go_on(&mut self) -> Option<Result<(), IndexError>> {
        match self.index.call_checkpoint() {
            Ok(noted) => self.begin(noted),
            Err(error) => return Some(Err(error)),
        }
        self.stream.attach().await?;
        let mut due = None;
        let late = Instant::now() + EXPECTED_WITHIN;
        loop {
            let due_at = due.unwrap_or_else(Instant::now);
            let entry = tokio::select! {
                entry = self.stream.read() => entry,
                () = sleep_until(late), if self.expected.is_some() => return Some(self.index.clear_calls()),
                () = sleep_until(due_at), if due.is_some() => {
                    due = None;
                    match self.save().await {
                        Ok(true) => continue,
                        begins_anew => return Some(begins_anew.map(drop)),
                    }
                }
            };
            let Some(entry) = entry else { return Some(Ok(())) };
            if !self.take(entry) {
                return Some(self.index.clear_calls());
            }
            let soon = if self.messages.len() >= ENOUGH { Duration::ZERO } else { GATHERING };
            let latest = Instant::now() + soon;
            due = Some(due.map_or(latest, |due| latest.min(due)));
        }
    }

    fn begin(&mut self, noted: Option<CallCheckpoint>) {
        (self.noted, self.read, self.expected) = (noted, None, noted);
        self.messages.clear();
        self.stream.reposition(
            noted.map_or(StreamPosition::First, |noted| StreamPosition::Offset(noted.offset)),
        );
    }

    /// Takes a message. Returns false if the stream is another one than the one that was recorded.
    fn take(&mut self, entry: StreamEntry) -> bool {
        if let Some(expected) = self.expected.take()
            && entry.offset <= expected.offset
        {
            let hash = fingerprint(None, &entry.data);
            return (entry.offset, hash) == (expected.offset, expected.hash);
        }
        let before = self.read.as_ref().map(|read| read.published);
        let before = before.or(self.noted.map(|noted| noted.published)).unwrap_or_default();
        let published = entry.properties.timestamp().unwrap_or(before);
        let known = self.call_log.0.published.take(&entry.properties, entry.offset);
        self.messages.push(known.unwrap_or_else(|| unpack_calls(&entry)));
        self.read = Some(ReadMessage { entry, published });
        true
    }

    /// Records the messages that were read. Returns false if the index was made anew meanwhile.
    async fn save(&mut self) -> Result<bool, IndexError> {
        let (index, after, messages) =
            (Arc::clone(&self.index), self.noted, std::mem::take(&mut self.messages));
        let Some(read) = self.read.take().map(|read| read.checkpoint()) else { return Ok(true) };
        let noting = tokio::task::spawn_blocking(move || index.note_calls(after, &messages, read));
        // A panic in the task was logged already, and the index has recorded nothing of these
        // messages.
        let is_noted = noting.await.unwrap_or(Ok(false))?;
        self.noted = Some(read);
        Ok(is_noted)
    }
}

/// Lists the calls that a message holds. A message that can't be unpacked can't be searched either.
fn unpack_calls(entry: &StreamEntry) -> CallMessage {
    let mut message = CallMessage::new(entry.offset);
    let Ok(data) = decompress_body(&entry.properties, &entry.data) else { return message };
    let mut rest = &*data;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(memchr(b'\n', rest).map_or(rest.len(), |end| end + 1));
        if let Some(IndexedLine { at, command }) = IndexedLine::read(line) {
            message.add(&command, u64::try_from(at.as_second()).unwrap_or_default());
        }
        rest = after;
    }
    message
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lapin::BasicProperties;

    use super::super::{CallBatch, CallLine};
    use super::*;

    #[test]
    fn a_message_has_the_calls_that_were_appended_to_it() {
        let mut batch = CallBatch::default();
        for (number, at) in [(1, 0), (2, 9), (3, 10), (1, 3_600), (4, -1)] {
            let at = Timestamp::from_second(at).unwrap() + Duration::from_millis(number);
            let command = format!("order-{number}").parse().unwrap();
            let line = format!("{{\"at\":\"{at}\",\"command\":\"{command}\",\"host\":\"a\"}}\n");
            batch.append(&CallLine { line: &line, command: &command, at });
        }
        let entry =
            StreamEntry { offset: 7, properties: BasicProperties::default(), data: batch.lines };
        batch.calls.offset = 7;
        assert_eq!(unpack_calls(&entry), batch.calls);
    }
}
