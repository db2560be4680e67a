//! Reads and writes the offsets of calls in the index.

use std::ops::RangeInclusive;

use super::LedgerIndex;
use super::call_offsets::{CallCheckpoint, CallMessage, IndexedCalls, checkpoint, find};
use super::error::IndexError;
use super::writer::IndexWriter;
use ferryd_domain::command_id::CommandId;

impl LedgerIndex {
    /// Reads how far the stream of calls is recorded; `None` where nothing of it is.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn call_checkpoint(&self) -> Result<Option<CallCheckpoint>, IndexError> {
        self.read(checkpoint)
    }

    /// Records messages of the stream of calls that follow on `after`, the last of them at
    /// `reached`. Returns false, and records nothing, if another checkpoint is recorded by now: the
    /// index was made anew.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn note_calls(
        &self,
        after: Option<CallCheckpoint>,
        messages: &[CallMessage],
        reached: CallCheckpoint,
    ) -> Result<bool, IndexError> {
        self.write(|writer| writer.note_calls(after, messages, reached))
    }

    /// Deletes the recorded offsets of the stream of calls, because the stream is another one.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn clear_calls(&self) -> Result<(), IndexError> {
        self.write(IndexWriter::clear_calls)
    }

    /// Finds the messages of the stream of calls that may hold calls of a command which began in
    /// one of these spans, in seconds since 1970; `None` where nothing of that stream is recorded.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn noted_calls(
        &self,
        command: &CommandId,
        spans: &[RangeInclusive<u64>],
    ) -> Result<Option<IndexedCalls>, IndexError> {
        self.snapshot(|conn| find(conn, command, spans))
    }
}
