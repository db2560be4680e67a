//! The ledger: a stream of records at the broker, and an index of the resulting states on this
//! host's disk.
//!
//! ```text
//! append ──► pending records ──► writer ──► stream ──► follower ──► state cache ──► index
//!    ▲                                                    │
//!    └─────────────────────── ruling ─────────────────────┘
//! ```
//!
//! The stream is the truth. Every instance reads all of it and comes to the same rulings. The
//! appender of a record gets the ruling on it when the record is read back. That means three things
//! at once: the record is stored, everything before it is applied here, and the ruling is final.

mod applied_entry;
pub mod batch;
pub mod call_log;
pub mod command_filter;
pub mod compression;
mod follower;
mod health;
pub mod index;
mod job_table;
pub mod jobs;
mod ledger_settings;
pub mod line_reader;
mod pending_records;
mod read_back;
pub mod record_encoder;
pub mod regular_file;
mod seeded_hash;
mod state_cache;
mod store;
mod unread_record;
mod watchers;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lapin::types::ShortString;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use self::follower::LedgerFollower;
use self::health::HealthMonitor;
pub use self::health::{LedgerHealth, ReadProgress};
use self::index::LedgerIndex;
pub use self::ledger_settings::{LedgerRetention, LedgerSettings};
use self::pending_records::PendingRecords;
use self::read_back::ReadBackDoubt;
use self::store::StateStore;
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::error::BrokerError;
use ferryd_broker::failure::CloseCause;
use ferryd_broker::message::short_or_empty;
use ferryd_broker::stream::{BrokerStream, StreamPosition};
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::EncodedEvent;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{AnyRecord, Record, RecordId};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::name::Name;

/// The ruling on a record that this process appended.
#[derive(Debug, Clone, PartialEq)]
pub struct RuledRecord {
    /// The id of the record.
    pub id: RecordId,
    /// The ruling on the record.
    pub ruling: Ruling,
    /// The time from the call of [`append`](Ledger::append) to its return, by a clock that never
    /// jumps.
    pub age: Duration,
}

/// A handle on the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<LedgerParts>);

struct LedgerParts {
    pending_records: Arc<PendingRecords>,
    store: Arc<StateStore>,
    health_monitor: Arc<HealthMonitor>,
    settings: LedgerSettings,
    stop: CancellationToken,
}

impl Ledger {
    /// Starts the writer and the follower. Returns at once; [`health`](Self::health) changes when
    /// every record is applied.
    #[must_use]
    pub fn start(
        broker: BrokerHandle,
        names: &TopologyNames,
        index: LedgerIndex,
        settings: LedgerSettings,
        stop: CancellationToken,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let parts = LedgerParts {
            pending_records: Arc::new(PendingRecords::new(Uuid::now_v7())),
            store: Arc::new(StateStore::new(Arc::new(index), settings)),
            health_monitor: Arc::new(HealthMonitor::new()),
            settings,
            // A token of the ledger's own, which is cancelled where the link ends for good.
            stop: stop.child_token(),
        };
        let stream = short_or_empty(&names.ledger());
        let tasks = parts.spawn(broker, stream, stop);
        (Self(Arc::new(parts)), tasks)
    }

    /// Appends a record and waits for the ruling on it, through outages of any length. If the
    /// future is dropped before that, the record may or may not have been appended.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops first; [`BrokerError::Refused`] where the broker
    /// refuses the record.
    pub async fn append(&self, record: Record) -> Result<RuledRecord, BrokerError> {
        self.append_any(record.into()).await
    }

    async fn append_any(&self, record: AnyRecord) -> Result<RuledRecord, BrokerError> {
        let LedgerParts { pending_records: pending, stop, .. } = self.0.as_ref();
        let begun = Instant::now();
        let line = record.encode();
        let (waiter, ruled) = oneshot::channel();
        let appending = async {
            let permit = pending.wait_for_room(line.len()).await;
            pending.append(record, line, waiter, permit);
            ruled.await
        };
        tokio::select! {
            biased;
            ruled = appending => {
                let refused = |_| BrokerError::Refused { cause: CloseCause::found("it takes no record of this size") };
                let (id, ruling) = ruled.map_err(refused)?;
                Ok(RuledRecord { id, ruling, age: begun.elapsed() })
            }
            () = stop.cancelled() => Err(BrokerError::Stopping),
        }
    }

    /// Appends a record with the next batch, without waiting for it. The record may be lost when
    /// ferryd dies, or when too many wait.
    pub fn append_unawaited(&self, record: Record) {
        if let Err(dropped) = self.0.pending_records.queue_unawaited(record.into())
            && dropped.is_power_of_two()
        {
            warn!(dropped, "too much waits to be noted in the ledger; the newest is dropped");
        }
    }

