//! Finds the calls of a command in the stream of calls.
//!
//! The ledger's index has the offsets of the messages that hold a command's calls, up to a
//! checkpoint. Before that checkpoint only those messages are read.
//!
//! The rest of the stream is searched. The stream is in the order of publishing and has an index by
//! time, in seconds and by chunks. A search starts a little before each span of time in which the
//! command was called. It ends well after that span, or at a marker that the search publishes once
//! it reads.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use tokio::time::{Instant, timeout_at};
use tokio::try_join;
use uuid::Uuid;

use super::super::compression::decompress_body;
use super::super::index::{CallCheckpoint, IndexedCalls};
use super::call_window::{CallWindow, ends, merged, starts};
use ferryd_broker::connection::{AmqpSettings, say_goodbye};
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::short_or_empty;
use ferryd_broker::stream::{OFFSET, StreamPosition, offset_of};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::http_call::CallRecord;

/// The maximum duration of a search.
const MOST_TIME: Duration = Duration::from_secs(10);
/// The maximum size of the calls that a search returns, in bytes.
const MOST_BYTES: usize = 8 << 20;
/// The maximum number of messages, each of up to a mebibyte, on their way to the search.
const PREFETCH: u16 = 32;
/// The number of messages that are acknowledged at once.
const ACK_EVERY: u16 = 8;
/// The distance of offsets up to which recorded messages are read in one go, with those between
/// them, up to [`PREFETCH`]: for so many nothing need be acknowledged.
const CLOSE: u64 = 4;
/// The longest time for the stream to deliver messages that the index has recorded.
const RUN_PATIENCE: Duration = Duration::from_secs(2);

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FoundCalls<R> {
    /// The calls that were found, by generation and attempt.
    pub calls: Vec<R>,
    /// True if all of the time was searched: a search ends after 10 s, or 8 MiB of calls.
    pub complete: bool,
}

/// Finds the calls of a command as [`find_on`] does, over a connection of its own.
///
/// # Errors
/// [`BrokerError`] where the broker can't be reached, has no such stream, or is lost.
pub async fn find<R: CallRecord>(
    amqp: &AmqpSettings,
    stream: &str,
    command: &CommandId,
    windows: &[CallWindow],
    noted: Option<&IndexedCalls>,
) -> Result<FoundCalls<R>, BrokerError> {
    let connection = amqp.connect_for_few_headers("calls").await?;
    let found = find_on(&connection, stream, command, windows, noted).await;
    say_goodbye(&connection).await;
    found
}

/// Finds the calls of a command that were made in one of these spans of time. The calls that the
/// index has `noted` in their spans are read by offset; the rest of the stream is searched
/// by time.
///
/// # Errors
/// [`BrokerError`] where the broker has no such stream, or is lost.
pub async fn find_on<R: CallRecord>(
    connection: &Connection,
    stream: &str,
    command: &CommandId,
    windows: &[CallWindow],
    noted: Option<&IndexedCalls>,
) -> Result<FoundCalls<R>, BrokerError> {
    let deadline = Instant::now() + MOST_TIME;
    let stream = short_or_empty(stream);
    let mut search = CallSearch::new(stream, command, merged(windows), deadline);
    let complete = search.run(connection, noted).await?;
    search.found.sort_by_key(|call: &R| (call.step(), call.at()));
    Ok(FoundCalls { calls: search.found, complete })
}

#[derive(Clone)]
struct CallSearch<R> {
    stream: ShortString,
    /// The text that every line of the command holds: an id has one spelling in JSON.
    needle: String,
    command: CommandId,
    /// The windows to search, in order of time, without overlaps.
    windows: Vec<CallWindow>,
    deadline: Instant,
    found: Vec<R>,
    bytes: usize,
}

/// The end of reading a part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SearchEnd {
    /// The whole part was read.
    Wholly,
    /// The search ran out of time or room.
    Partly,
    /// The stream does not hold what the index has recorded of it.
    Missing,
}

impl<R: CallRecord> CallSearch<R> {
    fn new(
        stream: ShortString,
        command: &CommandId,
        windows: Vec<CallWindow>,
        deadline: Instant,
    ) -> Self {
        let needle = format!("\"command\":\"{command}\"");
        Self {
            stream,
            needle,
            command: command.clone(),
            windows,
            deadline,
            found: Vec::new(),
            bytes: 0,
        }
    }

