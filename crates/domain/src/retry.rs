//! The retry schedule: the ladder of delay queues, and the policy that chooses a rung.
//!
//! Time and randomness are arguments, so that a schedule can be printed and tested.

use std::time::Duration;

/// One delay queue of the ladder. Its TTL is a constant of the queue's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rung(usize);

/// Names and seconds of all rungs, shortest first.
const LADDER: [(&str, u64); 14] = [
    ("1s", 1),
    ("2s", 2),
    ("5s", 5),
    ("15s", 15),
    ("30s", 30),
    ("1m", 60),
    ("2m", 120),
    ("5m", 300),
    ("10m", 600),
    ("30m", 1_800),
    ("1h", 3_600),
    ("2h", 7_200),
    ("6h", 21_600),
    ("12h", 43_200),
];

impl Rung {
    /// The shortest rung.
    pub const SHORTEST: Self = Self(0);
    /// The longest rung.
    pub const LONGEST: Self = Self(LADDER.len() - 1);

    /// Iterates over all rungs, shortest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LADDER.len()).map(Self)
    }

    /// Returns the name of the rung in queue names and routing keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        LADDER[self.0].0
    }

    /// Returns the time for which a message stays on the rung.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(LADDER[self.0].1)
    }

    /// Returns the shortest rung not below `delay`, for retries, which must not come early. The
    /// longest where none is long enough.
    #[must_use]
    pub fn at_least(delay: Duration) -> Self {
        Self::all().find(|rung| rung.duration() >= delay).unwrap_or(Self::LONGEST)
    }

    /// Returns the longest rung not above `delay`, for scheduled times, which are reached in
    /// several hops. The shortest where none is short enough.
    #[must_use]
    pub fn at_most(delay: Duration) -> Self {
        Self::all().take_while(|rung| rung.duration() <= delay).last().unwrap_or(Self::SHORTEST)
    }

    fn shorter(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    fn longer(self) -> Self {
        Self((self.0 + 1).min(LADDER.len() - 1))
    }
}

/// The policy of a command's retries: their number and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The wanted delay after each failed attempt; there is one attempt more than entries.
    pub schedule: Vec<Duration>,
    /// No attempt starts later than this after the first.
    pub give_up_after: Duration,
    /// True if a neighbouring rung is taken at random, so that retries of one outage do not come
    /// back together.
    pub jitter: bool,
}

impl Default for RetryPolicy {
    /// Returns 8 attempts over 8.7 hours: `5s 30s 2m 10m 30m 2h 6h`, given up after 24 h.
    fn default() -> Self {
        let schedule = [5, 30, 120, 600, 1_800, 7_200, 21_600].map(Duration::from_secs).to_vec();
        Self { schedule, give_up_after: Duration::from_hours(24), jitter: true }
    }
}

impl RetryPolicy {
    /// Returns the rung to wait on after attempt number `failed` (from 1); `None` when the attempts
    /// are used up.
    ///
    /// `hint` is the provider's `Retry-After`: never undercut, and capped by the schedule's longest
    /// delay. `random` is uniform in `[0, 1)`; a quarter each takes the shorter and the longer
    /// neighbour.
    #[must_use]
    pub fn next(&self, failed: u32, hint: Option<Duration>, random: f64) -> Option<Rung> {
        let index = usize::try_from(failed.saturating_sub(1)).unwrap_or(usize::MAX);
        let wanted = *self.schedule.get(index)?;
        let cap = self.schedule.iter().max().copied().unwrap_or(wanted);
        let floor = Rung::at_least(hint.unwrap_or_default().min(cap));
        let rung = Rung::at_least(wanted);
        let jittered = match random {
            _ if !self.jitter => rung,
            r if r < 0.25 => rung.shorter(),
            r if r >= 0.75 => rung.longer(),
            _ => rung,
        };
        Some(if hint.is_some() { jittered.max(floor) } else { jittered })
    }

    /// Returns the number of calls that the schedule allows.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.schedule.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_retry_never_comes_before_the_wanted_delay() {
        for (delay, rung) in [
            (0, "1s"),
            (1, "1s"),
            (3, "5s"),
            (16, "30s"),
            (61, "2m"),
            (43_200, "12h"),
            (99_999, "12h"),
        ] {
            assert_eq!(Rung::at_least(secs(delay)).name(), rung, "{delay}");
        }
    }

    #[test]
    fn a_scheduled_time_is_never_overshot_by_more_than_the_shortest_rung() {
        for (delay, rung) in
            [(0, "1s"), (1, "1s"), (4, "2s"), (59, "30s"), (43_199, "6h"), (1_000_000, "12h")]
        {
            assert_eq!(Rung::at_most(secs(delay)).name(), rung, "{delay}");
        }
    }

    #[test]
    fn the_default_schedule_is_the_documented_one() {
        let policy = RetryPolicy { jitter: false, ..RetryPolicy::default() };
        let rungs: Vec<_> =
            (1..).map_while(|failed| policy.next(failed, None, 0.5)).map(Rung::name).collect();
        assert_eq!(rungs, ["5s", "30s", "2m", "10m", "30m", "2h", "6h"]);
        assert_eq!(policy.attempts(), 8);
        let hours = policy.schedule.iter().sum::<Duration>().as_secs_f64() / 3600.0;
        assert!((8.70..8.72).contains(&hours), "{hours}");
    }

    #[test]
    fn jitter_takes_a_neighbour() {
        let policy = RetryPolicy::default();
        for (random, rung) in
            [(0.0, "15s"), (0.24, "15s"), (0.25, "30s"), (0.74, "30s"), (0.75, "1m"), (0.99, "1m")]
        {
            assert_eq!(policy.next(2, None, random).map(Rung::name), Some(rung), "{random}");
        }
    }

    #[test]
    fn a_hint_is_kept_to_and_capped_by_the_longest_delay_of_the_schedule() {
        let policy = RetryPolicy { schedule: vec![secs(5), secs(60)], ..RetryPolicy::default() };
        for (hint, random, rung) in
            [(20, 0.0, "30s"), (1, 0.5, "5s"), (1, 0.0, "2s"), (7_200, 0.0, "1m")]
        {
            assert_eq!(
                policy.next(1, Some(secs(hint)), random).map(Rung::name),
                Some(rung),
                "{hint} {random}"
            );
        }
    }

    proptest! {
        #[test]
        fn rungs_bracket_every_delay(seconds in 1_u64..43_200) {
            prop_assert!(Rung::at_least(secs(seconds)).duration() >= secs(seconds));
            prop_assert!(Rung::at_most(secs(seconds)).duration() <= secs(seconds));
        }

        #[test]
        fn attempts_always_end(failed in 1_u32.., random in 0.0..1.0_f64) {
            let policy = RetryPolicy::default();
            prop_assert_eq!(policy.next(failed, None, random).is_some(), failed < 8);
        }
    }
}
