//! Reads a stream over AMQP 0-9-1, from a place in it, for as long as ferryd runs.
//!
//! A stream keeps messages that were read, and every reader has its own place. Prefetch and acks
//! only pace the broker (<https://www.rabbitmq.com/docs/streams>). A reader may end by a lost
//! session, a closed channel or a deleted stream; the next one continues at the same place.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Consumer};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, warn};

use super::broker::{BrokerHandle, BrokerSession};
use super::error::BrokerError;
use super::message::get_number;
use super::owned_channel::OwnedChannel;

/// The number of messages that the broker sends ahead. They are in memory here, and a message of
/// the ledger has up to 256 KiB.
const PREFETCH: u16 = 256;
/// The number of acks for each prefetch of messages.
const ACKS_PER_PREFETCH: u16 = 4;
/// The longest time for which a message may wait for an ack. Before RabbitMQ 4.3 the broker closes
/// the channel of a reader with a message that was not acked for the broker's `consumer_timeout`,
/// even if no other message has arrived since.
const ACK_WITHIN: Duration = Duration::from_secs(2);
/// The shortest and the longest pause before a stream that could not be read is tried again on a
/// session that is still up.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The longest time for the broker to begin a reader: a stream without a leader never answers.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait for the cause of a session's end to reach the channels on it.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The time on a session without reading a stream, after which a new session is begun: it may reach
/// another node, which has a replica of the stream.
const RECONNECT_AFTER: Duration = Duration::from_secs(30);
/// The header with the offset of a message, and the argument by which a reader requests an offset.
pub const OFFSET: &str = "x-stream-offset";

/// The place in a stream at which reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPosition {
    /// The oldest message that is kept.
    First,
    /// The newest chunk, which has one message or more.
    Last,
    /// The first message that is published from now on.
    Next,
    /// The message at this offset, or the next existing one.
    Offset(u64),
    /// The chunk of this time, in seconds since 1970.
    Time(u64),
}

impl StreamPosition {
    /// Returns the place as the argument [`OFFSET`] of a consumer.
    #[must_use]
    pub fn argument(self) -> AMQPValue {
        let word = |word: &str| AMQPValue::LongString(LongString::from(word));
        match self {
            Self::First => word("first"),
            Self::Last => word("last"),
            Self::Next => word("next"),
            Self::Offset(offset) => {
                AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX))
            }
            Self::Time(seconds) => AMQPValue::Timestamp(seconds),
        }
    }
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamEntry {
    /// The offset of the message. Offsets grow, and have gaps.
    pub offset: u64,
    /// The properties of the message.
    pub properties: BasicProperties,
    /// The body of the message.
    pub data: Vec<u8>,
}

/// A stream that is being read.
pub struct BrokerStream {
    broker: BrokerHandle,
    queue: ShortString,
    place: StreamPosition,
    prefetch: u16,
    reader: Option<StreamReader>,
}

struct StreamReader {
    channel: OwnedChannel,
    consumer: Consumer,
    unacked: u16,
    ack_every: u16,
    latest: Option<lapin::Acker>,
    /// The time of the next ack, where a message is unacknowledged.
    ack_due: Instant,
    since: Instant,
}

impl BrokerStream {
    /// Creates a reader of the stream `queue` that begins at `place`.
    #[must_use]
    pub fn new(broker: BrokerHandle, queue: ShortString, place: StreamPosition) -> Self {
        Self { broker, queue, place, prefetch: PREFETCH, reader: None }
    }

    /// Sets the number of messages that the broker sends ahead, for streams of large messages.
    #[must_use]
    pub fn with_prefetch(self, prefetch: u16) -> Self {
        Self { prefetch, ..self }
    }

    /// Waits for the next message, through outages of any length; `None` once ferryd is stopping.
    /// May be cancelled and called again.
    pub async fn next(&mut self) -> Option<StreamEntry> {
        loop {
            if !self.is_attached() {
                self.attach().await?;
            }
            if let Some(entry) = self.read().await {
                return Some(entry);
            }
        }
    }

