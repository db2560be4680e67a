//! Limits log lines that outsiders can cause as often as they like, such as those about refused
//! requests.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

/// Writes one log line; the argument is the number of events that the line stands for.
type WriteLine = Box<dyn FnOnce(u64) + Send>;

/// Limits log lines to one an interval for each key.
///
/// The first event of a key is logged at once, with the count 1. Those that follow within the
/// interval are logged together when it ends, with their count and the details of the last. So no
/// event goes uncounted: the counts of all lines add up to the number of events.
///
/// Keys are few and known beforehand, such as the reasons of refusals: nothing that a client
/// chooses.
pub struct LogThrottle<K> {
    interval: Duration,
    windows: Arc<Mutex<HashMap<K, PendingLine>>>,
}

/// The line that is due at the end of an interval; `None` while no event has come.
#[derive(Default)]
struct PendingLine {
    events: u64,
    write: Option<WriteLine>,
}

impl<K: Eq + Hash + Clone + Send + 'static> LogThrottle<K> {
    /// Limits the lines of each key to one an `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, windows: Arc::default() }
    }

    /// Logs an event, now or together with others at the end of the interval: `write` gets the
    /// number of events that its line stands for. Outside of a Tokio runtime every event is logged
    /// at once.
    pub fn log(&self, key: K, write: impl FnOnce(u64) + Send + 'static) {
        let Ok(runtime) = Handle::try_current() else { return write(1) };
        {
            let mut windows = lock(&self.windows);
            if let Some(pending) = windows.get_mut(&key) {
                pending.events += 1;
                pending.write = Some(Box::new(write));
                return;
            }
            windows.insert(key.clone(), PendingLine::default());
        }
        write(1);
        runtime.spawn(close_windows(Arc::clone(&self.windows), key, self.interval));
    }
}

/// Writes the pending line of a key at the end of each interval, until none is pending.
async fn close_windows<K: Eq + Hash>(
    windows: Arc<Mutex<HashMap<K, PendingLine>>>,
    key: K,
    interval: Duration,
) {
    loop {
        tokio::time::sleep(interval).await;
        let pending = {
            let mut windows = lock(&windows);
            let pending = windows.get_mut(&key).map(std::mem::take).unwrap_or_default();
            if pending.write.is_none() {
                windows.remove(&key);
            }
            pending
        };
        let Some(write) = pending.write else { return };
        write(pending.events);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    /// Records the written lines: their text, and the number of events that each stands for.
    #[derive(Clone, Default)]
    struct WrittenLines(Arc<Mutex<Vec<(&'static str, u64)>>>);

    impl WrittenLines {
        fn line(&self, text: &'static str) -> impl FnOnce(u64) + Send + 'static {
            let lines = Arc::clone(&self.0);
            move |count| lock(&lines).push((text, count))
        }

        fn take(&self) -> Vec<(&'static str, u64)> {
            std::mem::take(&mut *lock(&self.0))
        }
    }

    /// Advances the time by one interval, and lets the tasks that are due run.
    async fn pass_interval() {
        tokio::task::yield_now().await;
        advance(INTERVAL).await;
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_one_line_an_interval_and_every_event_is_counted() {
        let (throttle, written) = (LogThrottle::new(INTERVAL), WrittenLines::default());
        throttle.log('a', written.line("first"));
        throttle.log('b', written.line("other"));
        for _ in 0..1000 {
            throttle.log('a', written.line("more"));
        }
        throttle.log('a', written.line("last"));
        assert_eq!(written.take(), [("first", 1), ("other", 1)]);
        pass_interval().await;
        assert_eq!(written.take(), [("last", 1001)]);
        throttle.log('a', written.line("again"));
        assert_eq!(written.take(), []);
        pass_interval().await;
        assert_eq!(written.take(), [("again", 1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_interval_an_event_is_logged_at_once() {
        let (throttle, written) = (LogThrottle::new(INTERVAL), WrittenLines::default());
        throttle.log((), written.line("first"));
        pass_interval().await;
        assert!(lock(&throttle.windows).is_empty());
        throttle.log((), written.line("second"));
        assert_eq!(written.take(), [("first", 1), ("second", 1)]);
    }

    #[test]
    fn outside_of_a_runtime_every_event_is_logged() {
        let (throttle, written) = (LogThrottle::new(INTERVAL), WrittenLines::default());
        throttle.log((), written.line("first"));
        throttle.log((), written.line("second"));
        assert_eq!(written.take(), [("first", 1), ("second", 1)]);
    }
}
