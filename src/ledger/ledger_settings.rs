//! The times that the ledger keeps and waits.

use std::time::Duration;

/// The times for which the index keeps contents and ids of a command that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRetention {
    /// The time for which its contents are kept: results and texts.
    pub contents: Duration,
    /// The time for which its ids and the digest of its content are kept, by which a duplicate is told.
    pub duplicate_window: Duration,
}

impl LedgerRetention {
    /// Keeps contents for as long as ids.
    #[must_use]
    pub const fn whole(duplicate_window: Duration) -> Self {
        Self { contents: duplicate_window, duplicate_window }
    }
}

/// How patient the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSettings {
    /// For how long commands that have ended are remembered.
    pub retention: LedgerRetention,
    /// The longest time for what was confirmed to be read back, before it is written once more; the patience of a
    /// barrier too.
    pub read_back: Duration,
    /// How long what was appended may take to be read back before no decision should be made any more.
    pub lagging_after: Duration,
    /// How often a marker is appended where nothing else is, so that a silent stream is noticed.
    pub heartbeat: Duration,
    /// The time between two looks for commands that ended long ago and are to be forgotten.
    pub forget_every: Duration,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            retention: LedgerRetention::whole(Duration::from_hours(60 * 24)),
            read_back: Duration::from_secs(5),
            lagging_after: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            forget_every: Duration::from_mins(10),
        }
    }
}
