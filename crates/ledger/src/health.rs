//! The health of the ledger: whether this instance knows enough of the stream to make decisions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::LedgerSettings;
use super::pending_records::{OldestRecord, PendingRecords};

/// The interval between two checks of the health.
const TICK: Duration = Duration::from_millis(500);
/// The interval between two log lines about progress.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(5);

/// The health of the ledger: decisions are made only while it is caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerHealth {
    /// The stream is being read up to where it ended when reading began.
    CatchingUp(ReadProgress),
    /// Every record is applied that was in the stream a moment ago.
    CaughtUp,
    /// Appended records are not read back: the broker or the stream can't be reached, or is slow.
    Lagging,
}

/// The progress of reading the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// The number of records that were applied since this process began, or since it last began
    /// from the start of the stream.
    pub records: u64,
    /// The offset of the latest message that was read.
    pub offset: Option<u64>,
    /// The time of the latest record that was parsed, by its writer's clock.
    pub at: Option<Timestamp>,
}

/// Judges the health of the ledger by what was read back and when.
pub(super) struct HealthMonitor {
    health: watch::Sender<LedgerHealth>,
    progress: Mutex<ReadProgress>,
    /// The number of this process's record whose arrival ends catching up.
    goal: AtomicU64,
    began: Instant,
    /// Milliseconds from `began` to the latest message.
    latest: AtomicU64,
    /// Asks the follower to find out what is wrong.
    stuck: Notify,
}

impl HealthMonitor {
    /// Creates a monitor whose state is catching up.
    pub fn new() -> Self {
        let (health, _) = watch::channel(LedgerHealth::CatchingUp(ReadProgress::default()));
        let (goal, latest) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let (progress, stuck) = (Mutex::default(), Notify::new());
        Self { health, progress, goal, began: Instant::now(), latest, stuck }
    }

    /// Subscribes to changes of the health.
    pub fn subscribe(&self) -> watch::Receiver<LedgerHealth> {
        self.health.subscribe()
    }

    /// Starts catching up, until the marker `goal` of this process is read.
    pub fn begin(&self, goal: u64) {
        self.goal.store(goal, Ordering::Relaxed);
        self.health.send_replace(LedgerHealth::CatchingUp(ReadProgress::default()));
    }

    /// Records that a message was read.
    pub fn note_progress(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latest.store(now, Ordering::Relaxed);
    }

    /// Returns the time since the last message was read.
    pub fn quiet_for(&self) -> Duration {
        self.began
            .elapsed()
            .saturating_sub(Duration::from_millis(self.latest.load(Ordering::Relaxed)))
    }

    /// Publishes the progress to subscribers.
    pub fn progress(&self, progress: ReadProgress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        self.health.send_if_modified(|health| match health {
            LedgerHealth::CatchingUp(known) if *known != progress => {
                *known = progress;
                true
            }
            _ => false,
        });
    }

    /// Returns the progress of reading.
    pub fn reached(&self) -> ReadProgress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that this process's record of this number was read back.
    pub fn read_back(&self, number: u64) {
        if number < self.goal.load(Ordering::Relaxed) {
            return;
        }
        self.health.send_if_modified(|health| {
            let LedgerHealth::CatchingUp(ReadProgress { records, .. }) = *health else {
                return false;
            };
            info!(records, "the ledger is up to date");
            *health = LedgerHealth::CaughtUp;
            true
        });
    }

    /// Resolves when a record of this process is overdue.
    pub async fn wait_until_stuck(&self) {
        self.stuck.notified().await;
    }

    fn judge_health(&self, oldest: Option<OldestRecord>, patience: Duration) {
        let late = oldest.is_some_and(|oldest| oldest.since.elapsed() > patience);
        self.health.send_if_modified(|health| {
            let judged = match (*health, late) {
                (LedgerHealth::CaughtUp, true) => LedgerHealth::Lagging,
                (LedgerHealth::Lagging, false) => LedgerHealth::CaughtUp,
                _ => return false,
            };
            if late {
                warn!(
                    patience_s = patience.as_secs(),
                    "records appended to the ledger are not read back"
                );
            } else {
                info!("the ledger is up to date again");
            }
            *health = judged;
            true
        });
    }

    fn publish_health(&self) {
        if let LedgerHealth::CatchingUp(ReadProgress { records, offset, at }) =
            *self.health.borrow()
        {
            let (offset, at) =
                (offset.unwrap_or_default(), at.map(|at| at.to_string()).unwrap_or_default());
            info!(records, offset, at, "reading the ledger");
        }
    }

    /// Checks the health repeatedly until `stop`.
    pub async fn watch_health(
        &self,
        pending: &PendingRecords,
        settings: LedgerSettings,
        stop: CancellationToken,
    ) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut published, mut marked, mut doubted) =
            (Instant::now(), Instant::now(), Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let oldest = pending.oldest();
            self.judge_health(oldest, settings.lagging_after);
            if published.elapsed() >= PUBLISH_INTERVAL {
                published = Instant::now();
                self.publish_health();
            }
            // Only records of this process count: those of other writers arrive whatever happens to
            // ours.
            if pending.is_overdue(settings.read_back) && doubted.elapsed() > settings.read_back {
                doubted = Instant::now();
                self.stuck.notify_one();
            }
            let idle = oldest.is_none() && self.quiet_for() > settings.heartbeat;
            if idle && marked.elapsed() > settings.heartbeat {
                marked = Instant::now();
                pending.pending_marker(Timestamp::now());
            }
        }
    }
}
