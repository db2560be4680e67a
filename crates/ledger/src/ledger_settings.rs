//! The times that the ledger keeps and waits.

use std::time::Duration;

/// The times for which the index keeps contents and ids of a command that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerRetention {
    /// The time for which results and texts of an ended command are kept.
    pub contents: Duration,
    /// The time for which ids and the digest of the content are kept, by which a duplicate is
    /// recognised.
    pub duplicate_window: Duration,
}

impl LedgerRetention {
    /// Keeps contents for as long as ids.
    #[must_use]
    pub const fn keep_contents(duplicate_window: Duration) -> Self {
        Self { contents: duplicate_window, duplicate_window }
    }
}

/// The time limits of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerSettings {
    /// The times for which ended commands are kept.
    pub retention: LedgerRetention,
    /// The longest time from a record's confirm to its reading back, before it is written once
    /// more. A barrier waits for as long.
    pub read_back: Duration,
    /// The time without reading an appended record back after which the ledger is lagging and no
    /// decision should be made.
    pub lagging_after: Duration,
    /// The interval of markers, which are appended when no other record is, so that a silent stream
    /// is noticed.
    pub heartbeat: Duration,
    /// The interval between two searches for ended commands to prune.
    pub forget_every: Duration,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            retention: LedgerRetention::keep_contents(Duration::from_hours(60 * 24)),
            read_back: Duration::from_secs(5),
            lagging_after: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            forget_every: Duration::from_mins(10),
        }
    }
}
