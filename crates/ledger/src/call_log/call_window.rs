//! The spans of time in which a command was called, and in which its calls are searched.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::transition::StateTransition;

/// The time before a window at which reading starts, because clocks differ.
pub(super) const EARLIER: Duration = Duration::from_mins(1);

/// The time after a window up to which the stream is read: a call is published soon after the
/// decision on it. A call that waited for the broker is found by a window that reaches to then.
pub(super) const LATER: Duration = Duration::from_mins(2);

/// The last part of a time of queries that is searched: its record has only begin and end.
const QUERIES_SEARCHED: SignedDuration = SignedDuration::from_hours(24);

/// A span of time of a call or a query: from its start to the decision on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallWindow {
    /// The begin of the span.
    pub from: Timestamp,
    /// The end of the span.
    pub to: Timestamp,
}

impl CallWindow {
    /// Lists the spans of a command's calls and queries, by its history; an open span ends at
    /// `now`.
    #[must_use]
    pub fn of_calls(state: &CommandState, now: Timestamp) -> Vec<Self> {
        let next = |index: usize| state.history.get(index + 1).map_or(now, |next| next.at);
        let window = |(index, StateTransition { at, reason, .. }): (usize, &StateTransition)| {
            let to = next(index).max(*at);
            match reason.as_str() {
                "started" => Some(Self { from: *at, to }),
                "waiting" | "lookup" => Some(Self {
                    from: to.saturating_sub(QUERIES_SEARCHED).unwrap_or(*at).max(*at),
                    to,
                }),
                _ => None,
            }
        };
        state.history.iter().enumerate().filter_map(window).collect()
    }
}

/// Returns the spans, in seconds since 1970, in which calls of these windows may have begun.
#[must_use]
pub fn spans(windows: &[CallWindow]) -> Vec<RangeInclusive<u64>> {
    merged(windows).iter().map(|window| starts(window)..=ends(window)).collect()
}

/// Sorts windows by time, and joins those that overlap, the time that is read around them included.
pub(super) fn merged(windows: &[CallWindow]) -> Vec<CallWindow> {
    let mut sorted = windows.to_vec();
    sorted.sort_unstable_by_key(|window| window.from);
    let mut merged: Vec<CallWindow> = Vec::with_capacity(sorted.len());
    for window in sorted {
        match merged.last_mut() {
            Some(last) if starts(&window) <= ends(last) => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

/// Returns the second from which on the stream is read for a window.
pub(super) fn starts(window: &CallWindow) -> u64 {
    u64::try_from(window.from.as_second()).unwrap_or_default().saturating_sub(EARLIER.as_secs())
}

/// Returns the second up to which the stream is read for a window.
pub(super) fn ends(window: &CallWindow) -> u64 {
    u64::try_from(window.to.as_second()).unwrap_or_default().saturating_add(LATER.as_secs())
}
