//! The ledger: a stream of records at the broker, and an index of the resulting states on this
//! host's disk.
//!
//! ```text
//! append ──► outbox ──► writer ──► stream ──► follower ──► view ──► index
//!    ▲                                           │
//!    └────────────────── ruling ─────────────────┘
//! ```
//!
//! The stream is the truth. Every instance reads all of it and comes to the same rulings. The
//! appender of a record gets the ruling on it when the record is read back. That means three things
//! at once: the record is stored, everything before it is applied here, and the ruling is final.

pub mod batch;
pub mod command_filter;
mod doubt;
pub mod exchanges;
mod follower;
mod health;
pub mod index;
mod job_table;
pub mod jobs;
mod ledger_settings;
mod outbox;
pub mod packing;
pub mod pen;
pub mod reading;
pub mod regular_file;
mod store;
mod view;
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

use self::doubt::ReadBackDoubt;
use self::follower::Follower;
use self::health::Pulse;
pub use self::health::{Health, Progress};
use self::index::Index;
pub use self::ledger_settings::{LedgerRetention, LedgerSettings};
use self::outbox::Outbox;
use self::store::Store;
use ferryd_broker::broker::Broker;
use ferryd_broker::error::BrokerError;
use ferryd_broker::failure::CloseCause;
use ferryd_broker::message::short_or_empty;
use ferryd_broker::stream::{Place, Stream};
use ferryd_broker::topology::Names;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::Event;
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::{AnyRecord, Record, RecordId};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::name::Name;

/// The ruling on a record that this process appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ruled {
    /// The id of the record.
    pub id: RecordId,
    /// The ruling on the record.
    pub ruling: Ruling,
    /// The time from the call of [`append`](Ledger::append) to its return, by a clock that never jumps.
    pub age: Duration,
}

/// A handle on the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger(Arc<Parts>);

struct Parts {
    outbox: Arc<Outbox>,
    store: Arc<Store>,
    pulse: Arc<Pulse>,
    settings: LedgerSettings,
    stop: CancellationToken,
}

impl Ledger {
    /// Starts the writer and the follower. Returns at once; [`health`](Self::health) changes when
    /// every record is applied.
    #[must_use]
    pub fn start(
        broker: Broker,
        names: &Names,
        index: Index,
        settings: LedgerSettings,
        stop: CancellationToken,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let parts = Parts {
            outbox: Arc::new(Outbox::new(Uuid::now_v7())),
            store: Arc::new(Store::new(Arc::new(index), settings)),
            pulse: Arc::new(Pulse::new()),
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
    pub async fn append(&self, record: Record) -> Result<Ruled, BrokerError> {
        self.append_any(record.into()).await
    }

    async fn append_any(&self, record: AnyRecord) -> Result<Ruled, BrokerError> {
        let Parts { outbox, stop, .. } = self.0.as_ref();
        let begun = Instant::now();
        let line = record.encode();
        let (waiter, ruled) = oneshot::channel();
        let appending = async {
            let permit = outbox.room(line.len()).await;
            outbox.append(record, line, waiter, permit);
            ruled.await
        };
        tokio::select! {
            biased;
            ruled = appending => {
                let refused = |_| BrokerError::Refused { cause: CloseCause::found("it takes no record of this size") };
                let (id, ruling) = ruled.map_err(refused)?;
                Ok(Ruled { id, ruling, age: begun.elapsed() })
            }
            () = stop.cancelled() => Err(BrokerError::Stopping),
        }
    }

    /// Appends a record with the next batch, without waiting for it. The record may be lost when
    /// ferryd dies, or when too many wait.
    pub fn note(&self, record: Record) {
        if let Err(dropped) = self.0.outbox.note(record.into())
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
    pub async fn barrier(&self) -> Result<(), BrokerError> {
        let Parts { outbox, settings, stop, .. } = self.0.as_ref();
        let passing = async {
            loop {
                let marker = outbox.mark(Timestamp::now());
                if timeout(settings.read_back, outbox.read_back(marker)).await.is_ok() {
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
    pub fn case(&self, id: &CommandId) -> Option<Arc<Case>> {
        let store = &self.0.store;
        let turns = {
            let state = store.lock();
            match state.view.get(id) {
                Some(case) => return Some(Arc::clone(case)),
                None if state.view.is_absent(id) => return None,
                None => state.view.turns(),
            }
        };
        match store.index.case(id) {
            Ok(Some(case)) => Some(Arc::new(case)),
            Ok(None) => {
                store.lock().view.note_absent(id, turns);
                None
            }
            Err(error) => {
                warn!(%error, "failed to read the ledger's index");
                None
            }
        }
    }

    /// Finds the command that has this id of a provider's own, as of now; the newest that is
    /// `meant` where there are several.
    ///
    /// # Errors
    /// [`IndexError`](index::IndexError).
    pub async fn called(
        &self,
        provider: &Name,
        account: &Name,
        reference: &str,
        meant: impl Fn(&Case) -> bool,
    ) -> Result<Option<CommandId>, index::IndexError> {
        let find = || -> Result<Option<CommandId>, index::IndexError> {
            let ids = self.index().called(reference)?;
            let its = |case: &Case| case.opening.as_ref().is_some_and(|opening| opening.is_of(provider, account));
            Ok(ids.into_iter().find(|id| self.case(id).is_some_and(|case| its(&case) && meant(&case))))
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
    pub async fn ended(&self, id: &CommandId) -> Result<Event, BrokerError> {
        self.until(id, |case| Some(case.ending.as_ref()?.event.clone())).await
    }

    /// Waits until `is_so` returns a value for the state of a command, and returns the first such
    /// value.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`] when ferryd stops first.
    pub async fn until<T>(&self, id: &CommandId, mut is_so: impl FnMut(&Case) -> Option<T>) -> Result<T, BrokerError> {
        let mut watch = self.0.store.watchers.watch(id);
        loop {
            if let Some(found) = self.case(id).and_then(|case| is_so(&case)) {
                return Ok(found);
            }
            tokio::select! {
                () = watch.news() => {}
                () = self.0.stop.cancelled() => return Err(BrokerError::Stopping),
            }
        }
    }

    /// Subscribes to the health of the ledger: whether this instance may make decisions.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.0.pulse.subscribe()
    }

    /// Returns the progress of reading the stream.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.0.pulse.reached()
    }

    /// Returns the index, for queries about many commands; see [`flush`](Self::flush).
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
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

impl Parts {
    fn spawn(&self, broker: Broker, stream: ShortString, stopping: CancellationToken) -> Vec<JoinHandle<()>> {
        let follower = Follower {
            stream: Stream::new(broker.clone(), stream.clone(), Place::First),
            outbox: Arc::clone(&self.outbox),
            store: Arc::clone(&self.store),
            pulse: Arc::clone(&self.pulse),
            patience: self.settings.read_back,
            stop: self.stop.clone(),
            expected: None,
            progress: Progress::default(),
            doubt: ReadBackDoubt::default(),
        };
        let (outbox, stop) = (Arc::clone(&self.outbox), self.stop.clone());
        let writing = async move { writer::write(&broker, &outbox, &stream, &stop).await };
        let (pulse, outbox, settings) = (Arc::clone(&self.pulse), Arc::clone(&self.outbox), self.settings);
        let watching = async move { pulse.watch(&outbox, settings, stopping).await };
        vec![tokio::spawn(writing), tokio::spawn(follower.follow()), tokio::spawn(watching), self.save()]
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
