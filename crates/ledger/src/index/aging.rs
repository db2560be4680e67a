//! Removes the contents of commands that are over, once they are older than the retention of
//! contents, a few at a time.

use rusqlite::{Connection, TransactionBehavior};

use super::body::{read_body, write_body};
use super::error::IndexError;
use super::prune::CHUNK;
use super::retention::AGED;
use super::stored_id::read_id;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;

/// The commands that are over and have their contents, by their last change.
pub(super) const WITH_CONTENTS: &str = "SELECT seq, id, body FROM commands JOIN bodies USING (seq) \
     WHERE over = 1 AND removal = 0 AND updated < ?1 ORDER BY updated LIMIT ?2";

/// Removes the contents of commands that last changed before `older_than`, and returns the ids of
/// those commands.
pub(super) fn age(conn: &mut Connection, older_than: i64) -> Result<Vec<CommandId>, IndexError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut found = tx.prepare_cached(WITH_CONTENTS)?;
    let mut rows = found.query((older_than, i64::try_from(CHUNK).unwrap_or(0)))?;
    let mut old: Vec<(i64, CommandId, CommandState)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = read_id(row.get_ref(1)?)?;
        let state = read_body(&id, row.get_ref(2)?.as_blob()?)?;
        old.push((row.get(0)?, id, state));
    }
    drop(rows);
    drop(found);
    // In the order of the rows, so that whole pages are removed.
    old.sort_unstable_by_key(|(seq, ..)| *seq);
    let mut take_out = tx.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?;
    let mut put_back = tx.prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?;
    let mut mark = tx.prepare_cached("UPDATE commands SET removal = ?2 WHERE seq = ?1")?;
    for (seq, ..) in &old {
        take_out.execute([seq])?;
    }
    let mut aged = Vec::with_capacity(old.len());
    let mut body = Vec::new();
    for (seq, id, state) in old {
        body.clear();
        write_body(&id, &state.without_contents().unwrap_or(state), &mut body);
        put_back.execute((seq, &body))?;
        mark.execute((seq, AGED))?;
        aged.push(id);
    }
    drop((take_out, put_back, mark));
    tx.commit()?;
    Ok(aged)
}
