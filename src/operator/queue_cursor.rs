//! Going through a queue without disturbing it.
//!
//! Looking at a message with `basic.get` and putting it back moves it to the tail. A walk instead
//! holds everything it has passed unacked, and lets go of it all at once at its end: what was not
//! removed lies there in the order it had.
//!
//! A consumer holds at most 65,535 messages, and whatever it holds lies in memory. So a walk goes
//! page by page: a consumer takes exactly one page, is cancelled, and keeps its hold; the next one
//! goes on behind it. Nothing of a page is removed before its consumer is cancelled, because a
//! delivery that crosses a cancel is put back out of order. At the end the pages are given back
//! from first to last.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection};

use super::error::is_not_found;
use super::{OperatorContext, OperatorError};
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::short_string;

/// The messages of the first page, and the most of any.
const FIRST_PAGE: u32 = 64;
const MOST_OF_PAGE: u32 = 5_000;
/// About how many pages there may be: the broker allows 2,047 channels.
const PAGES: u32 = 1_800;
/// About how many bytes a page holds: its messages are in memory until they are passed.
const PAGE_BYTES: u64 = 16 << 20;
/// After this silence ferryd checks whether the queue has anything left.
const SILENCE: Duration = Duration::from_millis(200);
/// After this silence of a queue that says it has, something is wrong.
const STUCK: Duration = Duration::from_secs(20);
/// Longest wait until a queue has a page back.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// A walk through one queue, from its head to where its tail was at the start.
pub struct QueueCursor {
    connection: Connection,
    asking: Channel,
    queue: ShortString,
    page_size: u32,
    /// The least messages of a page, so that there are not too many pages.
    least: u32,
    pages: Vec<QueuePage>,
    /// Messages of the last page that were not passed yet.
    ahead: VecDeque<Delivery>,
    left: u32,
    began: Instant,
}

/// A stretch of the queue.
struct QueuePage {
    /// The channel; when it closes, the broker has the held messages back.
    channel: Channel,
    /// The number of messages that are held.
    held: u32,
}

impl QueueCursor {
    /// Starts at the head of `queue`. `None` where there is no such queue.
    ///
    /// # Errors
    /// [`OperatorError::Broker`].
    pub async fn begin(
        operator: &OperatorContext,
        queue: &str,
    ) -> Result<Option<Self>, OperatorError> {
        let queue = short_string(queue)?;
        let connection = operator.amqp.connect_consuming("operator-walk").await?;
        let asking = open(&connection).await?;
        let Some(left) = depth(&asking, &queue).await? else {
            say_goodbye(&connection).await;
            return Ok(None);
        };
        let least = (left / PAGES).clamp(1, u32::from(u16::MAX));
        let page_size = FIRST_PAGE.max(least);
        let (pages, ahead, began) = (Vec::new(), VecDeque::new(), Instant::now());
        Ok(Some(Self { connection, asking, queue, page_size, least, pages, ahead, left, began }))
    }

    /// Returns the number of messages ahead: those in the queue at the start, less those passed.
    #[must_use]
    pub fn remaining_messages(&self) -> u32 {
        self.left
    }

    /// Ends the walk earlier, after `most` more messages.
    pub fn shorten(&mut self, most: u32) {
        self.left = self.left.min(most);
    }

