//! The standing of a destination of messages, by its latest answers.

use std::time::Duration;

use tokio::time::Instant;

/// The time without a confirm after which a destination counts as down.
pub(super) const DOWN_AFTER: Duration = Duration::from_secs(5);
/// The shortest and the longest pause before a refused message is published again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The standing of a destination, by its latest answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum DestinationHealth {
    /// The destination confirms.
    #[default]
    Up,
    /// The destination has refused a message, or not answered, and confirmed none since. It still
    /// gets every message.
    Troubled {
        /// The time at which the first such message was published.
        since: Instant,
    },
    /// The destination gets one message at a time, to find out when it confirms again.
    Down {
        /// The time at which the first message was published that the destination did not take.
        since: Instant,
        /// The number of messages that the destination has refused since it counts as down.
        probes: u32,
        /// The time of the next probe.
        next: Instant,
    },
}

/// The change of standing that an answer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HealthChange {
    /// No change that has to be reported.
    None,
    /// The destination counts as down from now on.
    WentDown,
    /// The destination confirms again, after having been down for this long.
    CameUp(Duration),
}

impl DestinationHealth {
    pub(super) fn is_down(&self) -> bool {
        matches!(self, Self::Down { .. })
    }

    /// Records a confirm.
    pub(super) fn confirm(&mut self, now: Instant) -> HealthChange {
        match std::mem::take(self) {
            Self::Down { since, .. } => HealthChange::CameUp(now - since),
            Self::Up | Self::Troubled { .. } => HealthChange::None,
        }
    }

    /// Records that a message, published at `sent`, was not confirmed.
    pub(super) fn refuse(&mut self, sent: Instant, now: Instant) -> HealthChange {
        match *self {
            Self::Up => *self = Self::Troubled { since: sent },
            Self::Troubled { .. } => {}
            Self::Down { since, probes, .. } => {
                let probes = probes.saturating_add(1);
                *self = Self::Down { since, probes, next: now + pause(probes) };
            }
        }
        match *self {
            Self::Troubled { since } if now - since >= DOWN_AFTER => {
                *self = Self::Down { since, probes: 0, next: now + pause(0) };
                HealthChange::WentDown
            }
            _ => HealthChange::None,
        }
    }
}

/// Returns the pause before the next attempt, after so many failures.
pub(super) fn pause(failures: u32) -> Duration {
    let (shortest, longest) = PAUSES;
    shortest.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_destination_is_down_once_it_has_confirmed_nothing_for_a_while() {
        let start = Instant::now();
        let mut standing = DestinationHealth::default();
        for seconds in 0..5 {
            assert_eq!(standing.refuse(start, start + SECOND * seconds), HealthChange::None);
            assert!(!standing.is_down(), "{seconds}");
        }
        assert_eq!(standing.refuse(start + SECOND * 5, start + SECOND * 5), HealthChange::WentDown);
        assert!(standing.is_down());
    }

    #[test]
    fn one_message_without_an_answer_for_long_enough_is_enough() {
        let start = Instant::now();
        let mut standing = DestinationHealth::default();
        assert_eq!(standing.refuse(start, start + DOWN_AFTER), HealthChange::WentDown);
    }

    #[test]
    fn a_confirm_in_between_begins_anew() {
        let start = Instant::now();
        let mut standing = DestinationHealth::default();
        let _ = standing.refuse(start, start + SECOND * 4);
        assert_eq!(standing.confirm(start + SECOND * 4), HealthChange::None);
        assert_eq!(standing.refuse(start + SECOND * 4, start + SECOND * 8), HealthChange::None);
        assert!(!standing.is_down());
    }

    #[test]
    fn what_is_down_is_tried_ever_more_rarely_and_is_up_with_the_first_confirm() {
        let start = Instant::now();
        let mut standing = DestinationHealth::default();
        let _ = standing.refuse(start, start + DOWN_AFTER);
        let mut now = start + DOWN_AFTER;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let DestinationHealth::Down { next, .. } = standing else {
                unreachable!("{standing:?}")
            };
            pauses.push((next - now).as_millis());
            now = next;
            assert_eq!(standing.refuse(now, now), HealthChange::None);
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(standing.confirm(now), HealthChange::CameUp(now - start));
        assert_eq!(standing, DestinationHealth::Up);
    }
}