    /// Returns true while the broker serves a reader of this stream.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.reader.is_some()
    }

    /// Returns the time since the current reader began.
    #[must_use]
    pub fn attached_for(&self) -> Duration {
        self.reader.as_ref().map_or(Duration::ZERO, |reader| reader.since.elapsed())
    }

    /// Ends the session with the broker, for all its users: messages published over it do not
    /// arrive in the stream.
    pub fn end_session(&self, reason: &str) {
        if let Some(reader) = &self.reader {
            reader.channel.session().end(reason);
        }
    }

    /// Creates another reader of the same stream.
    #[must_use]
    pub fn new_reader(&self, place: StreamPosition) -> Self {
        Self::new(self.broker.clone(), self.queue.clone(), place).with_prefetch(self.prefetch)
    }

    /// Sets the place at which the next reader begins.
    pub fn reposition(&mut self, place: StreamPosition) {
        self.detach();
        self.place = place;
    }

    /// Begins reading, through outages of any length; `None` once ferryd is stopping.
    pub async fn attach(&mut self) -> Option<()> {
        self.detach();
        let (mut begun, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            let session = self.broker.session().await?;
            let attaching = timeout(
                ATTACH_TIMEOUT,
                StreamReader::attach(&session, &self.queue, self.place, self.prefetch),
            );
            let mut attaching = std::pin::pin!(attaching);
            let late = |_| {
                Err(BrokerError::StreamTimeout {
                    stream: self.queue.as_str().to_owned(),
                    after: ATTACH_TIMEOUT,
                })
            };
            let attached = tokio::select! {
                attached = &mut attaching => attached.unwrap_or_else(late),
                () = session.ended() => {
                    // Where the end of the session caused the failure, its cause is worth logging.
                    if let Ok(Ok(Err(error))) = timeout(LAST_WORDS, attaching).await
                        && error.is_internal()
                    {
                        warn!(stream = %self.queue, %error, "failed to read a stream; trying again");
                    }
                    (begun, pause) = (Instant::now(), PAUSES.0);
                    continue;
                }
            };
            match attached {
                Ok(reader) => {
                    self.reader = Some(reader);
                    return Some(());
                }
                Err(error) => {
                    warn!(stream = %self.queue, %error, "failed to read a stream; trying again");
                }
            }
            if begun.elapsed() > RECONNECT_AFTER {
                session.end(&format!("stream {} can't be read over it", self.queue));
                (begun, pause) = (Instant::now(), PAUSES.0);
                continue;
            }
            self.declare_again(&session, pause).await;
            pause = (2 * pause).min(PAUSES.1);
        }
    }

    /// Declares the topology again after a pause, for a stream that was deleted.
    async fn declare_again(&self, session: &BrokerSession, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = session.ended() => return,
        }
        let declared = tokio::select! {
            declared = self.broker.declare_again(session) => declared,
            () = session.ended() => return,
        };
        if let Err(error) = declared {
            debug!(stream = %self.queue, %error, "failed to declare the topology again");
        }
    }

    /// Waits for the next message of the current reader; `None` where it has ended. May be
    /// cancelled and called again.
    pub async fn read(&mut self) -> Option<StreamEntry> {
        let reader = self.reader.as_mut()?;
        let Some(entry) = reader.next().await else {
            debug!(stream = %self.queue, "the reader of a stream is gone");
            self.detach();
            return None;
        };
        self.place = StreamPosition::Offset(entry.offset.saturating_add(1));
        Some(entry)
    }

    fn detach(&mut self) {
        self.reader = None;
    }
}

/// Reads a message's offset from its properties; `None` where it came from no stream.
#[must_use]
pub fn offset_of(properties: &BasicProperties) -> Option<u64> {
    get_number(properties.headers().as_ref(), OFFSET).and_then(|offset| u64::try_from(offset).ok())
}

impl StreamReader {
    async fn attach(
        session: &Arc<BrokerSession>,
        queue: &ShortString,
        place: StreamPosition,
        prefetch: u16,
    ) -> Result<Self, BrokerError> {
        let channel = OwnedChannel::open(session).await?;
        let consumer = Self::consume(channel.channel(), queue, place, prefetch).await?;
        let (ack_every, since) = ((prefetch / ACKS_PER_PREFETCH).max(1), Instant::now());
        Ok(Self { channel, consumer, unacked: 0, ack_every, latest: None, ack_due: since, since })
    }

    async fn consume(
        channel: &Channel,
        queue: &ShortString,
        place: StreamPosition,
        prefetch: u16,
    ) -> Result<Consumer, BrokerError> {
        let reading = || BrokerError::while_reading(queue.as_str());
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(reading())?;
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), place.argument());
        let consuming = channel.basic_consume(
            queue.clone(),
            "".into(),
            BasicConsumeOptions::default(),
            arguments,
        );
        consuming.await.map_err(reading())
    }

    async fn next(&mut self) -> Option<StreamEntry> {
        loop {
            if self.is_ack_due() {
                self.ack().await?;
            }
            let Delivery { properties, data, acker, .. } = tokio::select! {
                biased;
                next = self.consumer.next() => next?.ok()?,
                () = self.channel.session().ended() => return None,
                () = sleep_until(self.ack_due), if self.unacked > 0 => continue,
            };
            if self.unacked == 0 {
                self.ack_due = Instant::now() + ACK_WITHIN;
            }
            self.unacked += 1;
            self.latest = Some(acker);
            if let Some(offset) = offset_of(&properties) {
                return Some(StreamEntry { offset, properties, data });
            }
            warn!(
                "a message without an offset: the queue is no stream; delete it, and ferryd makes a new one"
            );
        }
    }

    fn is_ack_due(&self) -> bool {
        self.unacked >= self.ack_every || (self.unacked > 0 && Instant::now() >= self.ack_due)
    }

    /// Acknowledges messages, so that the broker sends more; `None` where the session is over.
    async fn ack(&mut self) -> Option<()> {
        if let Some(acker) = &self.latest {
            let multiple = BasicAckOptions { multiple: true };
            tokio::select! {
                acked = acker.ack(multiple) => { acked.ok()?; }
                () = self.channel.session().ended() => return None,
            }
        }
        self.unacked = 0;
        Some(())
    }
}
