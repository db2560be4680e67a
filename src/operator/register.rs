//! The ledger, as a command of the command line uses it.
//!
//! Where no daemon on this host has the first index, this process is an instance itself: it takes the index, reads the
//! stream to its end, and asks. Where one has it, this process is its guest: it appends a marker, waits until the daemon
//! has saved that, and asks what the daemon has saved. So either way the answer holds everything that was in the ledger
//! when the question was asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lapin::Connection;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sender::Sender;
use super::{Operator, OperatorError};
use crate::amqp::broker::Broker;
use crate::amqp::connection::say_goodbye;
use crate::amqp::declare::declare;
use crate::amqp::message::short;
use crate::amqp::stream::{OFFSET, Place as StreamPlace, offset_of};
use crate::amqp::topology::Topology;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::{Record, RecordId};
use crate::domain::ledger::ruling::Ruling;
use crate::ledger::index::{Index, IndexError};
use crate::ledger::pen::Pen;
use crate::ledger::{Health, Ledger, LedgerRetention, LedgerSettings, Progress, Ruled};

/// How long the daemon on this host may take to save a marker.
const HOST_PATIENCE: Duration = Duration::from_secs(5);
/// How long a ruling may take.
const RULING_PATIENCE: Duration = Duration::from_secs(10);
/// The longest time for the stream to tell where it ends.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How long the stream may be silent while it is being read.
const SILENCE: Duration = Duration::from_secs(30);
/// How often the index of the host is looked at.
const GLANCE: Duration = Duration::from_millis(1);
/// How often it is tried to become the host, which may have ended.
const RETAKE: Duration = Duration::from_millis(250);

/// Where the ledger's index is, and for how long it remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
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

/// The ledger, known up to the moment it was opened.
pub struct Register(Role);

enum Role {
    Host(Host),
    Guest(Box<Guest>),
}

/// An instance of its own.
pub struct Host {
    ledger: Ledger,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    stream: String,
}

struct Guest {
    index: Index,
    sender: Sender,
    pen: Pen,
}

impl Register {
    /// Opens the ledger and waits until it is known up to now. `progress` is told how far that is.
    ///
    /// # Errors
    /// [`OperatorError`]; nothing about any command has changed.
    pub async fn open(
        operator: &Operator,
        place: &Place,
        mut progress: impl FnMut(LedgerRead),
    ) -> Result<Self, OperatorError> {
        let key = operator.names.ledger_key(&operator.amqp.first_address());
        let mut marked = None;
        let deadline = Instant::now() + HOST_PATIENCE;
        loop {
            // The host may be a command like this one, which ends before it has read our marker.
            if let Some(index) = Index::open_first(&place.dir, &key)? {
                return Host::start(operator, place, index, &mut progress).await.map(|host| Self(Role::Host(host)));
            }
            let (sender, pen, awaited) = match marked.take() {
                Some(marked) => marked,
                None => mark(operator).await?,
            };
            // Opened anew each time, because the host may be making a new file.
            if let Ok(index) = Index::guest(&place.dir, &key)
                && is_applied(&index, awaited, RETAKE).await.unwrap_or_default()
            {
                return Ok(Self(Role::Guest(Box::new(Guest { index, sender, pen }))));
            }
            if Instant::now() >= deadline {
                let index = Index::guest(&place.dir, &key)?.path().display().to_string();
                return Err(OperatorError::Behind { index, after: HOST_PATIENCE });
            }
            sleep(GLANCE).await;
            marked = Some((sender, pen, awaited));
        }
    }

