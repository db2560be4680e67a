//! The index of this host, kept by this process: it takes the file, and reads the stream to its
//! end.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::Connection;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{OperatorContext, OperatorError};
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::connection::say_goodbye;
use ferryd_broker::declare::declare;
use ferryd_broker::message::short_string;
use ferryd_broker::stream::{OFFSET, StreamPosition, offset_of};
use ferryd_broker::topology::Topology;
use ferryd_ledger::index::LedgerIndex;
use ferryd_ledger::{Ledger, LedgerHealth, LedgerRetention, LedgerSettings, ReadProgress};

/// The longest wait for the end of the stream.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// Longest silence of the stream while it is being read.
const SILENCE: Duration = Duration::from_secs(30);

/// The folder of an index, and the time for which it remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexPlace {
    /// The folder of the index.
    pub dir: PathBuf,
    /// For how long the ids of commands that have ended are remembered.
    pub retention: Duration,
}

/// The progress of reading the ledger, in messages of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRead {
    /// The number that was read.
    pub done: u64,
    /// The number at the begin, where that is known.
    pub total: Option<u64>,
}

/// An index that this process keeps, known up to the moment it was started.
pub struct IndexOwner {
    ledger: Ledger,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    stream: String,
}

impl IndexOwner {
    /// Reads the stream into `index` up to its end.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn start(
        operator: &OperatorContext,
        place: &IndexPlace,
        index: LedgerIndex,
        progress: &mut impl FnMut(LedgerRead),
    ) -> Result<Self, OperatorError> {
        let OperatorContext { amqp, names } = operator;
        let topology = Topology::of_ledger(names);
        // The link below tries for ever, too long for a person who waits at a prompt.
        let connection = amqp.connect("operator-ledger").await?;
        declare(&connection, &topology).await?;
        let last = last_offset(&connection, &names.ledger()).await;
        let known = index.checkpoint()?.map(|checkpoint| checkpoint.offset);
        say_goodbye(&connection).await;
        let stop = CancellationToken::new();
        let (broker, link) = BrokerHandle::start(amqp.clone(), topology, stop.clone());
        let settings = LedgerSettings {
            retention: LedgerRetention::keep_contents(place.retention),
            ..LedgerSettings::default()
        };
        let (ledger, mut tasks) = Ledger::start(broker, names, index, settings, stop.clone());
        tasks.push(link);
        let owner = Self { ledger, stop, tasks, stream: names.ledger() };
        match owner.catch_up(known, last, progress).await {
            Ok(()) => Ok(owner),
            Err(error) => {
                owner.close().await;
                Err(error)
            }
        }
    }

    async fn catch_up(
        &self,
        known: Option<u64>,
        last: Option<u64>,
        progress: &mut impl FnMut(LedgerRead),
    ) -> Result<(), OperatorError> {
        let mut health = self.ledger.health();
        let mut first = known;
        loop {
            match *health.borrow_and_update() {
                LedgerHealth::CaughtUp => return Ok(()),
                LedgerHealth::CatchingUp(ReadProgress { offset: Some(offset), .. }) => {
                    let from = *first.get_or_insert(offset);
                    let total = last.map(|last| last.saturating_sub(from));
                    progress(LedgerRead { done: offset.saturating_sub(from), total });
                }
                LedgerHealth::CatchingUp(_) | LedgerHealth::Lagging => {}
            }
            match timeout(SILENCE, health.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(self.silent(SILENCE)),
            }
        }
    }

    fn silent(&self, after: Duration) -> OperatorError {
        OperatorError::Silent { stream: self.stream.clone(), after }
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits until everything is known, and saved, that is in the ledger now.
    ///
    /// # Errors
    /// [`OperatorError::Silent`].
    pub async fn refresh(&self) -> Result<(), OperatorError> {
        let known = timeout(SILENCE, self.ledger.wait_for_barrier()).await;
        known.map_err(|_| self.silent(SILENCE))??;
        self.ledger.flush().await;
        Ok(())
    }

    /// Saves what was read, and lets go of the index.
    pub async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            // The task only ends; the hook has logged a panic in it.
            let _ = task.await;
        }
    }
}

/// Reads the offset of about the last message of a stream; `None` where the stream is empty, or the
/// broker does not answer in time. The offset only serves the progress that a person sees.
async fn last_offset(connection: &Connection, stream: &str) -> Option<u64> {
    let asking = async {
        let channel = connection.create_channel().await.ok()?;
        channel.basic_qos(1, BasicQosOptions::default()).await.ok()?;
        let passive =
            QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let queue = channel
            .queue_declare(short_string(stream).ok()?, passive, FieldTable::default())
            .await
            .ok()?;
        if queue.message_count() == 0 {
            return None;
        }
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), StreamPosition::Last.argument());
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let mut consumer = channel
            .basic_consume(short_string(stream).ok()?, tag, options, arguments)
            .await
            .ok()?;
        offset_of(&consumer.next().await?.ok()?.properties)
    };
    timeout(END_PATIENCE, asking).await.ok()?
}
