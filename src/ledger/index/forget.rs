//! Letting go of what is over, a little at a time, so that nobody waits for it.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior};

use super::error::IndexError;
use super::{call_offsets, jobs};
use crate::domain::ledger::case::{Case, Phase};

/// The most commands that are forgotten in one go.
pub(super) const CHUNK: usize = 500;

/// A command that is over, and where it was when it was looked for.
pub(super) struct Over {
    seq: i64,
    facet: i64,
}

/// The commands that are over, by their last change.
pub(super) const OVER: &str =
    "SELECT seq, facet FROM commands WHERE over = 1 AND updated < ?1 ORDER BY updated LIMIT ?2";

/// Tells whether a command is over. A dead letter is not: somebody has to decide about it. Neither is one of which
/// something may not have been published. A request to cancel a command that never came is.
pub(super) fn is_over(case: &Case) -> bool {
    let is_published = !matches!(case.phase, Phase::Decided { effects: Some(_), .. });
    match &case.ending {
        Some(ending) => !ending.is_dead() && is_published,
        None => case.opening.is_none() && case.phase == Phase::Open,
    }
}

/// Commands that are over since before `older_than`, oldest first.
pub(super) fn find(conn: &Connection, older_than: i64) -> Result<Vec<Over>, IndexError> {
    let read = |row: &rusqlite::Row<'_>| Ok(Over { seq: row.get(0)?, facet: row.get(1)? });
    let mut over = conn.prepare_cached(OVER)?;
    Ok(over.query_map((older_than, i64::try_from(CHUNK).unwrap_or(0)), read)?.collect::<Result<_, _>>()?)
}

/// Forgets commands, unless they have changed, and what else nobody has asked for since before `older_than`. Returns how many
/// commands it was. Writers that wrote one record only, and rulings, are forgotten where that was before `visitors_before`.
pub(super) fn forget(
    conn: &mut Connection,
    over: &[Over],
    older_than: i64,
    visitors_before: i64,
) -> rusqlite::Result<usize> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut counts: HashMap<i64, i64> = HashMap::new();
    let mut command =
        tx.prepare_cached("DELETE FROM commands WHERE seq = ?1 AND over = 1 AND facet = ?2 AND updated < ?3")?;
    let mut body = tx.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?;
    for Over { seq, facet } in over {
        if command.execute((seq, facet, older_than))? == 1 {
            body.execute([seq])?;
            *counts.entry(*facet).or_default() += 1;
        }
    }
    let mut less = tx.prepare_cached("UPDATE facets SET count = count - ?2 WHERE facet = ?1")?;
    for count in &counts {
        less.execute(count)?;
    }
    drop((command, body, less));
    tx.execute("DELETE FROM facets WHERE count = 0", ())?;
    // A process that writes nothing for so long has ended, and repeats nothing.
    tx.execute("DELETE FROM writers WHERE seen < ?1", [older_than])?;
    // Nor does one that has written nothing but its first record, a marker: a command of the command line.
    tx.execute("DELETE FROM writers WHERE number = 1 AND seen < ?1", [visitors_before])?;
    // Nor does anybody wait so long for what became of a record; it may hold contents of a command.
    tx.execute("DELETE FROM rulings WHERE at < ?1", [visitors_before])?;
    call_offsets::forget(&tx, older_than)?;
    jobs::forget(&tx, older_than)?;
    tx.execute("UPDATE meta SET value = max(value, ?1) WHERE name = 'oldest'", [older_than])?;
    tx.commit()?;
    Ok(usize::try_from(counts.values().sum::<i64>()).unwrap_or(0))
}
