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
use super::outbox::{Oldest, Outbox};

/// The interval between two checks of the health.
const TICK: Duration = Duration::from_millis(500);
/// The interval between two log lines about progress.
const TELL: Duration = Duration::from_secs(5);

/// The health of the ledger: decisions are made only while it is caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The stream is being read up to where it ended when reading began.
    CatchingUp(Progress),
    /// Every record is applied that was in the stream a moment ago.
    CaughtUp,
    /// Appended records are not read back: the broker or the stream can't be reached, or is slow.
    Lagging,
}

/// The progress of reading the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of records that were applied since this process began, or since it last began
    /// from the start of the stream.
    pub records: u64,
    /// The offset of the latest message that was read.
    pub offset: Option<u64>,
    /// The time of the latest record that was parsed, by its writer's clock.
    pub at: Option<Timestamp>,
}

/// Judges the health of the ledger by what was read back and when.
pub(super) struct Pulse {
    health: watch::Sender<Health>,
    progress: Mutex<Progress>,
    /// The number of this process's record whose arrival ends catching up.
    goal: AtomicU64,
    began: Instant,
    /// Milliseconds from `began` to the latest message.
    latest: AtomicU64,
    /// Asks the follower to find out what is wrong.
    stuck: Notify,
}

impl Pulse {
    /// Creates a monitor whose state is catching up.
    pub fn new() -> Self {
        let (health, _) = watch::channel(Health::CatchingUp(Progress::default()));
        let (goal, latest) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let (progress, stuck) = (Mutex::default(), Notify::new());
        Self { health, progress, goal, began: Instant::now(), latest, stuck }
    }

    /// Subscribes to changes of the health.
    pub fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Starts catching up, until the marker `goal` of this process is read.
    pub fn begin(&self, goal: u64) {
        self.goal.store(goal, Ordering::Relaxed);
        self.health.send_replace(Health::CatchingUp(Progress::default()));
    }

    /// Records that a message was read.
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latest.store(now, Ordering::Relaxed);
    }

    /// Returns the time since the last message was read.
    pub fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.latest.load(Ordering::Relaxed)))
    }

    /// Publishes the progress to subscribers.
    pub fn progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        self.health.send_if_modified(|health| match health {
            Health::CatchingUp(known) if *known != progress => {
                *known = progress;
                true
            }
            _ => false,
        });
    }

    /// Returns the progress of reading.
    pub fn reached(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that this process's record of this number was read back.
    pub fn read_back(&self, number: u64) {
        if number < self.goal.load(Ordering::Relaxed) {
            return;
        }
        self.health.send_if_modified(|health| {
            let Health::CatchingUp(Progress { records, .. }) = *health else { return false };
            info!(records, "the ledger is known up to now");
            *health = Health::CaughtUp;
            true
        });
    }

    /// Resolves when a record of this process is overdue.
    pub async fn stuck(&self) {
        self.stuck.notified().await;
    }

    fn judge(&self, oldest: Option<Oldest>, patience: Duration) {
        let late = oldest.is_some_and(|oldest| oldest.since.elapsed() > patience);
        self.health.send_if_modified(|health| {
            let judged = match (*health, late) {
                (Health::CaughtUp, true) => Health::Lagging,
                (Health::Lagging, false) => Health::CaughtUp,
                _ => return false,
            };
            if late {
                warn!(patience_s = patience.as_secs(), "what was appended to the ledger is not read back");
            } else {
                info!("the ledger is known up to now again");
            }
            *health = judged;
            true
        });
    }

    fn tell(&self) {
        if let Health::CatchingUp(Progress { records, offset, at }) = *self.health.borrow() {
            let (offset, at) = (offset.unwrap_or_default(), at.map(|at| at.to_string()).unwrap_or_default());
            info!(records, offset, at, "reading the ledger");
        }
    }

    /// Checks the health repeatedly until `stop`.
    pub async fn watch(&self, outbox: &Outbox, settings: LedgerSettings, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let (mut told, mut marked, mut doubted) = (Instant::now(), Instant::now(), Instant::now());
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let oldest = outbox.oldest();
            self.judge(oldest, settings.lagging_after);
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell();
            }
            // Only records of this process count: those of other writers arrive whatever happens to
            // ours.
            if outbox.is_overdue(settings.read_back) && doubted.elapsed() > settings.read_back {
                doubted = Instant::now();
                self.stuck.notify_one();
            }
            let idle = oldest.is_none() && self.quiet_for() > settings.heartbeat;
            if idle && marked.elapsed() > settings.heartbeat {
                marked = Instant::now();
                outbox.mark(Timestamp::now());
            }
        }
    }
}
