//! Prunes commands that have ended, a few at a time, so that no other write waits for long.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior};

use super::body::read_body;
use super::error::IndexError;
use super::reference::{KeyRemover, remove_old_keys};
use super::retention::{AGED, ERASED, WITH_CONTENTS};
use super::stored_id::read_id;
use super::{call_offsets, jobs};

/// The maximum number of commands that are pruned in one transaction.
pub(super) const CHUNK: usize = 500;

/// A command that was over when it was searched, and its last change by then.
pub(super) struct EndedRow {
    seq: i64,
    facet: i64,
}

/// The commands that are over with this much of their contents removed, by their last change.
pub(super) const OVER: &str = "SELECT seq, facet FROM commands \
     WHERE over = 1 AND removal = ?3 AND updated < ?1 ORDER BY updated LIMIT ?2";

/// A command that was found to be over, unless it has changed since.
const UNCHANGED: &str = "SELECT id, body FROM commands JOIN bodies USING (seq) \
     WHERE seq = ?1 AND over = 1 AND facet = ?2 AND updated < ?3";

/// Finds commands that are over since before `older_than`, those with the least contents first.
pub(super) fn find(conn: &Connection, older_than: i64) -> Result<Vec<EndedRow>, IndexError> {
    let read = |row: &rusqlite::Row<'_>| Ok(EndedRow { seq: row.get(0)?, facet: row.get(1)? });
    let mut over = conn.prepare_cached(OVER)?;
    let mut found = Vec::new();
    for removal in [ERASED, AGED, WITH_CONTENTS] {
        let rest = i64::try_from(CHUNK - found.len()).unwrap_or(0);
        for row in over.query_map((older_than, rest, removal), read)? {
            found.push(row?);
        }
    }
    Ok(found)
}

/// Prunes commands, unless they have changed, and other rows that have not been used since before
/// `older_than`. Returns the number of pruned commands. Writers of one record only are pruned if
/// older than `visitors_before`.
pub(super) fn prune_commands(
    conn: &mut Connection,
    over: &[EndedRow],
    older_than: i64,
    visitors_before: i64,
) -> Result<usize, IndexError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts: HashMap<i64, i64> = HashMap::new();
    let mut find = tx.prepare_cached(UNCHANGED)?;
    let mut command = tx.prepare_cached("DELETE FROM commands WHERE seq = ?1")?;
    let mut body = tx.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?;
    let mut keys = KeyRemover::prepare(&tx)?;
    for EndedRow { seq, facet } in over {
        let mut found = find.query((seq, facet, older_than))?;
        let Some(row) = found.next()? else { continue };
        let id = read_id(row.get_ref(0)?)?;
        keys.remove(*seq, &read_body(&id, row.get_ref(1)?.as_blob()?)?)?;
        command.execute([seq])?;
        body.execute([seq])?;
        *counts.entry(*facet).or_default() += 1;
    }
    remove_old_keys(&tx)?;
    let mut less = tx.prepare_cached("UPDATE facets SET count = count - ?2 WHERE facet = ?1")?;
    for count in &counts {
        less.execute(count)?;
    }
    drop((find, command, body, keys, less));
    tx.execute("DELETE FROM facets WHERE count = 0", ())?;
    // A process that has written nothing for so long has ended, and repeats nothing.
    tx.execute("DELETE FROM writers WHERE seen < ?1", [older_than])?;
    // The same holds for a writer of nothing but a first record, a marker: a command of the command
    // line.
    tx.execute("DELETE FROM writers WHERE number = 1 AND seen < ?1", [visitors_before])?;
    call_offsets::prune_calls(&tx, older_than)?;
    jobs::prune_jobs(&tx, older_than)?;
    tx.execute("UPDATE meta SET value = max(value, ?1) WHERE name = 'oldest'", [older_than])?;
    tx.commit()?;
    Ok(usize::try_from(counts.values().sum::<i64>()).unwrap_or(0))
}