    /// Searches all windows. Returns false if the search ran out of time or room.
    async fn run(
        &mut self,
        connection: &Connection,
        noted: Option<&IndexedCalls>,
    ) -> Result<bool, BrokerError> {
        let Some(IndexedCalls { offsets, checkpoint }) = noted else {
            return self.by_time(connection, None).await;
        };
        // Both searches run at the same time, because a stream takes milliseconds to begin. In
        // another stream than the recorded one, messages after the checkpoint may never arrive.
        let (mut looked_up, mut after) = (self.clone(), self.clone());
        let looking_up = async {
            match looked_up.by_offset(connection, offsets).await {
                Ok(SearchEnd::Missing) => Err(None),
                searched => searched.map_err(Some),
            }
        };
        let searching = async { after.by_time(connection, Some(*checkpoint)).await.map_err(Some) };
        match try_join!(looking_up, searching) {
            Ok((searched, is_whole)) => {
                self.found = looked_up.found;
                after.found.into_iter().for_each(|call| keep_call(&mut self.found, call));
                Ok(is_whole && searched == SearchEnd::Wholly)
            }
            Err(None) => self.by_time(connection, None).await,
            Err(Some(error)) => Err(error),
        }
    }

    /// Reads the messages at these offsets.
    async fn by_offset(
        &mut self,
        connection: &Connection,
        offsets: &[u64],
    ) -> Result<SearchEnd, BrokerError> {
        for run in merge_offsets(offsets) {
            let searched = self.noted_run(&open_channel(connection).await?, run).await?;
            if searched != SearchEnd::Wholly {
                return Ok(searched);
            }
        }
        Ok(SearchEnd::Wholly)
    }

    /// Searches all windows from the checkpoint on. Returns false if the search ran out of time or
    /// room.
    async fn by_time(
        &mut self,
        connection: &Connection,
        checkpoint: Option<CallCheckpoint>,
    ) -> Result<bool, BrokerError> {
        for window in self.windows.clone() {
            let Some(place) = unnoted_position(&window, checkpoint) else { continue };
            if !self.window(&open_channel(connection).await?, window, place).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the messages from the first of these offsets to the last.
    async fn noted_run(
        &mut self,
        channel: &Channel,
        run: RangeInclusive<u64>,
    ) -> Result<SearchEnd, BrokerError> {
        let patience = self.deadline.min(Instant::now() + RUN_PATIENCE);
        let reading = async {
            // No more messages are fetched than wanted: each may be a mebibyte. A run is never
            // longer than the limit of unacknowledged messages.
            let prefetch = u16::try_from(run.end() - run.start() + 1).unwrap_or(PREFETCH);
            let mut consumer =
                self.consume(channel, StreamPosition::Offset(*run.start()), prefetch).await?;
            let mut wanted = *run.start()..=*run.start();
            loop {
                let delivery = consumer
                    .next()
                    .await
                    .ok_or_else(|| self.search_lost())?
                    .map_err(reading(&self.stream))?;
                let Some(offset) =
                    offset_of(&delivery.properties).filter(|offset| wanted.contains(offset))
                else {
                    return Ok(SearchEnd::Missing);
                };
                self.take(&delivery);
                if offset == *run.end() {
                    return Ok(SearchEnd::Wholly);
                }
                if self.bytes > MOST_BYTES {
                    return Ok(SearchEnd::Partly);
                }
                wanted = offset..=*run.end();
            }
        };
        // A stream that was made anew may be shorter.
        timeout_at(patience, reading).await.unwrap_or(Ok(SearchEnd::Missing))
    }

    /// Searches one window from a place in the stream on. Returns false if the search ran out of
    /// time or room.
    async fn window(
        &mut self,
        channel: &Channel,
        window: CallWindow,
        place: StreamPosition,
    ) -> Result<bool, BrokerError> {
        let marker = ShortString::from(Uuid::now_v7().to_string());
        let opened = async {
            let consumer = self.consume(channel, place, PREFETCH).await?;
            self.publish_marker(channel, &marker).await?;
            Ok(consumer)
        };
        let Ok(opened) = timeout_at(self.deadline, opened).await else { return Ok(false) };
        let mut consumer = opened?;
        let mut unacked = 0;
        loop {
            let delivery = match timeout_at(self.deadline, consumer.next()).await {
                Err(_) => return Ok(false),
                Ok(Some(delivery)) => delivery.map_err(reading(&self.stream))?,
                Ok(None) => return Err(self.search_lost()),
            };
            if is_marker(&delivery, &marker)
                || delivery.properties.timestamp().is_some_and(|at| at > ends(&window))
            {
                break;
            }
            self.take(&delivery);
            if self.bytes > MOST_BYTES {
                return Ok(false);
            }
            unacked += 1;
            if unacked >= ACK_EVERY {
                unacked = 0;
                delivery
                    .acker
                    .ack(BasicAckOptions { multiple: true })
                    .await
                    .map_err(reading(&self.stream))?;
            }
        }
        // Messages that are still on their way end with the channel.
        Ok(true)
    }

    async fn consume(
        &self,
        channel: &Channel,
        place: StreamPosition,
        prefetch: u16,
    ) -> Result<Consumer, BrokerError> {
        channel
            .basic_qos(prefetch, BasicQosOptions::default())
            .await
            .map_err(reading(&self.stream))?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), place.argument());
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        channel
            .basic_consume(self.stream.clone(), tag, options, arguments)
            .await
            .map_err(reading(&self.stream))
    }

