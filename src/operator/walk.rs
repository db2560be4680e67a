//! Going through a queue without disturbing it.
//!
//! Looking at a message with `basic.get` and putting it back moves it to the tail. A walk instead holds everything it has
//! passed unacked, and lets go of it all at once at its end: what was not removed lies there in the order it had.
//!
//! A consumer holds at most 65,535 messages, and whatever is prefetched lies in memory. So a walk goes page by page: a
//! consumer that has delivered its page is cancelled, keeps its hold, and the next one goes on behind it. At the end the
//! pages are given back from first to last.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};

use super::error::is_not_found;
use super::{Operator, OperatorError};
use crate::amqp::error::BrokerError;
use crate::amqp::message::short;

/// The least and the most messages of a page, and about how many pages there may be: the broker allows 2,047 channels.
const PAGE: std::ops::RangeInclusive<u32> = 1_000..=65_535;
const PAGES: u32 = 200;
/// After this silence the queue is asked whether it has anything left for us.
const SILENCE: Duration = Duration::from_millis(200);
/// After this silence of a queue that says it has, something is wrong.
const STUCK: Duration = Duration::from_secs(20);
/// The broker closes the channel of a consumer that holds a message for 30 minutes; a walk ends well before.
const LONGEST: Duration = Duration::from_mins(10);

/// A walk through one queue, from its head to where its tail was at the start.
pub struct Walk {
    connection: Connection,
    asking: Channel,
    queue: ShortString,
    page_size: u16,
    pages: Vec<Page>,
    left: u32,
    began: Instant,
}

/// A stretch of the queue, held by one channel.
struct Page {
    channel: Channel,
    state: State,
}

enum State {
    /// More may come; so many have come.
    Open(Consumer, u16),
    /// Cancelled; what the broker had sent until then still comes.
    Closing(Consumer),
    /// All of it has been passed.
    Held,
}

impl Walk {
    /// Starts at the head of `queue`. `None` where there is no such queue.
    ///
    /// # Errors
    /// [`OperatorError::Broker`].
    pub async fn begin(operator: &Operator, queue: &str) -> Result<Option<Self>, OperatorError> {
        let queue = short(queue)?;
        let connection = operator.amqp.connect("operator-walk").await?;
        let asking = open(&connection).await?;
        let Some(left) = depth(&asking, &queue).await? else {
            let _ = connection.close(200, "done".into()).await;
            return Ok(None);
        };
        let page_size = u16::try_from((left / PAGES).clamp(*PAGE.start(), *PAGE.end())).unwrap_or(u16::MAX);
        Ok(Some(Self { connection, asking, queue, page_size, pages: Vec::new(), left, began: Instant::now() }))
    }

    /// How many messages are ahead: those in the queue at the start, less those passed.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Ends the walk earlier, after `most` more messages.
    pub fn shorten(&mut self, most: u32) {
        self.left = self.left.min(most);
    }

    /// Whether the walk has held messages for so long that it should end and a new one begin.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.began.elapsed() > LONGEST
    }

    /// The next message, which stays in the queue unless it is [removed](remove). `None` at the end.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`] where the broker took everything back, [`OperatorError::Stuck`].
    pub async fn next(&mut self) -> Result<Option<Delivery>, OperatorError> {
        let mut silent_since = Instant::now();
        while self.left > 0 {
            let lost = || OperatorError::HoldLost { queue: self.queue.to_string() };
            let page = match self.pages.last_mut() {
                Some(page) if !matches!(page.state, State::Held) => page,
                _ => {
                    let page = self.open_page().await?;
                    self.pages.push(page);
                    continue;
                }
            };
            match tokio::time::timeout(SILENCE, page.next()).await {
                Ok(Some(Ok(delivery))) => {
                    self.left -= 1;
                    page.count(self.page_size).await.map_err(|_| lost())?;
                    return Ok(Some(delivery));
                }
                Ok(None) if matches!(page.state, State::Closing(_)) => page.state = State::Held,
                Ok(None | Some(Err(_))) => return Err(lost()),
                Err(_) if depth(&self.asking, &self.queue).await?.unwrap_or(0) == 0 => return Ok(None),
                Err(_) if silent_since.elapsed() > STUCK => {
                    return Err(OperatorError::Stuck { queue: self.queue.to_string(), after: STUCK });
                }
                Err(_) => continue,
            }
            silent_since = Instant::now();
        }
        Ok(None)
    }

    async fn open_page(&self) -> Result<Page, OperatorError> {
        let channel = open(&self.connection).await?;
        let during = || BrokerError::during(format!("consume queue {}", self.queue));
        channel.basic_qos(self.page_size, BasicQosOptions::default()).await.map_err(during())?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming = channel.basic_consume(self.queue.clone(), ShortString::from(""), options, arguments);
        let consumer = consuming.await.map_err(during())?;
        Ok(Page { channel, state: State::Open(consumer, 0) })
    }

    /// Lets go of everything that was not removed, in order, and closes the connection.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`]: a removal may not have reached the broker.
    pub async fn end(mut self) -> Result<(), OperatorError> {
        let lost = |_| OperatorError::HoldLost { queue: self.queue.to_string() };
        // No consumer may stand ready to take what the first pages give back.
        if let Some(page) = self.pages.last_mut() {
            page.cancel().await.map_err(lost)?;
        }
        for page in &self.pages {
            page.channel.close(200, "done".into()).await.map_err(lost)?;
        }
        let _ = self.connection.close(200, "done".into()).await;
        Ok(())
    }
}

/// Removes a message for good. What takes its place must have been confirmed before.
///
/// # Errors
/// [`OperatorError::HoldLost`]: the message is in the queue again.
pub async fn remove(delivery: &Delivery, queue: &str) -> Result<(), OperatorError> {
    match delivery.acker.ack(BasicAckOptions::default()).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(OperatorError::HoldLost { queue: queue.to_owned() }),
    }
}

impl Page {
    async fn next(&mut self) -> Option<Result<Delivery, lapin::Error>> {
        match &mut self.state {
            State::Open(consumer, _) | State::Closing(consumer) => consumer.next().await,
            State::Held => None,
        }
    }

    /// Counts a delivery; a page that is full takes no more.
    async fn count(&mut self, most: u16) -> Result<(), lapin::Error> {
        let State::Open(_, taken) = &mut self.state else { return Ok(()) };
        *taken += 1;
        if *taken < most { Ok(()) } else { self.cancel().await }
    }

    async fn cancel(&mut self) -> Result<(), lapin::Error> {
        if let State::Open(consumer, _) = std::mem::replace(&mut self.state, State::Held) {
            let tag = consumer.tag();
            self.state = State::Closing(consumer);
            self.channel.basic_cancel(tag, BasicCancelOptions::default()).await?;
        }
        Ok(())
    }
}

async fn open(connection: &Connection) -> Result<Channel, OperatorError> {
    Ok(connection.create_channel().await.map_err(BrokerError::during("open a channel"))?)
}

/// How many messages of a queue are free to be delivered; `None` where there is no such queue.
pub(super) async fn depth(channel: &Channel, queue: &ShortString) -> Result<Option<u32>, OperatorError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.clone(), passive, FieldTable::default()).await {
        Ok(queue) => Ok(Some(queue.message_count())),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(BrokerError::during(format!("look for queue {queue}"))(error).into()),
    }
}