    /// Whether another process on this host keeps the index.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        matches!(self.0, Role::Guest(_))
    }

    /// Appends a record and waits for what it comes to. A guest can only ask so about what a person decides: `finished`
    /// by an operator or a canceller, `replayed`, `erased`, and `cancel_wished`.
    ///
    /// # Errors
    /// [`OperatorError`]; after [`OperatorError::NoRuling`] and [`OperatorError::NoConfirm`] it may count all the same.
    pub async fn append(&mut self, record: Record) -> Result<(RecordId, Ruling), OperatorError> {
        let command = record.command.clone();
        let no_ruling = || OperatorError::NoRuling { command, after: RULING_PATIENCE };
        match &mut self.0 {
            Role::Host(host) => match timeout(RULING_PATIENCE, host.ledger.append(record)).await {
                Ok(ruled) => {
                    let Ruled { id, ruling, .. } = ruled?;
                    Ok((id, ruling))
                }
                Err(_) => Err(no_ruling()),
            },
            Role::Guest(guest) => {
                let (id, message) = guest.pen.record(&record);
                guest.sender.send(&message).await?;
                let ruling = timeout(RULING_PATIENCE, guest.ruling(id)).await;
                Ok((id, ruling.map_err(|_| no_ruling())??))
            }
        }
    }

    /// Appends records side by side, as [`append`](Self::append) does one, and waits for what each comes to.
    ///
    /// # Errors
    /// As of [`append`](Self::append); some of them may count.
    pub async fn append_all(&mut self, records: Vec<Record>) -> Result<Vec<Ruling>, OperatorError> {
        let Some(command) = records.first().map(|record| record.command.clone()) else { return Ok(Vec::new()) };
        let no_ruling = |_| OperatorError::NoRuling { command, after: RULING_PATIENCE };
        match &mut self.0 {
            Role::Host(host) => {
                let appending = records.into_iter().map(|record| host.ledger.append(record));
                let ruled = timeout(RULING_PATIENCE, try_join_all(appending)).await.map_err(no_ruling)??;
                Ok(ruled.into_iter().map(|ruled| ruled.ruling).collect())
            }
            Role::Guest(guest) => {
                let mut ids = Vec::with_capacity(records.len());
                for record in &records {
                    let (id, message) = guest.pen.record(record);
                    guest.sender.send(&message).await?;
                    ids.push(id);
                }
                let ruled = try_join_all(ids.into_iter().map(|id| guest.ruling(id)));
                Ok(timeout(RULING_PATIENCE, ruled).await.map_err(no_ruling)??)
            }
        }
    }

    /// Puts a record down, and returns when the broker has it: what it comes to is for whoever reads it.
    ///
    /// # Errors
    /// [`OperatorError`]; it may be there all the same.
    pub async fn put_down(&mut self, record: Record) -> Result<(), OperatorError> {
        match &mut self.0 {
            Role::Host(_) => self.append(record).await.map(drop),
            Role::Guest(guest) => {
                let (_, message) = guest.pen.record(&record);
                guest.sender.send(&message).await
            }
        }
    }

    /// What is known of a command.
    ///
    /// # Errors
    /// [`OperatorError::Index`].
    pub fn case(&self, id: &CommandId) -> Result<Option<Arc<Case>>, OperatorError> {
        match &self.0 {
            Role::Host(host) => Ok(host.ledger.case(id)),
            Role::Guest(guest) => Ok(guest.index.case(id)?.map(Arc::new)),
        }
    }

    /// For questions about many commands; what this process knows is in it.
    pub async fn index(&self) -> &Index {
        match &self.0 {
            Role::Host(host) => {
                host.ledger.flush().await;
                host.ledger.index()
            }
            Role::Guest(guest) => &guest.index,
        }
    }

    /// The connection to the broker, where this process has one for more than reading the ledger.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection> {
        match &self.0 {
            Role::Host(_) => None,
            Role::Guest(guest) => Some(guest.sender.connection()),
        }
    }

    /// Waits until everything is known that is in the ledger now.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn refresh(&mut self) -> Result<(), OperatorError> {
        match &mut self.0 {
            Role::Host(host) => host.refresh().await,
            Role::Guest(guest) => {
                let Guest { index, sender, pen } = guest.as_mut();
                let (marker, message) = pen.marker(Timestamp::now());
                sender.send(&message).await?;
                if is_applied(index, marker, HOST_PATIENCE).await? {
                    return Ok(());
                }
                Err(OperatorError::Behind { index: index.path().display().to_string(), after: HOST_PATIENCE })
            }
        }
    }

    /// Lets go of the ledger. What this process has read is saved for the next one.
    pub async fn close(self) {
        match self.0 {
            Role::Host(host) => host.close().await,
            Role::Guest(guest) => guest.sender.close().await,
        }
    }
}