    /// For how long the walk has been holding messages.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The next message, which stays in the queue unless it is [removed](Self::remove). `None` at
    /// the end.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`] where the broker took everything back, [`OperatorError::Stuck`].
    pub async fn next(&mut self) -> Result<Option<Delivery>, OperatorError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.turn_page().await?;
        }
        self.left -= 1;
        Ok(self.ahead.pop_front())
    }

    /// Takes hold of the next stretch; of none where other consumers have taken the rest.
    async fn turn_page(&mut self) -> Result<(), OperatorError> {
        let most = self.page_size.min(self.left);
        let channel = open(&self.connection).await?;
        let during = || BrokerError::while_doing(format!("consume queue {}", self.queue));
        let prefetch = u16::try_from(most).unwrap_or(u16::MAX);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(during())?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consuming =
            channel.basic_consume(self.queue.clone(), ShortString::from(""), options, arguments);
        let mut consumer = consuming.await.map_err(during())?;
        let mut silent_since = Instant::now();
        while self.ahead.len() < most as usize {
            match tokio::time::timeout(SILENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => self.ahead.push_back(delivery),
                Ok(None | Some(Err(_))) => return Err(self.connection_lost()),
                Err(_) if depth(&self.asking, &self.queue).await?.unwrap_or(0) == 0 => break,
                Err(_) if silent_since.elapsed() > STUCK => {
                    return Err(OperatorError::Stuck {
                        queue: self.queue.to_string(),
                        after: STUCK,
                    });
                }
                Err(_) => continue,
            }
            silent_since = Instant::now();
        }
        channel
            .basic_cancel(consumer.tag(), BasicCancelOptions::default())
            .await
            .map_err(|_| self.connection_lost())?;
        let bytes = self.ahead.iter().map(|delivery| delivery.data.len() as u64).sum();
        self.page_size =
            next_page_size(self.page_size, (self.ahead.len() as u64, bytes)).max(self.least);
        self.pages
            .push(QueuePage { channel, held: u32::try_from(self.ahead.len()).unwrap_or(u32::MAX) });
        Ok(())
    }

    fn connection_lost(&self) -> OperatorError {
        OperatorError::HoldLost { queue: self.queue.to_string() }
    }

    /// Removes the message that [`next`](Self::next) gave last, for good. What takes its place must
    /// have been confirmed.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`]: the message is in the queue again.
    pub async fn remove(&mut self, delivery: &Delivery) -> Result<(), OperatorError> {
        if !matches!(delivery.acker.ack(BasicAckOptions::default()).await, Ok(true)) {
            return Err(self.connection_lost());
        }
        if let Some(page) = self.pages.last_mut() {
            page.held = page.held.saturating_sub(1);
        }
        Ok(())
    }

    /// The page of the message that [`next`](Self::next) gave last.
    #[must_use]
    pub fn page(&self) -> usize {
        self.pages.len().saturating_sub(1)
    }

    /// Removes a message of a page for good. What takes its place must have been confirmed.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`]: the message is in the queue again.
    pub async fn remove_from(&mut self, page: usize, acker: &Acker) -> Result<(), OperatorError> {
        if !matches!(acker.ack(BasicAckOptions::default()).await, Ok(true)) {
            return Err(self.connection_lost());
        }
        if let Some(page) = self.pages.get_mut(page) {
            page.held = page.held.saturating_sub(1);
        }
        Ok(())
    }

    /// Lets go of everything that was not removed, in order, and closes the connection.
    ///
    /// # Errors
    /// [`OperatorError::HoldLost`]: a removal may not have reached the broker.
    pub async fn end(self) -> Result<(), OperatorError> {
        let mut patience = Some(GIVING_BACK);
        for page in &self.pages {
            let before = depth(&self.asking, &self.queue).await?.unwrap_or(0);
            page.channel.close(200, "done".into()).await.map_err(|_| self.connection_lost())?;
            // The broker says that the channel is closed before the queue has its messages back.
            if let Some(most) = patience
                && !self.is_back(before.saturating_add(page.held), most).await?
            {
                patience = None;
            }
        }
        say_goodbye(&self.connection).await;
        Ok(())
    }

    /// Waits until the queue holds so many messages; not for ever, because others may be taking
    /// them.
    async fn is_back(&self, expected: u32, most: Duration) -> Result<bool, OperatorError> {
        let start = Instant::now();
        while start.elapsed() < most {
            match depth(&self.asking, &self.queue).await? {
                Some(depth) if depth < expected => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// The size of the page behind one of this size that held so many messages and bytes.
fn next_page_size(size: u32, (count, bytes): (u64, u64)) -> u32 {
    let fitting = PAGE_BYTES.saturating_mul(count.max(1)) / bytes.max(1);
    u32::try_from(fitting).unwrap_or(u32::MAX).min(size.saturating_mul(4)).clamp(1, MOST_OF_PAGE)
}

async fn open(connection: &Connection) -> Result<Channel, OperatorError> {
    Ok(connection.create_channel().await.map_err(BrokerError::while_doing("open a channel"))?)
}

/// Counts the messages of a queue that are free to be delivered; `None` where there is no such
/// queue.
pub(super) async fn depth(
    channel: &Channel,
    queue: &ShortString,
) -> Result<Option<u32>, OperatorError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue.clone(), passive, FieldTable::default()).await {
        Ok(queue) => Ok(Some(queue.message_count())),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => {
            Err(BrokerError::while_doing(format!("look for queue {queue}"))(error).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_messages_are_small_and_hold_few_large_ones() {
        for (size, held, next) in [
            (64, (64, 64 << 10), 256),
            (256, (256, 256 << 10), 1_024),
            (4_096, (4_096, 4_096 << 10), 5_000),
            (1_000, (1_000, 1_000 << 20), 16),
            (64, (64, 64 << 20), 16),
            (16, (16, 16 << 20), 16),
            (64, (0, 0), 256),
            (64, (1, 64 << 20), 1),
        ] {
            assert_eq!(next_page_size(size, held), next, "{size} {held:?}");
        }
    }
}
