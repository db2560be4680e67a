//! Reads the ids of commands from rows.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Params};

use super::error::IndexError;
use ferryd_domain::command_id::CommandId;

/// Reads an id of a command.
pub(super) fn read_id(value: ValueRef<'_>) -> Result<CommandId, IndexError> {
    let id = value.as_str()?;
    id.parse().map_err(|_| IndexError::Damaged(format!("`{id}` is no command id")))
}

/// Reads the ids that a query selects.
pub(super) fn read_ids(
    conn: &Connection,
    query: &str,
    parameters: impl Params,
) -> Result<Vec<CommandId>, IndexError> {
    let mut find = conn.prepare_cached(query)?;
    let mut rows = find.query(parameters)?;
    let mut ids = Vec::new();
    while let Some(row) = rows.next()? {
        ids.push(read_id(row.get_ref(0)?)?);
    }
    Ok(ids)
}
