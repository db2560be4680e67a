//! A rate limiter for each of many keys, which keeps only the keys that have used some of their
//! burst.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

/// The number of keys above which those with a full burst are removed.
const MOST_KEYS: usize = 10_000;

/// Limits the events of each key: a burst at once, and then one in each interval.
pub struct KeyedLimiter<K: Hash + Eq + Clone, C: Clock = DefaultClock>(
    RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
);

impl<K: Hash + Eq + Clone> KeyedLimiter<K> {
    /// Limits each key to `burst` events at once, and then one in each `interval`, which is not
    /// zero.
    #[must_use]
    pub fn new(burst: NonZeroU32, interval: Duration) -> Self {
        Self::with_clock(burst, interval, DefaultClock::default())
    }
}

impl<K: Hash + Eq + Clone, C: Clock> KeyedLimiter<K, C> {
    /// Makes the same limiter with this clock.
    #[must_use]
    pub fn with_clock(burst: NonZeroU32, interval: Duration, clock: C) -> Self {
        let quota =
            Quota::with_period(interval).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        Self(RateLimiter::new(quota, HashMapStateStore::default(), clock))
    }

    /// Takes one event from the allowance of a key. Returns false where none is left.
    #[must_use]
    pub fn take(&self, key: &K) -> bool {
        if self.0.len() > MOST_KEYS {
            self.0.retain_recent();
        }
        self.0.check_key(key).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn each_key_has_its_burst_and_then_one_an_interval() {
        let clock = FakeRelativeClock::default();
        let burst = NonZeroU32::new(3).unwrap();
        let limiter = KeyedLimiter::with_clock(burst, Duration::from_mins(1), clock.clone());
        let taken = |key: &'static str, of: usize| (0..of).filter(|_| limiter.take(&key)).count();
        assert_eq!((taken("a", 100), taken("b", 2)), (3, 2));
        clock.advance(Duration::from_secs(59));
        assert_eq!(taken("a", 100), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(taken("a", 100), 1);
        clock.advance(Duration::from_hours(1));
        assert_eq!(taken("a", 100), 3);
    }
}
