//! The pauses between attempts to keep a session with the broker.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// The shortest and the longest pause between two attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The age from which on a session counts as stable: after it the pauses begin anew.
const SETTLED: Duration = Duration::from_secs(10);

/// Lengthens the pauses between attempts, whether an attempt fails to connect or connects and dies
/// at once. Between the attempts of one round, which tries every node once, there are none.
pub(super) struct ReconnectPauses {
    nodes: u64,
    failures: u64,
    pauses: ExponentialBackoff,
}

impl ReconnectPauses {
    /// Creates the pauses between rounds of attempts at so many nodes, before the first failure.
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes: u64::try_from(nodes).unwrap_or(u64::MAX).max(1),
            failures: 0,
            pauses: pauses(),
        }
    }

    /// Returns the pause after a session that has `lived` for so long; zero after a stable one.
    pub(super) fn after_session(&mut self, lived: Duration) -> Duration {
        if lived >= SETTLED {
            (self.failures, self.pauses) = (0, pauses());
            return Duration::ZERO;
        }
        self.after_failure()
    }

    /// Returns the pause after an attempt that did not connect.
    pub(super) fn after_failure(&mut self) -> Duration {
        self.failures += 1;
        if !self.failures.is_multiple_of(self.nodes) {
            return Duration::ZERO;
        }
        self.pauses.next().unwrap_or(PAUSES.1)
    }

    /// Returns the number of attempts that failed one after the other.
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }
}

/// Creates the back-off: doubling from 0.25 s to 10 s, without an end. Each pause is prolonged at
/// random by up to its own length, so that instances do not reconnect at the same time.
fn pauses() -> ExponentialBackoff {
    let (shortest, longest) = PAUSES;
    ExponentialBuilder::new()
        .with_min_delay(shortest)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(failures: u32) -> Duration {
        PAUSES.0.saturating_mul(1 << failures.min(10)).min(PAUSES.1)
    }

    #[test]
    fn pauses_grow_to_a_bound_and_never_end() {
        let mut reconnect = ReconnectPauses::new(1);
        for failures in 0..1_000 {
            let pause = reconnect.after_failure();
            assert!(
                pause >= least(failures) && pause <= least(failures) * 2,
                "{failures}: {pause:?}"
            );
        }
        assert_eq!(reconnect.failures(), 1_000);
    }

    #[test]
    fn every_node_is_tried_before_there_is_a_pause() {
        let mut reconnect = ReconnectPauses::new(3);
        for round in 0..4 {
            for _ in 0..2 {
                assert_eq!(reconnect.after_failure(), Duration::ZERO, "{round}");
            }
            assert!(reconnect.after_session(Duration::ZERO) >= least(round), "{round}");
        }
        assert_eq!(reconnect.failures(), 12);
    }

    #[test]
    fn sessions_that_die_at_once_are_paused_after_like_attempts_that_fail_until_one_has_lived_for_ten_seconds()
     {
        let mut reconnect = ReconnectPauses::new(1);
        for failures in 0..6 {
            let pause = match failures % 2 {
                0 => reconnect.after_session(Duration::from_millis(9_999)),
                _ => reconnect.after_failure(),
            };
            assert!(pause >= least(failures), "{failures}: {pause:?}");
        }
        assert_eq!(reconnect.after_session(Duration::from_secs(10)), Duration::ZERO);
        assert_eq!(reconnect.failures(), 0);
        assert!(reconnect.after_session(Duration::ZERO) <= least(0) * 2, "the pauses begin anew");
    }
}
