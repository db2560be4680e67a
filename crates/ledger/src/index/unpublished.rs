//! Finds ended commands whose terminal event may be unpublished.

use rusqlite::Connection;

use super::error::IndexError;
use super::stored_id::read_ids;
use ferryd_domain::command_id::CommandId;

/// The ended commands whose terminal event may be unpublished, in the order in which this index
/// recorded their ends.
pub(super) const UNPUBLISHED: &str =
    "SELECT id FROM commands WHERE unpublished < ?1 ORDER BY unpublished LIMIT ?2";

/// Finds at most `limit` ended commands whose terminal event may be unpublished and whose end is
/// recorded here since before `before`.
pub(super) fn find(
    conn: &Connection,
    before: i64,
    limit: usize,
) -> Result<Vec<CommandId>, IndexError> {
    read_ids(conn, UNPUBLISHED, (before, i64::try_from(limit).unwrap_or(i64::MAX)))
}
