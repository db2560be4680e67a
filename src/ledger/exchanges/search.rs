//! Finding a command's exchanges in the stream.
//!
//! The ledger's index has the offsets of the messages that hold a command's exchanges, up to a checkpoint: those messages are read,
//! and no others before it.
//!
//! The rest, which the index does not reach, is searched. The stream is in the order of publishing and has an index by time, in
//! seconds and by chunks. So a search starts a little before each stretch of time in which the command was called, and ends well
//! after it or at a marker of its own, which it publishes once it reads: what comes after that was not there when the search began.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use tokio::time::{Instant, timeout_at};
use tokio::try_join;
use uuid::Uuid;

use super::super::index::{CallCheckpoint, NotedCalls};
use super::super::packing::unpack;
use crate::amqp::connection::{AmqpSettings, say_goodbye};
use crate::amqp::error::BrokerError;
use crate::amqp::message::short_or_empty;
use crate::amqp::stream::{OFFSET, Place, offset_of};
use crate::domain::command_id::CommandId;
use crate::domain::exchange::CallRecord;
use crate::domain::ledger::case::Case;
use crate::domain::ledger::transition::Transition;

/// The most time of a search.
const MOST_TIME: Duration = Duration::from_secs(10);
/// The most bytes of what is found.
const MOST_BYTES: usize = 8 << 20;
/// How much earlier reading starts: clocks differ.
const EARLIER: Duration = Duration::from_mins(1);
/// How much later it ends: an exchange is written before the decision on it, and published soon after. One that waited for
/// longer, because the broker was away, is found by a window that reaches to then.
const LATER: Duration = Duration::from_mins(2);
/// How much is searched, the latest, of a time in which the provider was asked about a command: the record notes only its
/// begin and its end.
const ASKED_ABOUT: SignedDuration = SignedDuration::from_hours(24);
/// How many messages, each of up to a mebibyte, are on their way to the search.
const PREFETCH: u16 = 32;
/// So many are acked at once.
const ACK_EVERY: u16 = 8;
/// Messages that are noted at offsets this close to each other are read in one go, with those between them, up to [`PREFETCH`]: for
/// so many nothing need be acked.
const CLOSE: u64 = 4;
/// The longest time for the stream to deliver messages that are noted.
const RUN_PATIENCE: Duration = Duration::from_secs(2);

/// A stretch of time in which a command was called or asked about: from its start to the decision on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl Window {
    /// When a command was called or asked about, by its history; what still goes on does so until `now`.
    #[must_use]
    pub fn of_calls(case: &Case, now: Timestamp) -> Vec<Self> {
        let next = |index: usize| case.history.get(index + 1).map_or(now, |next| next.at);
        let window = |(index, Transition { at, reason, .. }): (usize, &Transition)| {
            let to = next(index).max(*at);
            match reason.as_str() {
                "started" => Some(Self { from: *at, to }),
                "waiting" | "lookup" => Some(Self { from: to.saturating_sub(ASKED_ABOUT).unwrap_or(*at).max(*at), to }),
                _ => None,
            }
        };
        case.history.iter().enumerate().filter_map(window).collect()
    }
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found<R> {
    /// The exchanges, by generation and attempt.
    pub exchanges: Vec<R>,
    /// Whether all of the time was searched: a search ends after 10 s, or 8 MiB of exchanges.
    pub complete: bool,
}

/// Finds the exchanges of a command as [`find_on`] does, over a connection of its own.
///
/// # Errors
/// [`BrokerError`] where the broker can't be reached, has no such stream, or is lost.
pub async fn find<R: CallRecord>(
    amqp: &AmqpSettings,
    stream: &str,
    command: &CommandId,
    windows: &[Window],
    noted: Option<&NotedCalls>,
) -> Result<Found<R>, BrokerError> {
    let connection = amqp.connect_asking("exchanges").await?;
    let found = find_on(&connection, stream, command, windows, noted).await;
    say_goodbye(&connection).await;
    found
}

/// Finds the exchanges of a command that were made in one of these stretches of time. What the index has `noted` of their
/// [spans](spans) is looked up in it; the rest of the stream is searched by time.
///
/// # Errors
/// [`BrokerError`] where the broker has no such stream, or is lost.
pub async fn find_on<R: CallRecord>(
    connection: &Connection,
    stream: &str,
    command: &CommandId,
    windows: &[Window],
    noted: Option<&NotedCalls>,
) -> Result<Found<R>, BrokerError> {
    let deadline = Instant::now() + MOST_TIME;
    let stream = short_or_empty(stream);
    let mut search = Search::new(stream, command, merged(windows), deadline);
    let complete = search.run(connection, noted).await?;
    search.found.sort_by_key(|exchange: &R| (exchange.step(), exchange.at()));
    Ok(Found { exchanges: search.found, complete })
}