impl Host {
    /// Reads the stream into `index` up to its end.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn start(
        operator: &Operator,
        place: &Place,
        index: Index,
        progress: &mut impl FnMut(LedgerRead),
    ) -> Result<Self, OperatorError> {
        let Operator { amqp, names } = operator;
        let topology = Topology::of_ledger(names);
        // The link below tries for ever, which is not for somebody who waits at a prompt.
        let connection = amqp.connect("operator-ledger").await?;
        declare(&connection, &topology).await?;
        let last = last_offset(&connection, &names.ledger()).await;
        let known = index.checkpoint()?.map(|checkpoint| checkpoint.offset);
        say_goodbye(&connection).await;
        let stop = CancellationToken::new();
        let (broker, link) = Broker::start(amqp.clone(), topology, stop.clone());
        let settings =
            LedgerSettings { retention: LedgerRetention::whole(place.retention), ..LedgerSettings::default() };
        let (ledger, mut tasks) = Ledger::start(broker, names, index, settings, stop.clone());
        tasks.push(link);
        let host = Self { ledger, stop, tasks, stream: names.ledger() };
        match host.catch_up(known, last, progress).await {
            Ok(()) => Ok(host),
            Err(error) => {
                host.close().await;
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
                Health::CaughtUp => return Ok(()),
                Health::CatchingUp(Progress { offset: Some(offset), .. }) => {
                    let from = *first.get_or_insert(offset);
                    let total = last.map(|last| last.saturating_sub(from));
                    progress(LedgerRead { done: offset.saturating_sub(from), total });
                }
                Health::CatchingUp(_) | Health::Lagging => {}
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
        let known = timeout(SILENCE, self.ledger.barrier()).await;
        known.map_err(|_| self.silent(SILENCE))??;
        self.ledger.flush().await;
        Ok(())
    }

    /// Saves what was read, and lets go of the index.
    pub async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            // It only ends; a panic in it was told.
            let _ = task.await;
        }
    }
}

impl Guest {
    async fn ruling(&self, id: RecordId) -> Result<Ruling, IndexError> {
        loop {
            if let Some(ruling) = self.index.ruling(&id)? {
                return Ok(ruling);
            }
            sleep(GLANCE).await;
        }
    }
}

/// The offset of about the last message of a stream; `None` where it is empty, or does not tell in time. Nobody but a person who
/// waits wants to know.
async fn last_offset(connection: &Connection, stream: &str) -> Option<u64> {
    let asking = async {
        let channel = connection.create_channel().await.ok()?;
        channel.basic_qos(1, BasicQosOptions::default()).await.ok()?;
        let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(short(stream).ok()?, passive, FieldTable::default()).await.ok()?;
        if queue.message_count() == 0 {
            return None;
        }
        let mut arguments = FieldTable::default();
        arguments.insert(OFFSET.into(), StreamPlace::Last.argument());
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let mut consumer = channel.basic_consume(short(stream).ok()?, tag, options, arguments).await.ok()?;
        offset_of(&consumer.next().await?.ok()?.properties)
    };
    timeout(END_PATIENCE, asking).await.ok()?
}

/// Hands a marker to the broker by a new writer. Nobody waits for its confirm: the host applies what is there, and a marker that was
/// lost is never applied.
async fn mark(operator: &Operator) -> Result<(Sender, Pen, RecordId), OperatorError> {
    let (sender, mut pen) = (Sender::open_for_records(operator).await?, Pen::new(&operator.names));
    let (marker, message) = pen.marker(Timestamp::now());
    // Dropping the confirm does not take the message back.
    drop(sender.publish(&message).await.map_err(|error| sender.failure(&message, error))?);
    Ok((sender, pen, marker))
}

/// Whether the host applies a record and saves that within `patience`.
async fn is_applied(index: &Index, id: RecordId, patience: Duration) -> Result<bool, IndexError> {
    let deadline = Instant::now() + patience;
    while index.applied(&id.writer)? < id.number {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(GLANCE).await;
    }
    Ok(true)
}
