//! The changes that one transaction saves to the index.

use std::sync::Arc;

use uuid::Uuid;

use super::packed_state::CachedState;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobId, JobState};
use ferryd_domain::ledger::record::RecordId;

/// A position in the stream, and a hash of the message there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexCheckpoint {
    /// The offset of the last message that was applied.
    pub offset: u64,
    /// A hash of that message, by which another stream of the same name is recognised.
    pub hash: u64,
}

/// A line of the ledger that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableEntry {
    /// The id that a record in the line's place has.
    pub id: RecordId,
    /// The line; only its start is kept.
    pub line: Vec<u8>,
    /// The reason why the line can't be read.
    pub why: String,
}

/// The changes that applying more of the stream has made.
#[derive(Debug, Clone)]
pub struct IndexChanges {
    /// The changed commands in their new state. Those that are new are listed in this order, the
    /// last as the newest.
    pub cases: Vec<(CommandId, CachedState)>,
    /// The highest number applied of each writer that was read.
    pub writers: Vec<(Uuid, u64)>,
    /// The changed jobs in their new state.
    pub jobs: Vec<(JobId, Arc<JobState>)>,
    /// Lines that could not be read.
    pub unreadable: Vec<UnreadableEntry>,
    /// The last message that these changes include.
    pub checkpoint: IndexCheckpoint,
}