/// The spans of time, in seconds since 1970, in which exchanges of these stretches may have begun by any host's clock.
#[must_use]
pub fn spans(windows: &[Window]) -> Vec<RangeInclusive<u64>> {
    merged(windows).iter().map(|window| starts(window)..=ends(window)).collect()
}

/// Windows in order of time; those that overlap, with the time that is read around them, become one.
fn merged(windows: &[Window]) -> Vec<Window> {
    let mut sorted = windows.to_vec();
    sorted.sort_unstable_by_key(|window| window.from);
    let mut merged: Vec<Window> = Vec::with_capacity(sorted.len());
    for window in sorted {
        match merged.last_mut() {
            Some(last) if starts(&window) <= ends(last) => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

/// The second from which a window is read.
fn starts(window: &Window) -> u64 {
    u64::try_from(window.from.as_second()).unwrap_or_default().saturating_sub(EARLIER.as_secs())
}

/// The second up to which a window is read.
fn ends(window: &Window) -> u64 {
    u64::try_from(window.to.as_second()).unwrap_or_default().saturating_add(LATER.as_secs())
}

#[derive(Clone)]
struct Search<R> {
    stream: ShortString,
    /// What a line of the command holds: nothing in an id is written in another way in JSON.
    needle: String,
    command: CommandId,
    /// In order of time, and apart from each other.
    windows: Vec<Window>,
    deadline: Instant,
    found: Vec<R>,
    bytes: usize,
}

/// The end of reading a part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SearchEnd {
    /// At its end.
    Wholly,
    /// Time or room ran out.
    Partly,
    /// The stream does not hold what is noted of it.
    Missing,
}

impl<R: CallRecord> Search<R> {
    fn new(stream: ShortString, command: &CommandId, windows: Vec<Window>, deadline: Instant) -> Self {
        let needle = format!("\"command\":\"{command}\"");
        Self { stream, needle, command: command.clone(), windows, deadline, found: Vec::new(), bytes: 0 }
    }

    /// Searches all windows. Returns false where time or room ran out.
    async fn run(&mut self, connection: &Connection, noted: Option<&NotedCalls>) -> Result<bool, BrokerError> {
        let Some(NotedCalls { offsets, checkpoint }) = noted else {
            return self.by_time(connection, None).await;
        };
        // Side by side, for a stream takes milliseconds to begin. In another stream than the one that was noted, what comes after the
        // checkpoint may never come.
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
                after.found.into_iter().for_each(|exchange| keep(&mut self.found, exchange));
                Ok(is_whole && searched == SearchEnd::Wholly)
            }
            Err(None) => self.by_time(connection, None).await,
            Err(Some(error)) => Err(error),
        }
    }

    /// Reads the messages at these offsets.
    async fn by_offset(&mut self, connection: &Connection, offsets: &[u64]) -> Result<SearchEnd, BrokerError> {
        for run in runs(offsets) {
            let searched = self.noted_run(&open_channel(connection).await?, run).await?;
            if searched != SearchEnd::Wholly {
                return Ok(searched);
            }
        }
        Ok(SearchEnd::Wholly)
    }

    /// Searches all windows from the checkpoint on. Returns false where time or room ran out.
    async fn by_time(
        &mut self,
        connection: &Connection,
        checkpoint: Option<CallCheckpoint>,
    ) -> Result<bool, BrokerError> {
        for window in self.windows.clone() {
            let Some(place) = unnoted(&window, checkpoint) else { continue };
            if !self.window(&open_channel(connection).await?, window, place).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the messages from the first of these offsets to the last.
    async fn noted_run(&mut self, channel: &Channel, run: RangeInclusive<u64>) -> Result<SearchEnd, BrokerError> {
        let patience = self.deadline.min(Instant::now() + RUN_PATIENCE);
        let reading = async {
            // No more than is wanted: each message may be a mebibyte. A run is never longer than what may be unacked.
            let prefetch = u16::try_from(run.end() - run.start() + 1).unwrap_or(PREFETCH);
            let mut consumer = self.consume(channel, Place::Offset(*run.start()), prefetch).await?;
            let mut wanted = *run.start()..=*run.start();
            loop {
                let delivery = consumer.next().await.ok_or_else(|| self.lost())?.map_err(reading(&self.stream))?;
                let Some(offset) = offset_of(&delivery.properties).filter(|offset| wanted.contains(offset)) else {
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

    /// Searches one window from a place on. Returns false where time or room ran out.
    async fn window(&mut self, channel: &Channel, window: Window, place: Place) -> Result<bool, BrokerError> {
        let marker = ShortString::from(Uuid::now_v7().to_string());
        let opening = async {
            let consumer = self.consume(channel, place, PREFETCH).await?;
            self.mark(channel, &marker).await?;
            Ok(consumer)
        };
        let Ok(opened) = timeout_at(self.deadline, opening).await else { return Ok(false) };
        let mut consumer = opened?;
        let mut unacked = 0;
        loop {
            let delivery = match timeout_at(self.deadline, consumer.next()).await {
                Err(_) => return Ok(false),
                Ok(Some(delivery)) => delivery.map_err(reading(&self.stream))?,
                Ok(None) => return Err(self.lost()),
            };
            if is_marker(&delivery, &marker) || delivery.properties.timestamp().is_some_and(|at| at > ends(&window)) {
                break;
            }
            self.take(&delivery);
            if self.bytes > MOST_BYTES {
                return Ok(false);
            }
            unacked += 1;
            if unacked >= ACK_EVERY {
                unacked = 0;
                delivery.acker.ack(BasicAckOptions { multiple: true }).await.map_err(reading(&self.stream))?;
            }
        }
        // What is still on its way ends with the channel.
        Ok(true)
    }

    async fn consume(&self, channel: &Channel, place: Place, prefetch: u16) -> Result<Consumer, BrokerError> {
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(reading(&self.stream))?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), place.argument());
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        channel.basic_consume(self.stream.clone(), tag, options, arguments).await.map_err(reading(&self.stream))
    }

    /// Publishes a marker, after the consumer has begun: one that found nothing from its place on sees what is published from then
    /// on, so it sees this.
    async fn mark(&self, channel: &Channel, marker: &ShortString) -> Result<(), BrokerError> {
        let properties = BasicProperties::default().with_message_id(marker.clone()).with_type("marker".into());
        let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
        let published = channel.basic_publish(exchange, self.stream.clone(), options, b"", properties).await;
        published.map(drop).map_err(reading(&self.stream))
    }

    /// Reads a message. What a later version packed in another way can't be searched.
    fn take(&mut self, delivery: &Delivery) {
        if let Ok(data) = unpack(&delivery.properties, &delivery.data) {
            self.read(&data);
        }
    }

    /// Keeps the command's lines of a message. A line that can't be read is passed over, like those of others.
    fn read(&mut self, data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        if !text.contains(&self.needle) {
            return;
        }
        for line in text.lines().filter(|line| line.contains(&self.needle)) {
            let Ok(exchange) = serde_json::from_str::<R>(line) else { continue };
            let at = u64::try_from(exchange.at().as_second()).unwrap_or_default();
            let in_window = self.windows.iter().any(|window| (starts(window)..=ends(window)).contains(&at));
            let is_wanted = *exchange.command() == self.command && in_window;
            if is_wanted {
                self.bytes += line.len();
                keep(&mut self.found, exchange);
            }
        }
    }

    fn lost(&self) -> BrokerError {
        BrokerError::Closed { action: format!("read stream {}", self.stream) }
    }
}

fn reading(stream: &ShortString) -> impl FnOnce(lapin::Error) -> BrokerError + use<> {
    BrokerError::reading(stream.as_str())
}

/// Keeps an exchange, unless it was found before.
fn keep<R: PartialEq>(found: &mut Vec<R>, exchange: R) {
    if !found.contains(&exchange) {
        found.push(exchange);
    }
}

/// Offsets as few ranges: one that is close to the next is read in one go with it.
fn runs(offsets: &[u64]) -> Vec<RangeInclusive<u64>> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for offset in offsets {
        match runs.last_mut() {
            Some(run) if offset - run.end() <= CLOSE && offset - run.start() < u64::from(PREFETCH) => {
                *run = *run.start()..=*offset;
            }
            _ => runs.push(*offset..=*offset),
        }
    }
    runs
}

/// The place from which a window is to be searched, where all up to the checkpoint is noted; `None` where it ends before that.
fn unnoted(window: &Window, checkpoint: Option<CallCheckpoint>) -> Option<Place> {
    match checkpoint {
        Some(checkpoint) if checkpoint.published > ends(window) => None,
        Some(checkpoint) if checkpoint.published >= starts(window) => Some(Place::Offset(checkpoint.offset + 1)),
        _ => Some(Place::Time(starts(window))),
    }
}

async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(BrokerError::during("open a channel"))
}

fn is_marker(delivery: &Delivery, marker: &ShortString) -> bool {
    delivery.properties.message_id().as_ref() == Some(marker)
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