    /// Waits until every record is applied that was in the ledger at the time of the call, through
    /// outages of any length.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops first.
    pub async fn wait_for_barrier(&self) -> Result<(), BrokerError> {
        let LedgerParts { pending_records: pending, settings, stop, .. } = self.0.as_ref();
        let passing = async {
            loop {
                let marker = pending.pending_marker(Timestamp::now());
                if timeout(settings.read_back, pending.read_back(marker)).await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = passing => Ok(()),
            () = stop.cancelled() => Err(BrokerError::Stopping),
        }
    }

    /// Returns the state of a command as of now; other instances may have appended more records.
    #[must_use]
    pub fn command_state(&self, id: &CommandId) -> Option<Arc<CommandState>> {
        let store = &self.0.store;
        let cached = store.lock().cache.get(id);
        let found = match cached {
            Some(state) => state.whole(id).map(Some),
            None => store.index.command_state(id).map(|saved| saved.map(Arc::new)),
        };
        found.unwrap_or_else(|error| {
            warn!(%error, "failed to read the ledger's index");
            None
        })
    }

    /// Finds the command that has this id of a provider's own, as of now; the newest that is
    /// `meant` where there are several.
    ///
    /// # Errors
    /// [`IndexError`](index::IndexError).
    pub async fn find_by_reference(
        &self,
        provider: &Name,
        account: &Name,
        reference: &str,
        meant: impl Fn(&CommandState) -> bool,
    ) -> Result<Option<CommandId>, index::IndexError> {
        let find = || -> Result<Option<CommandId>, index::IndexError> {
            let ids = self.index().find_by_reference(reference)?;
            let its = |state: &CommandState| {
                state.identity.as_ref().is_some_and(|identity| identity.is_of(provider, account))
            };
            Ok(ids.into_iter().find(|id| {
                self.command_state(id).is_some_and(|state| its(&state) && meant(&state))
            }))
        };
        if let Some(id) = find()? {
            return Ok(Some(id));
        }
        // An id that was recorded a moment ago is not in the index yet.
        self.flush().await;
        find()
    }

    /// Waits until a command has ended, and returns its terminal event, as of the first time that
    /// the command is found to have ended.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops first.
    pub async fn wait_for_ending(&self, id: &CommandId) -> Result<EncodedEvent, BrokerError> {
        self.wait_until(id, |state| Some(state.ending.as_ref()?.event.clone())).await
    }

    /// Waits until `is_so` returns a value for the state of a command, and returns the first such
    /// value.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops first.
    pub async fn wait_until<T>(
        &self,
        id: &CommandId,
        mut is_so: impl FnMut(&CommandState) -> Option<T>,
    ) -> Result<T, BrokerError> {
        let mut watch = self.0.store.watchers.watch(id);
        loop {
            if let Some(found) = self.command_state(id).and_then(|state| is_so(&state)) {
                return Ok(found);
            }
            tokio::select! {
                () = watch.wait_for_change() => {}
                () = self.0.stop.cancelled() => return Err(BrokerError::Stopping),
            }
        }
    }

    /// Subscribes to the health of the ledger: whether this instance may make decisions.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<LedgerHealth> {
        self.0.health_monitor.subscribe()
    }

    /// Returns the progress of reading the stream.
    #[must_use]
    pub fn progress(&self) -> ReadProgress {
        self.0.health_monitor.reached()
    }

    /// Returns the index, for queries about many commands; see [`flush`](Self::flush).
    #[must_use]
    pub fn index(&self) -> &Arc<LedgerIndex> {
        &self.0.store.index
    }

    /// Waits until every applied record is in the index.
    pub async fn flush(&self) {
        tokio::select! {
            () = self.0.store.flush() => {}
            () = self.0.stop.cancelled() => {}
        }
    }
}

impl LedgerParts {
    fn spawn(
        &self,
        broker: BrokerHandle,
        stream: ShortString,
        stopping: CancellationToken,
    ) -> Vec<JoinHandle<()>> {
        let follower = LedgerFollower {
            stream: BrokerStream::new(broker.clone(), stream.clone(), StreamPosition::First),
            pending_records: Arc::clone(&self.pending_records),
            store: Arc::clone(&self.store),
            health_monitor: Arc::clone(&self.health_monitor),
            patience: self.settings.read_back,
            stop: self.stop.clone(),
            expected: None,
            progress: ReadProgress::default(),
            doubt: ReadBackDoubt::default(),
        };
        let (pending, stop) = (Arc::clone(&self.pending_records), self.stop.clone());
        let writing = async move { writer::write(&broker, &pending, &stream, &stop).await };
        let (monitor, pending, settings) =
            (Arc::clone(&self.health_monitor), Arc::clone(&self.pending_records), self.settings);
        let watching = async move { monitor.watch_health(&pending, settings, stopping).await };
        vec![
            tokio::spawn(writing),
            tokio::spawn(follower.follow()),
            tokio::spawn(watching),
            self.save(),
        ]
    }

    /// Spawns the thread that saves; it ends after the follower. The thread is not one of the
    /// runtime's, because the runtime would wait for it without end.
    fn save(&self) -> JoinHandle<()> {
        let store = Arc::clone(&self.store);
        let (ended, end) = oneshot::channel();
        let saving = std::thread::Builder::new().name("ledger-index".to_owned()).spawn(move || {
            store.run();
            // A waiter for the end may open the index anew.
            drop(store);
            drop(ended);
        });
        if let Err(error) = saving {
            error!(%error, "failed to start the thread that saves the ledger's index");
            self.stop.cancel();
        }
        tokio::spawn(async move {
            // The sender never sends: the channel ends when it is dropped.
            let _: Result<(), _> = end.await;
        })
    }
}
