//! Writes to the index: one transaction for all changes since the last one.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};
use tracing::warn;

use super::call_offsets::{self, CallCheckpoint, CallMessage};
use super::changes::{IndexChanges, UnreadableEntry};
use super::error::IndexError;
use super::facet::FacetTable;
use super::id_filter::IdFilter;
use super::lock::IndexLock;
use super::prune::{self, EndedRow};
use super::upsert::CommandUpserts;
use super::{aging, erasing, jobs, schema};
use ferryd_domain::command_id::CommandId;

/// The maximum number of unreadable lines that are kept, the latest, and the kept part of each in
/// bytes. All are counted.
const KEPT_LINES: i64 = 1_000;
/// The retention of writers of a single record, in milliseconds: each `ferryd ledger verify` is
/// one.
const VISITORS_KEPT: i64 = 24 * 3_600 * 1_000;
const KEPT_BYTES: usize = 4_096;

/// The number of commands that are saved without a pause.
const UNPAUSED: usize = 32;

/// The only connection that writes.
pub(super) struct IndexWriter {
    conn: Connection,
    facets: FacetTable,
    ids: Arc<IdFilter>,
    /// True while erased contents may still be in the `-wal` file.
    unscrubbed: bool,
}

impl IndexWriter {
    /// Opens the database of a slot; a new one is filled.
    pub fn open(
        slot: &IndexLock,
        key: &str,
        now: Timestamp,
        ids: &Arc<IdFilter>,
    ) -> Result<Self, IndexError> {
        ids.clear();
        let at_file = |source| IndexError::at(&slot.path)(source);
        slot.prepare()?;
        if let Some(why) = slot.find_missing().map_err(at_file)? {
            return Err(IndexError::Damaged(why.to_owned()));
        }
        let mut conn = schema::connect(&slot.path)?;
        if schema::is_empty(&conn)? {
            schema::create(&mut conn, key)?;
        }
        if let Some(why) = schema::check(&conn, key)? {
            return Err(IndexError::Damaged(why));
        }
        conn.execute_batch(call_offsets::TABLE)?;
        let facets = FacetTable::load(&conn)?;
        CommandUpserts::prepare(&conn)?;
        // The owner before may have died after an erasure. If a reader prevents the emptying now, a
        // later save repeats it.
        let unscrubbed = !erasing::empty_wal(&conn)?;
        // The `-wal` file that may be missed exists only after a first write.
        schema::set_meta(&conn, "opened", now.as_millisecond())?;
        slot.mark_open().map_err(at_file)?;
        Ok(Self { conn, facets, ids: Arc::clone(ids), unscrubbed })
    }

    /// Saves all of `changes`, or nothing, and calls `pause` now and then.
    pub fn save(
        &mut self,
        changes: &IndexChanges,
        now: Timestamp,
        pause: &mut dyn FnMut(),
    ) -> Result<(), IndexError> {
        let saved = self.try_save(changes, now, pause);
        if saved.is_err() {
            // The facets that the failed transaction added are not in the database.
            self.facets = FacetTable::load(&self.conn).unwrap_or_default();
        }
        saved?;
        if self.unscrubbed {
            self.checkpoint_wal(now)?;
        }
        Ok(())
    }

    /// Empties the `-wal` file. If a long read prevents it, the next save tries again.
    pub fn checkpoint_wal(&mut self, now: Timestamp) -> Result<(), IndexError> {
        self.unscrubbed = !erasing::empty_wal(&self.conn)?;
        if self.unscrubbed {
            warn!(
                "erased contents are still in the `-wal` file of the ledger's index, because another process reads it"
            );
        }
        // An empty `-wal` file would be taken for a lost one.
        Ok(schema::set_meta(&self.conn, "scrubbed", now.as_millisecond())?)
    }

    /// Records messages of the stream of calls.
    pub fn note_calls(
        &mut self,
        after: Option<CallCheckpoint>,
        messages: &[CallMessage],
        reached: CallCheckpoint,
    ) -> Result<bool, IndexError> {
        call_offsets::note(&mut self.conn, after, messages, reached)
    }

    /// Deletes the recorded offsets of the stream of calls.
    pub fn clear_calls(&mut self) -> Result<(), IndexError> {
        call_offsets::clear(&mut self.conn)
    }

    /// Removes the contents of some commands that are over for long, and returns their ids.
    pub fn remove_contents(&mut self, older_than: i64) -> Result<Vec<CommandId>, IndexError> {
        aging::age(&mut self.conn, older_than)
    }

    /// Prunes commands that were found to be over.
    pub fn prune_commands(
        &mut self,
        over: &[EndedRow],
        older_than: i64,
        now: Timestamp,
    ) -> Result<usize, IndexError> {
        let visitors_before = now.as_millisecond().saturating_sub(VISITORS_KEPT);
        let forgotten = prune::prune_commands(&mut self.conn, over, older_than, visitors_before)?;
        self.facets = FacetTable::load(&self.conn)?;
        Ok(forgotten)
    }

    fn try_save(
        &mut self,
        changes: &IndexChanges,
        now: Timestamp,
        pause: &mut dyn FnMut(),
    ) -> Result<(), IndexError> {
        let IndexChanges { cases: states, writers, jobs, unreadable, checkpoint } = changes;
        let at = now.as_millisecond();
        if self.ids.is_due() {
            self.ids.fill(&self.conn)?;
        }
        let known = self.ids.add(states.iter().map(|(id, _)| id));
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        store_unreadable(&tx, unreadable)?;
        let mut upserts = CommandUpserts::prepare(&tx)?;
        for (row, ((id, state), known)) in states.iter().zip(known).enumerate() {
            if row % UNPAUSED == UNPAUSED - 1 {
                pause();
            }
            upserts.put(&mut self.facets, (id, state), known, at)?;
        }
        let erased = upserts.finish()?;
        if !erased.is_empty() {
            erasing::erase(&tx, &erased)?;
            tx.execute("DELETE FROM facets WHERE count = 0", ())?;
            self.facets = FacetTable::load(&tx)?;
            self.unscrubbed = true;
        }
        let mut seen = tx.prepare_cached(
            "INSERT OR REPLACE INTO writers (writer, number, seen) VALUES (?1, ?2, ?3)",
        )?;
        for (writer, number) in writers {
            seen.execute((writer.as_bytes(), number.cast_signed(), at))?;
        }
        drop(seen);
        jobs::save(&tx, jobs)?;
        schema::set_meta(&tx, "offset", checkpoint.offset.cast_signed())?;
        schema::set_meta(&tx, "hash", checkpoint.hash.cast_signed())?;
        Ok(tx.commit()?)
    }
}

fn store_unreadable(conn: &Connection, lines: &[UnreadableEntry]) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut keep = conn.prepare_cached(
        "INSERT INTO unreadable (writer, number, line, why) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for UnreadableEntry { id, line, why } in lines {
        let start = &line[..line.len().min(KEPT_BYTES)];
        keep.execute((id.writer.as_bytes(), id.number.cast_signed(), start, why))?;
    }
    // The numbers continue, so the highest gives the count of all lines ever.
    let mut drop_old = conn.prepare_cached(
        "DELETE FROM unreadable WHERE nr <= (SELECT max(nr) FROM unreadable) - ?1",
    )?;
    drop_old.execute([KEPT_LINES]).map(|_| ())
}
