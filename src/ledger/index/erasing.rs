//! Erasing for good what was taken out of the index: from its tables, from the pages that held it, and from the file beside the
//! database.
//!
//! `secure_delete` writes zeros over what is deleted. It does not reach the copies that `SQLite` leaves behind where it moves rows
//! from one page to the next, because a row beside them has grown. Those lie in pages that hold neighbours of the row. A page that
//! is emptied is zeroed as a whole, so the neighbours are taken out and put back.

use rusqlite::Connection;

use super::forget;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::domain::ledger::erasure::ContentRemoval;

/// The rank of a command whose contents are here.
const WITH_CONTENTS: i64 = 0;
/// The rank of a command whose contents are older than they are kept, or that has none.
pub(super) const AGED: i64 = 1;
/// The rank of a command whose contents were erased.
pub(super) const ERASED: i64 = 2;

/// The number of neighbours of an erased row that are written anew, on either side: more than share pages with it, or ever did.
const NEIGHBOURS: i64 = 64;

/// A command that is erased, and its row.
pub(super) struct ErasedRow {
    pub seq: i64,
    pub id: CommandId,
}

/// Tells how much of a command's contents is gone, as the index orders it.
pub(super) fn removal_rank(case: &Case) -> i64 {
    match case.removal {
        Some(ContentRemoval::Erased { .. }) => ERASED,
        Some(ContentRemoval::Aged) => AGED,
        // Of what never came there are no contents to grow old.
        None if case.ending.is_none() && forget::is_over(case) => AGED,
        None => WITH_CONTENTS,
    }
}

/// Erases what the index holds of commands besides their rows, which say by now what may stay.
pub(super) fn erase(conn: &Connection, erased: &[ErasedRow]) -> rusqlite::Result<()> {
    let mut rulings = conn.prepare_cached("DELETE FROM rulings WHERE command = ?1")?;
    // How many lines there were is told by the highest number, so the row stays.
    let mut unreadable =
        conn.prepare_cached("UPDATE unreadable SET line = x'' WHERE instr(line, CAST(?1 AS BLOB)) > 0")?;
    for ErasedRow { id, .. } in erased {
        rulings.execute([id.as_str()])?;
        unreadable.execute([format!("\"{id}\"")])?;
    }
    for (first, last) in ranges(erased) {
        put_back(conn, first, last)?;
    }
    Ok(())
}

/// The rows around erased ones, as few ranges as there are.
fn ranges(erased: &[ErasedRow]) -> Vec<(i64, i64)> {
    let mut seqs: Vec<i64> = erased.iter().map(|row| row.seq).collect();
    seqs.sort_unstable();
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for seq in seqs {
        let (first, last) = (seq.saturating_sub(NEIGHBOURS), seq.saturating_add(NEIGHBOURS));
        match ranges.last_mut() {
            Some(before) if first <= before.1 => before.1 = last,
            _ => ranges.push((first, last)),
        }
    }
    ranges
}

/// Takes rows out of their pages, which are zeroed by that, and puts them back.
fn put_back(conn: &Connection, first: i64, last: i64) -> rusqlite::Result<()> {
    let mut all = conn.prepare_cached("SELECT seq, body FROM bodies WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq")?;
    let rows = all.query_map((first, last), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
    conn.prepare_cached("DELETE FROM bodies WHERE seq BETWEEN ?1 AND ?2")?.execute((first, last))?;
    let mut add = conn.prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?;
    for row in rows {
        add.execute(row)?;
    }
    Ok(())
}

/// Moves everything from the `-wal` file into the database, and empties it. Returns false where a reader is in the way.
pub(super) fn empty_wal(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}
