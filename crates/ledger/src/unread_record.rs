//! A record of this process that was not read back yet.

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use ferryd_domain::ledger::record::{AnyRecord, LedgerLine, RecordId};
use ferryd_domain::ledger::ruling::Ruling;

/// Sends the ruling on a record to its appender.
pub(super) type RulingWaiter = oneshot::Sender<(RecordId, Ruling)>;

/// A record that was not read back yet.
pub(super) struct UnreadRecord {
    /// The number of the record among those of this process.
    pub number: u64,
    /// `None` for a marker.
    pub record: Option<AnyRecord>,
    /// The size of the record's line.
    pub bytes: usize,
    /// The appender, if one waits.
    pub waiter: Option<RulingWaiter>,
    /// Gives the record's bytes back to the budget when dropped.
    pub permit: Option<OwnedSemaphorePermit>,
    /// The time at which the record was queued.
    pub since: Instant,
    /// The time at which the broker confirmed the record.
    pub confirmed: Option<Instant>,
}

impl UnreadRecord {
    /// Returns true if nobody waits for the record.
    pub fn is_note(&self) -> bool {
        self.record.is_some() && self.waiter.is_none()
    }

    /// Encodes the record as a line, without a line break.
    pub fn line(&self) -> Vec<u8> {
        self.record
            .as_ref()
            .map_or_else(|| LedgerLine::marker_line(Timestamp::now()), AnyRecord::encode)
    }

    /// Sends the ruling to the appender, and gives the record's bytes back to the budget.
    pub fn send_ruling(self, id: RecordId, ruling: Ruling) {
        if let Some(waiter) = self.waiter {
            // The appender may have stopped waiting.
            let _ = waiter.send((id, ruling));
        }
        drop(self.permit);
    }
}
