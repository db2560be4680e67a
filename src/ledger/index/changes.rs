//! What is saved in one go.

use std::sync::Arc;

use uuid::Uuid;

use crate::domain::command_id::CommandId;
use crate::domain::job::{JobId, JobState};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::RecordId;
use crate::domain::ledger::ruling::Ruling;

/// A place in the stream, and what lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The offset of the last message that was applied.
    pub offset: u64,
    /// A hash of that message, by which another stream of the same name is told.
    pub hash: u64,
}

/// A line of the ledger that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLine {
    /// Its place.
    pub id: RecordId,
    /// The line; only its start is kept.
    pub line: Vec<u8>,
    /// What is wrong with it.
    pub why: String,
}

/// The ruling on a record for which a person waits.
#[derive(Debug, Clone, PartialEq)]
pub struct NotedRuling {
    /// The record.
    pub id: RecordId,
    /// Its command.
    pub command: CommandId,
    /// The ruling.
    pub ruling: Ruling,
}

/// What reading on in the stream has changed.
#[derive(Debug, Clone)]
pub struct Changes {
    /// The commands that changed, as they are now. Those that are new are listed in this order, the last as the newest.
    pub cases: Vec<(CommandId, Arc<Case>)>,
    /// The highest number applied of each writer that was read.
    pub writers: Vec<(Uuid, u64)>,
    /// The jobs that changed, as they are now.
    pub jobs: Vec<(JobId, Arc<JobState>)>,
    /// What became of records for which a person waits.
    pub rulings: Vec<NotedRuling>,
    /// Lines that could not be read.
    pub unreadable: Vec<KeptLine>,
    /// How far this goes.
    pub checkpoint: Checkpoint,
}