    /// Publishes a marker, after the consumer has begun. A consumer that found nothing from its
    /// place on receives what is published from then on, so it receives the marker.
    async fn publish_marker(
        &self,
        channel: &Channel,
        marker: &ShortString,
    ) -> Result<(), BrokerError> {
        let properties =
            BasicProperties::default().with_message_id(marker.clone()).with_type("marker".into());
        let (call, options) = (ShortString::default(), BasicPublishOptions::default());
        let published =
            channel.basic_publish(call, self.stream.clone(), options, b"", properties).await;
        published.map(drop).map_err(reading(&self.stream))
    }

    /// Reads a message. A message that a later version packed in another way can't be searched.
    fn take(&mut self, delivery: &Delivery) {
        if let Ok(data) = decompress_body(&delivery.properties, &delivery.data) {
            self.read(&data);
        }
    }

    /// Keeps the command's lines of a message. Lines that can't be read are skipped, like those of
    /// other commands.
    fn read(&mut self, data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if !text.contains(&self.needle) {
            return;
        }
        for line in text.lines().filter(|line| line.contains(&self.needle)) {
            let Ok(call) = serde_json::from_str::<R>(line) else { continue };
            let at = u64::try_from(call.at().as_second()).unwrap_or_default();
            let in_window =
                self.windows.iter().any(|window| (starts(window)..=ends(window)).contains(&at));
            let is_wanted = *call.command() == self.command && in_window;
            if is_wanted {
                self.bytes += line.len();
                keep_call(&mut self.found, call);
            }
        }
    }

    fn search_lost(&self) -> BrokerError {
        BrokerError::Closed { action: format!("read stream {}", self.stream) }
    }
}

fn reading(stream: &ShortString) -> impl FnOnce(lapin::Error) -> BrokerError + use<> {
    BrokerError::while_reading(stream.as_str())
}

/// Keeps a call, unless it was found before.
fn keep_call<R: PartialEq>(found: &mut Vec<R>, call: R) {
    if !found.contains(&call) {
        found.push(call);
    }
}

/// Joins offsets to as few ranges as possible: messages that are close to each other are read in
/// one go.
fn merge_offsets(offsets: &[u64]) -> Vec<RangeInclusive<u64>> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some(run)
                if offset - run.end() <= CLOSE && offset - run.start() < u64::from(PREFETCH) =>
            {
                *run = *run.start()..=*offset;
            }
            _ => runs.push(*offset..=*offset),
        }
    }
    runs
}

/// Returns the place from which on a window is to be searched, where everything up to the
/// checkpoint is recorded; `None` where the window ends before the checkpoint.
fn unnoted_position(
    window: &CallWindow,
    checkpoint: Option<CallCheckpoint>,
) -> Option<StreamPosition> {
    match checkpoint {
        Some(checkpoint) if checkpoint.published > ends(window) => None,
        Some(checkpoint) if checkpoint.published >= starts(window) => {
            Some(StreamPosition::Offset(checkpoint.offset + 1))
        }
        _ => Some(StreamPosition::Time(starts(window))),
    }
}

async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(BrokerError::while_doing("open a channel"))
}

fn is_marker(delivery: &Delivery, marker: &ShortString) -> bool {
    delivery.properties.message_id().as_ref() == Some(marker)
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
