//! The store: the view of current states, and the thread that saves the view to the index.
//!
//! Saving has a thread and a connection of its own, so that applying records never waits for a
//! commit. Changes during one transaction belong to the next.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::index::{IndexError, LedgerIndex};
use super::state_cache::{StateCache, StreamReach, TakenChanges};
use super::watchers::CommandWatchers;
use super::{LedgerRetention, LedgerSettings};
use ferryd_domain::job::{JobId, JobState};

/// The time for which changes gather before they are saved: a command that is carried out in this
/// time is saved once.
const GATHERING: Duration = Duration::from_secs(1);
/// The number of changed commands below which saving pauses again and again: a core on which some
/// hundred are saved at once is missing to commands whose events are due, for milliseconds.
const FEW_CHANGES: usize = 1_250;
/// The length of such a pause.
const BREATHER: Duration = Duration::from_millis(1);
/// The pause between two transactions that prune commands.
const PAUSE: Duration = Duration::from_millis(50);
/// The pause after the index refused a change for a reason that may pass, such as a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// The current states in memory, and the means to save them.
pub(super) struct StateStore {
    pub index: Arc<LedgerIndex>,
    /// The tasks that wait for changes of a command.
    pub watchers: Arc<CommandWatchers>,
    state: Mutex<StoreState>,
    work: Condvar,
    saved: watch::Sender<u64>,
    cleared: watch::Sender<u64>,
    damaged: Notify,
    /// Counts the changes of jobs.
    job_news: watch::Sender<u64>,
    retention: LedgerRetention,
    forget_every: Duration,
}

/// The cached states, and the requests to the saving thread.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate request to the thread")]
pub(super) struct StoreState {
    pub cache: StateCache,
    /// True if a task waits for unsaved changes.
    hurry: bool,
    /// True while the thread sleeps until a change.
    idle: bool,
    /// True if the index can't be used before it is cleared.
    damaged: bool,
    /// The number of requests to clear the index.
    clears: u64,
    ending: bool,
}

impl StoreState {
    /// Requests that all changes are saved at once.
    pub fn save_now(&mut self) {
        self.hurry = true;
    }
}

enum StoreWork {
    Save(TakenChanges),
    Clear(u64),
    Forget,
    End,
}

impl StateStore {
    /// Creates a store with an empty view.
    pub fn new(index: Arc<LedgerIndex>, settings: LedgerSettings) -> Self {
        let (saved, _) = watch::channel(0);
        let (cleared, _) = watch::channel(0);
        let (job_news, _) = watch::channel(0);
        let (state, work, damaged) = (Mutex::default(), Condvar::new(), Notify::new());
        let LedgerSettings { retention, forget_every, .. } = settings;
        Self {
            index,
            watchers: Arc::default(),
            state,
            work,
            saved,
            cleared,
            damaged,
            job_news,
            retention,
            forget_every,
        }
    }

