//! Writes to the index: one transaction for all changes since the last one.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, TransactionBehavior};
use tracing::warn;

use super::body::write_body;
use super::call_offsets::{self, CallCheckpoint, CallMessage};
use super::changes::{IndexChanges, UnreadableEntry};
use super::erasing::ErasedRow;
use super::error::IndexError;
use super::facet::{CommandFacet, FacetTable};
use super::id_filter::IdFilter;
use super::lock::IndexLock;
use super::prune::{self, EndedRow};
use super::reference::reference_digest;
use super::{aging, erasing, jobs, retention, schema};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;

/// The maximum number of unreadable lines that are kept, the latest, and the kept part of each in
/// bytes. All are counted.
const KEPT_LINES: i64 = 1_000;
/// The retention of writers of a single record, in milliseconds: each `ferryd ledger verify` is
/// one.
const VISITORS_KEPT: i64 = 24 * 3_600 * 1_000;
const KEPT_BYTES: usize = 4_096;

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
        UpsertStatements::prepare(&conn)?;
        // The owner before may have died after an erasure. If a reader prevents the emptying now, a
        // later save repeats it.
        let unscrubbed = !erasing::empty_wal(&conn)?;
        // The `-wal` file that may be missed exists only after a first write.
        schema::set_meta(&conn, "opened", now.as_millisecond())?;
        slot.mark_open().map_err(at_file)?;
        Ok(Self { conn, facets, ids: Arc::clone(ids), unscrubbed })
    }

    /// Saves all of `changes`, or nothing.
    pub fn save(&mut self, changes: &IndexChanges, now: Timestamp) -> Result<(), IndexError> {
        let saved = self.try_save(changes, now);
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

    fn try_save(&mut self, changes: &IndexChanges, now: Timestamp) -> rusqlite::Result<()> {
        let IndexChanges { cases: states, writers, jobs, unreadable, checkpoint } = changes;
        let at = now.as_millisecond();
        if self.ids.is_due() {
            self.ids.fill(&self.conn)?;
        }
        let known = self.ids.add(states.iter().map(|(id, _)| id));
        let tx = self.conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        store_unreadable(&tx, unreadable)?;
        let mut upserts = UpsertStatements::prepare(&tx)?;
        for ((id, state), known) in states.iter().zip(known) {
            upserts.put(&mut self.facets, id, state, known, at)?;
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
        tx.commit()
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

/// Statements that save a command, prepared once for many.
struct UpsertStatements<'a> {
    conn: &'a Connection,
    find: CachedStatement<'a>,
    add: CachedStatement<'a>,
    add_body: CachedStatement<'a>,
    change: CachedStatement<'a>,
    publish: CachedStatement<'a>,
    change_body: CachedStatement<'a>,
    name: CachedStatement<'a>,
    name_there: CachedStatement<'a>,
    /// The body of the command that is saved.
    body: Vec<u8>,
    /// The change of each facet's count.
    counts: HashMap<i64, i64>,
    /// The earliest creation time among the new commands.
    oldest: Option<i64>,
    /// The commands whose contents were in the index before, and are erased now.
    erased: Vec<ErasedRow>,
}

impl<'a> UpsertStatements<'a> {
    fn prepare(conn: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            find: conn.prepare_cached(
                "SELECT seq, facet, updated, over, removal, unpublished, provider_reference FROM commands WHERE id = ?1",
            )?,
            add: conn.prepare_cached(
                "INSERT INTO commands (id, facet, updated, over, removal, unpublished, reference, provider_reference) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            add_body: conn.prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?,
            change: conn.prepare_cached(
                "UPDATE commands SET facet = ?2, updated = ?3, over = ?4, removal = ?5 WHERE seq = ?1",
            )?,
            publish: conn.prepare_cached("UPDATE commands SET unpublished = ?2 WHERE seq = ?1")?,
            change_body: conn.prepare_cached("UPDATE bodies SET body = ?2 WHERE seq = ?1")?,
            name: conn.prepare_cached("UPDATE commands SET reference = ?2 WHERE seq = ?1")?,
            name_there: conn.prepare_cached("UPDATE commands SET provider_reference = ?2 WHERE seq = ?1")?,
            body: Vec::new(),
            counts: HashMap::new(),
            oldest: None,
            erased: Vec::new(),
        })
    }

    fn put(
        &mut self,
        facets: &mut FacetTable,
        id: &CommandId,
        state: &CommandState,
        may_be_known: bool,
        now: i64,
    ) -> rusqlite::Result<()> {
        let facet = facets.number(self.conn, CommandFacet::of(state))?;
        self.body.clear();
        write_body(id, state, &mut self.body);
        let updated = state.history.last().map_or(now, |last| last.at.as_millisecond());
        let reference =
            state.identity.as_ref().and_then(|identity| identity.command.reference.as_deref());
        let (reference, there) = (
            reference.map(reference_digest),
            state.provider_reference.as_deref().map(reference_digest),
        );
        let (over, removal) = (retention::is_over(state), retention::removal_rank(state));
        // The clock of this host: the one that ended the command may differ.
        let unpublished = state.is_end_unpublished().then_some(now);
        let mut find = || {
            self.find
                .query_row([id.as_str()], |row| {
                    let named = row.get_ref(6)?.as_blob_or_null()?
                        == there.as_ref().map(|there| &there[..]);
                    let place: (i64, i64, bool, i64) =
                        (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                    Ok((row.get(0)?, place, row.get::<_, Option<i64>>(5)?, named))
                })
                .optional()
        };
        let known = if may_be_known { find()? } else { None };
        let Some((seq, old_place, since, is_named)) = known else {
            self.add.execute((
                id.as_str(),
                facet,
                updated,
                over,
                removal,
                unpublished,
                reference,
                there,
            ))?;
            self.add_body.execute((self.conn.last_insert_rowid(), &self.body))?;
            *self.counts.entry(facet).or_default() += 1;
            let created = state.history.first().map_or(now, |first| first.at.as_millisecond());
            self.oldest = Some(self.oldest.map_or(created, |oldest| oldest.min(created)));
            return Ok(());
        };
        let seq: i64 = seq;
        if old_place != (facet, updated, over, removal) {
            self.change.execute((seq, facet, updated, over, removal))?;
            *self.counts.entry(old_place.0).or_default() -= 1;
            *self.counts.entry(facet).or_default() += 1;
        }
        if unpublished.is_some() != since.is_some() {
            self.publish.execute((seq, unpublished))?;
        }
        if !is_named {
            self.name_there.execute((seq, there))?;
        }
        if state.cancel.is_some() || state.removal.is_some() {
            // A request to cancel may have been recorded before the command itself. An erased
            // command has no reference.
            self.name.execute((seq, reference))?;
        }
        if removal == retention::ERASED && old_place.3 != retention::ERASED {
            self.erased.push(ErasedRow { seq, id: id.clone() });
        }
        self.change_body.execute((seq, &self.body)).map(|_| ())
    }

    /// Saves the counts that have changed. Returns the rows of the commands that these changes
    /// erase.
    fn finish(self) -> rusqlite::Result<Vec<ErasedRow>> {
        const OLDEST: &str = "INSERT INTO meta (name, value) VALUES ('oldest', ?1) \
                              ON CONFLICT DO UPDATE SET value = min(value, excluded.value)";
        let mut count =
            self.conn.prepare_cached("UPDATE facets SET count = count + ?2 WHERE facet = ?1")?;
        for change in self.counts.iter().filter(|(_, by)| **by != 0) {
            count.execute(change)?;
        }
        if let Some(oldest) = self.oldest {
            self.conn.prepare_cached(OLDEST)?.execute([oldest])?;
        }
        Ok(self.erased)
    }
}
