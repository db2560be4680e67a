//! The parts of an index that only its owner has.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::id_filter::IdFilter;
use super::lock::IndexLock;
use super::writer::IndexWriter;

/// The parts of an index that only its owner has.
pub(super) struct OwnedIndex {
    pub slot: IndexLock,
    /// The ids that the index holds.
    pub ids: Arc<IdFilter>,
    /// The connection that writes; `None` where the file could not be made anew.
    pub writer: Mutex<Option<IndexWriter>>,
}

impl OwnedIndex {
    /// Locks the connection that writes.
    pub fn writer(&self) -> MutexGuard<'_, Option<IndexWriter>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