    /// Locks the view; hold the guard briefly.
    pub fn lock(&self) -> MutexGuard<'_, StoreState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a message is applied, so that its changes can be saved.
    pub fn note_applied(&self, reached: StreamReach) {
        let mut state = self.lock();
        state.cache.note_applied(reached);
        let wake = state.idle || state.hurry || state.cache.is_laden();
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// Waits until the view has room for more changes, or the index is found damaged.
    pub async fn wait_for_room(&self) {
        let mut saved = self.saved.subscribe();
        loop {
            {
                let state = self.lock();
                if !state.cache.is_full() || state.damaged {
                    return;
                }
            }
            self.work.notify_one();
            // The sender lives as long as `self`.
            let _ = saved.changed().await;
        }
    }

    /// Changes the state of a job that is in memory.
    pub fn change_job(&self, id: JobId, change: impl FnOnce(&mut JobState)) {
        self.lock().cache.jobs.change(id, change);
        self.notify_of_jobs();
    }

    /// Notifies the subscribers that a job has changed.
    pub fn notify_of_jobs(&self) {
        self.job_news.send_modify(|news| *news += 1);
    }

    /// Subscribes to changes of jobs.
    pub fn job_news(&self) -> watch::Receiver<u64> {
        self.job_news.subscribe()
    }

    /// Waits until all current states are in the index.
    pub async fn flush(&self) {
        let number = {
            let mut state = self.lock();
            if !state.cache.is_changed() && !state.cache.is_saving() {
                return;
            }
            state.hurry |= state.cache.is_changed();
            state.cache.taken + u64::from(state.cache.is_changed())
        };
        self.work.notify_one();
        let _ = self.saved.subscribe().wait_for(|saved| *saved >= number).await;
    }

    /// Resolves when the index is found damaged.
    pub async fn wait_until_damaged(&self) {
        loop {
            self.damaged.notified().await;
            // Another task may have found the damage too, and cleared the index.
            if self.lock().damaged {
                return;
            }
        }
    }

    /// Clears the view, and the index on disk.
    pub async fn clear(&self) {
        let number = {
            let mut state = self.lock();
            state.cache.reset();
            state.clears += 1;
            state.clears
        };
        self.work.notify_one();
        let _ = self.cleared.subscribe().wait_for(|cleared| *cleared >= number).await;
    }

    /// Lets the thread end once everything is saved.
    pub fn finish_saving(&self) {
        self.lock().ending = true;
        self.work.notify_one();
    }

    /// Runs the saving thread until everything is saved and the store ends.
    pub fn run(&self) {
        let mut forget = Instant::now() + self.forget_every;
        let mut is_unscrubbed = false;
        loop {
            match self.next(forget) {
                StoreWork::Save(taken) => self.save(taken),
                StoreWork::Clear(number) => self.clear_index(number),
                StoreWork::Forget => {
                    forget = Instant::now() + self.prune_commands(&mut is_unscrubbed);
                }
                StoreWork::End => return,
            }
        }
    }

    fn next(&self, forget: Instant) -> StoreWork {
        let mut state = self.lock();
        let mut since = None;
        loop {
            if state.clears > *self.cleared.borrow() {
                return StoreWork::Clear(state.clears);
            }
            let changed = state.cache.is_changed() && !state.damaged;
            if state.ending && !changed {
                return StoreWork::End;
            }
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            let due = state.hurry || state.ending || state.cache.is_laden() || waited >= GATHERING;
            if changed && due {
                state.hurry = false;
                if let Some(taken) = state.cache.take() {
                    return StoreWork::Save(taken);
                }
            }
            let until_forgetting = forget.saturating_duration_since(Instant::now());
            if until_forgetting.is_zero() && !state.damaged {
                return StoreWork::Forget;
            }
            if changed {
                state = self.wait(state, GATHERING.saturating_sub(waited));
            } else {
                (state.idle, since) = (true, None);
                state = self.wait(state, until_forgetting.max(PAUSE));
                state.idle = false;
            }
        }
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, StoreState>,
        time: Duration,
    ) -> MutexGuard<'a, StoreState> {
        self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn save(&self, taken: TakenChanges) {
        let changes = taken.changes();
        loop {
            let mut pause = || self.give_way(changes.cases.len());
            let saved = self.index.save_with_pauses(&changes, Timestamp::now(), &mut pause);
            let error = match saved {
                Ok(()) => {
                    drop(changes);
                    let number = taken.number;
                    let ended = self.lock().cache.note_saved(taken);
                    self.saved.send_replace(number);
                    drop(ended);
                    return;
                }
                Err(error) => error,
            };
            if error.is_damaged() {
                return self.give_up(&error);
            }
            warn!(%error, "failed to save to the ledger's index; trying again");
            if self.interrupted() {
                return;
            }
        }
    }

    /// Lets other threads have the processor for a moment, where few changes are saved and nobody
    /// waits for that.
    fn give_way(&self, changed: usize) {
        let is_pressed = || {
            let StoreState { cache, hurry, ending, .. } = &*self.lock();
            *hurry || *ending || cache.is_laden()
        };
        if changed < FEW_CHANGES && !is_pressed() {
            std::thread::sleep(BREATHER);
        }
    }

    /// Marks the index as damaged: the task that reads the stream clears it and begins anew.
    fn give_up(&self, error: &IndexError) {
        warn!(%error, "the ledger's index is made anew from the stream");
        self.lock().damaged = true;
        self.damaged.notify_one();
        self.saved.send_modify(|_| ());
    }

    /// Prunes some of the commands that are over for long, and the contents of some more. Returns
    /// the time until the next pruning.
    fn prune_commands(&self, is_unscrubbed: &mut bool) -> Duration {
        match self.prune_some() {
            Ok(0) if *is_unscrubbed => match self.index.checkpoint_wal() {
                Ok(()) => {
                    *is_unscrubbed = false;
                    self.forget_every
                }
                Err(error) => self.prune_failed(&error),
            },
            Ok(0) => self.forget_every,
            Ok(_) => {
                *is_unscrubbed = true;
                PAUSE
            }
            Err(error) => self.prune_failed(&error),
        }
    }

    fn prune_some(&self) -> Result<usize, IndexError> {
        let before = |age| Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        let forgotten = self.index.prune_commands(before(self.retention.duplicate_window))?;
        let aged = self.index.remove_contents(before(self.retention.contents))?;
        self.lock().cache.drop_saved(&aged);
        Ok(forgotten + aged.len())
    }

    fn prune_failed(&self, error: &IndexError) -> Duration {
        warn!(%error, "failed to forget what is over in the ledger's index");
        self.forget_every
    }

    /// Waits a moment. Returns true if the caller should stop trying.
    fn interrupted(&self) -> bool {
        let state = self.wait(self.lock(), RETRY);
        state.ending || state.clears > *self.cleared.borrow()
    }

    fn clear_index(&self, number: u64) {
        while let Err(error) = self.index.clear() {
            error!(%error, "failed to make the ledger's index anew; trying again");
            let state = self.wait(self.lock(), RETRY);
            if state.ending {
                break;
            }
        }
        let mut state = self.lock();
        state.damaged = false;
        let taken = state.cache.taken;
        drop(state);
        self.cleared.send_replace(number);
        // Changes that were cleared are never saved; their waiters go on.
        self.saved.send_replace(taken);
    }
}
