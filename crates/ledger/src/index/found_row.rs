//! A command that a search found.

use rusqlite::Row as SqlRow;

/// A command that a filter selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FoundRow {
    pub seq: i64,
    pub facet: i64,
    pub updated: i64,
}

impl FoundRow {
    /// Reads the first three columns of a row.
    pub fn read(row: &SqlRow<'_>) -> rusqlite::Result<Self> {
        Ok(Self { seq: row.get(0)?, facet: row.get(1)?, updated: row.get(2)? })
    }
}
