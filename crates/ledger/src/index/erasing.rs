//! Erases deleted contents for good: from the tables, from the pages that held them, and from the
//! `-wal` file beside the database.
//!
//! `secure_delete` writes zeros over deleted rows. It does not reach the copies that `SQLite`
//! leaves behind where it moves rows from one page to the next, because a row beside them has
//! grown. Those copies lie in pages that hold neighbours of the row. A page that is emptied is
//! zeroed as a whole, so the neighbours are removed and inserted again.

use rusqlite::Connection;

use ferryd_domain::command_id::CommandId;

/// The number of neighbours of an erased row that are written anew, on either side: more than share
/// pages with it, or ever did.
const NEIGHBOURS: i64 = 64;

/// The row of an erased command.
pub(super) struct ErasedRow {
    pub seq: i64,
    pub id: CommandId,
}

/// Erases the contents of commands in all tables except the commands' own rows, which hold by now
/// only what may stay.
pub(super) fn erase(conn: &Connection, erased: &[ErasedRow]) -> rusqlite::Result<()> {
    // The highest number gives the count of unreadable lines, so the row stays.
    let mut unreadable = conn.prepare_cached(
        "UPDATE unreadable SET line = x'' WHERE instr(line, CAST(?1 AS BLOB)) > 0",
    )?;
    for ErasedRow { id, .. } in erased {
        unreadable.execute([format!("\"{id}\"")])?;
    }
    for (first, last) in ranges(erased) {
        put_back(conn, first, last)?;
    }
    Ok(())
}

/// Returns the rows around erased ones, as few ranges as possible.
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

/// Removes rows from their pages, which zeroes those pages, and inserts the rows again.
fn put_back(conn: &Connection, first: i64, last: i64) -> rusqlite::Result<()> {
    let mut all = conn
        .prepare_cached("SELECT seq, body FROM bodies WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq")?;
    let rows = all.query_map((first, last), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, Vec<u8>)> = rows.collect::<Result<_, _>>()?;
    conn.prepare_cached("DELETE FROM bodies WHERE seq BETWEEN ?1 AND ?2")?
        .execute((first, last))?;
    let mut add = conn.prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?;
    for row in rows {
        add.execute(row)?;
    }
    Ok(())
}

/// Moves everything from the `-wal` file into the database, and empties that file. Returns false if
/// a reader prevents it.
pub(super) fn empty_wal(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, i64>(0))
        .map(|busy| busy == 0)
}
