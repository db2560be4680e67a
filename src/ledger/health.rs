//! Whether decisions may be made by what is known here.

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

/// How often it is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often progress is told in the log.
const TELL: Duration = Duration::from_secs(5);

/// Whether decisions may be made by what is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The stream is being read up to where it ended when this began.
    CatchingUp(Progress),
    /// Everything is known that was in the stream a moment ago.
    CaughtUp,
    /// What was appended does not come back: the broker or the stream can't be reached, or is slow.
    Lagging,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many records were applied since this process began, or since it began anew.
    pub records: u64,
    /// The offset of the latest message that was read.
    pub offset: Option<u64>,
    /// The time of the latest record that was parsed, by its writer's clock.
    pub at: Option<Timestamp>,
}

/// What health is judged by.
pub(super) struct Pulse {
    health: watch::Sender<Health>,
    progress: Mutex<Progress>,
    /// Our own record with whose number we have caught up.
    goal: AtomicU64,
    began: Instant,
    /// Milliseconds from `began` to the latest message.
    latest: AtomicU64,
    /// Asks the follower to find out what is wrong.
    stuck: Notify,
}

impl Pulse {
    /// Catching up.
    pub fn new() -> Self {
        let (health, _) = watch::channel(Health::CatchingUp(Progress::default()));
        let (goal, latest) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let (progress, stuck) = (Mutex::default(), Notify::new());
        Self { health, progress, goal, began: Instant::now(), latest, stuck }
    }

    /// Follows what is judged.
    pub fn subscribe(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Begins anew, up to a marker of ours.
    pub fn begin(&self, goal: u64) {
        self.goal.store(goal, Ordering::Relaxed);
        self.health.send_replace(Health::CatchingUp(Progress::default()));
    }

    /// Notes that something was read.
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.latest.store(now, Ordering::Relaxed);
    }

    /// For how long nothing was read.
    pub fn quiet_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.latest.load(Ordering::Relaxed)))
    }

    /// Notes progress.
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

    /// How far reading has come.
    pub fn reached(&self) -> Progress {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that our own record of this number was read back.
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

    /// Resolves when a record of ours should have been read by now.
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

    /// Looks at it until `stop`.
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
            // By our own records alone: what others write comes in whatever becomes of ours.
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
