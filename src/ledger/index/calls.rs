//! The index, asked where the calls of commands are.

use std::ops::RangeInclusive;

use super::Index;
use super::call_offsets::{CallCheckpoint, CallMessage, NotedCalls, checkpoint, find};
use super::error::IndexError;
use super::writer::Writer;
use crate::domain::command_id::CommandId;

impl Index {
    /// Reads how far the stream of exchanges is noted; `None` where nothing of it is.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn call_checkpoint(&self) -> Result<Option<CallCheckpoint>, IndexError> {
        self.read(checkpoint)
    }

    /// Notes messages of the stream of exchanges that follow on `after`, the last of them at `reached`. Returns false, and notes
    /// nothing, where something else is noted by now: the index was made anew.
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

    /// Forgets what is noted of the stream of exchanges, because it is another one.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn clear_calls(&self) -> Result<(), IndexError> {
        self.write(Writer::clear_calls)
    }

    /// Finds the messages of the stream of exchanges that may hold calls of a command which began in one of these spans, in
    /// seconds since 1970; `None` where nothing of that stream is noted.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn noted_calls(
        &self,
        command: &CommandId,
        spans: &[RangeInclusive<u64>],
    ) -> Result<Option<NotedCalls>, IndexError> {
        self.snapshot(|conn| find(conn, command, spans))
    }
}
