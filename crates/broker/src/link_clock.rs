//! The clock of a link. Tasks that wait for a confirm look at the clock at each of its ticks, so that
//! no message needs a timer of its own.

use std::time::Duration;

use tokio::time::Instant;

/// The time for which the broker has taken messages on a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkClock {
    /// The time of the latest tick.
    now: Instant,
    /// The time from which on the broker takes messages; `None` while it blocks publishers.
    open_since: Option<Instant>,
}

impl LinkClock {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { now, open_since: Some(now) }
    }

    /// Sets the clock to the present.
    pub(super) fn tick(&mut self) {
        self.now = Instant::now();
    }

    /// Records that the broker blocks publishers, or takes messages again.
    pub(super) fn block(&mut self, is_blocked: bool) {
        self.tick();
        self.open_since = (!is_blocked).then_some(self.now);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.open_since.is_none()
    }

    /// Returns true once `timeout` has passed in one piece since a message was `sent`, without the
    /// broker blocking publishers. While it blocks them (a memory or disk alarm), confirms may take
    /// for ever, and publishing again would only add copies.
    pub(super) fn is_overdue(&self, sent: Instant, timeout: Duration) -> bool {
        self.open_since.is_some_and(|open| self.now.duration_since(open.max(sent)) >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_overdue_once_the_broker_has_taken_messages_for_the_whole_time_since() {
        let second = Duration::from_secs(1);
        let start = Instant::now();
        let at = |now, open_since: Option<u32>| LinkClock {
            now: start + second * now,
            open_since: open_since.map(|open| start + second * open),
        };
        for (now, open_since, sent, is_overdue) in [
            (12, Some(0), 2, true),
            (11, Some(0), 2, false),
            // The latest tick was before the message was sent.
            (11, Some(0), 12, false),
            (30, None, 2, false),
            (30, Some(21), 2, false),
            (31, Some(21), 2, true),
        ] {
            assert_eq!(
                at(now, open_since).is_overdue(start + second * sent, second * 10),
                is_overdue,
                "{now} {open_since:?} {sent}"
            );
        }
    }
}
