//! Finds ended commands whose terminal event may be unpublished.

use rusqlite::Connection;

use super::error::IndexError;
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
    let mut unpublished = conn.prepare_cached(UNPUBLISHED)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids = unpublished
        .query_map((before, limit), |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    let parsed = |id: String| {
        id.parse().map_err(|_| IndexError::Damaged(format!("`{id}` is no command id")))
    };
    ids.into_iter().map(parsed).collect()
}
