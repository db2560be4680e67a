//! The index: the current state of every command on disk. A start need not read the whole ledger,
//! and queries find many commands.
//!
//! The stream is the truth; the index is the result of reading it, up to its [`IndexCheckpoint`].
//! Commands, writers and checkpoint are saved in one transaction. A file that is missing, damaged,
//! of another version or of another ledger is made anew, empty, and filled from the stream.
//!
//! Each instance has a file in a [slot](LedgerIndex::open); other processes may [read
//! it](LedgerIndex::open_read_only).
//!
//! Every function here waits for the disk. [One command](LedgerIndex::command_state) takes
//! microseconds; keep the rest off the threads that serve connections.

mod aging;
mod body;
mod call_offsets;
mod calls;
mod changes;
mod erasing;
mod error;
mod facet;
mod found_row;
mod id_filter;
mod jobs;
mod json;
mod lock;
mod new_commands;
mod owned_index;
mod packed_state;
mod page;
mod prune;
mod query;
mod readers;
mod reference;
mod retention;
mod row;
mod row_inserter;
mod schema;
mod search;
mod state_columns;
mod stored_id;
mod summary;
mod unpublished;
mod upsert;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use tracing::warn;
use uuid::Uuid;

use self::body::read_body;
pub use self::call_offsets::{CallCheckpoint, CallMessage, IndexedCalls};
pub use self::changes::{IndexChanges, IndexCheckpoint, UnreadableEntry};
pub use self::error::IndexError;
use self::id_filter::IdFilter;
pub use self::jobs::JobPage;
use self::lock::IndexLock;
use self::owned_index::OwnedIndex;
pub(crate) use self::packed_state::StatePacker;
pub use self::packed_state::{CachedState, PackedState};
pub use self::page::{CURSOR_PATTERN, InvalidCursor, ListPage, MAX_PAGE, PageCursor};
use self::readers::ReaderPool;
pub use self::row::CommandRow;
pub use self::summary::{CommandCounts, DeadLetterGroup};
use self::writer::IndexWriter;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::{JobId, JobState};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::RecordId;

/// The index of this instance, or that of another.
pub struct LedgerIndex {
    key: String,
    path: PathBuf,
    owner: Option<OwnedIndex>,
    readers: ReaderPool,
    /// True after a reader found the file damaged; the next save fails with that.
    damaged: AtomicBool,
}

impl LedgerIndex {
    /// Opens the index of this instance in `dir`: the first that no other instance has. `key` names
    /// the ledger: the broker's address and the prefix.
    ///
    /// # Errors
    /// The directory can't be used, or every slot in it is taken. The contents of files that lie
    /// there never cause an error.
    pub fn open(dir: &Path, key: &str) -> Result<Self, IndexError> {
        let slot = IndexLock::take(dir, key, lock::SLOTS)?;
        let slot =
            slot.ok_or_else(|| IndexError::NoSlot { dir: dir.to_owned(), slots: lock::SLOTS })?;
        Self::own(slot, key)
    }

    /// Opens the first index in `dir`, unless another instance has it: then this process can
    /// [read](Self::open_read_only) it.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open_first(dir: &Path, key: &str) -> Result<Option<Self>, IndexError> {
        IndexLock::take(dir, key, 1)?.map(|slot| Self::own(slot, key)).transpose()
    }

    fn own(slot: IndexLock, key: &str) -> Result<Self, IndexError> {
        let (now, ids) = (Timestamp::now(), Arc::new(IdFilter::default()));
        let writer = IndexWriter::open(&slot, key, now, &ids).or_else(|why| {
            if why.is_refused() {
                return Err(why);
            }
            warn!(file = %slot.path.display(), %why, "the index can't be used and is made anew from the ledger");
            slot.delete()?;
            IndexWriter::open(&slot, key, now, &ids)
        })?;
        let (path, writer) = (slot.path.clone(), Mutex::new(Some(writer)));
        let owner = OwnedIndex { slot, ids, writer };
        Ok(Self::new(key, path, Some(owner)))
    }

    /// Returns the id of the process that has the first index in `dir`, where the system reports
    /// it.
    #[must_use]
    pub fn holder(dir: &Path, key: &str) -> Option<u32> {
        lock::holder(dir, key)
    }

    /// Opens the first index in `dir` to read the state that the instance which has it has saved.
    ///
    /// # Errors
    /// [`IndexError::NoIndex`]: there is none, or another version of ferryd made it.
    pub fn open_read_only(dir: &Path, key: &str) -> Result<Self, IndexError> {
        let index = Self::new(key, lock::path(dir, key, 0), None);
        let no_index = |why| IndexError::NoIndex { path: index.path.clone(), why };
        if !index.path.exists() {
            return Err(no_index("no instance has an index here".to_owned()));
        }
        match index.read(|conn| schema::check(conn, key))? {
            Some(why) => Err(no_index(why)),
            None => Ok(index),
        }
    }

    fn new(key: &str, path: PathBuf, owner: Option<OwnedIndex>) -> Self {
        let readers = ReaderPool::new(owner.is_none());
        Self { key: key.to_owned(), path, owner, readers, damaged: AtomicBool::new(false) }
    }

    /// Returns the path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the last message that was applied; `None` where none was.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn checkpoint(&self) -> Result<Option<IndexCheckpoint>, IndexError> {
        let number = |conn: &Connection, name: &str| {
            schema::meta::<i64>(conn, name).map(|found| found.map(i64::cast_unsigned))
        };
        self.read(|conn| {
            let (offset, hash) = (number(conn, "offset")?, number(conn, "hash")?);
            Ok(offset.zip(hash).map(|(offset, hash)| IndexCheckpoint { offset, hash }))
        })
    }

    /// Returns the highest number applied of each writer.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn writers(&self) -> Result<Vec<(Uuid, u64)>, IndexError> {
        self.read(|conn| {
            let mut all = conn.prepare_cached("SELECT writer, number FROM writers")?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok((Uuid::from_bytes(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned()))
            };
            Ok(all.query_map((), read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the highest number applied of one writer; 0 where no record of it was applied.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn highest_applied(&self, writer: &Uuid) -> Result<u64, IndexError> {
        self.read(|conn| {
            let mut find = conn.prepare_cached("SELECT number FROM writers WHERE writer = ?1")?;
            let number =
                find.query_row([writer.as_bytes()], |row| row.get::<_, i64>(0)).optional()?;
            Ok(number.map_or(0, i64::cast_unsigned))
        })
    }

    /// Returns the state of a command, if the index knows it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn command_state(&self, id: &CommandId) -> Result<Option<CommandState>, IndexError> {
        const BODY: &str =
            "SELECT body FROM bodies WHERE seq = (SELECT seq FROM commands WHERE id = ?1)";
        if self.owner.as_ref().is_some_and(|owner| !owner.ids.may_contain(id)) {
            return Ok(None);
        }
        self.read(|conn| {
            let mut body = conn.prepare_cached(BODY)?;
            let mut found = body.query([id.as_str()])?;
            let row = found.next()?;
            row.map(|row| read_body(id, row.get_ref(0)?.as_blob()?)).transpose()
        })
    }

    /// Returns the state of a job, if the index knows it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn job(&self, id: &JobId) -> Result<Option<JobState>, IndexError> {
        self.read(|conn| jobs::find(conn, id))
    }

    /// Returns the jobs that have not ended.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn live_jobs(&self) -> Result<Vec<(JobId, JobState)>, IndexError> {
        self.read(jobs::live)
    }

    /// Returns a page of jobs, newest first, of those older than one.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn jobs(&self, after: Option<JobId>, limit: usize) -> Result<JobPage, IndexError> {
        self.read(|conn| jobs::list(conn, after, limit))
    }

    /// Returns the kept lines of the ledger that could not be read, the latest first.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn unreadable_lines(&self) -> Result<Vec<UnreadableEntry>, IndexError> {
        self.read(|conn| {
            let mut all = conn.prepare_cached(
                "SELECT writer, number, line, why FROM unreadable ORDER BY nr DESC",
            )?;
            let read = |row: &rusqlite::Row<'_>| {
                let (writer, number) =
                    (Uuid::from_bytes(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned());
                Ok(UnreadableEntry {
                    id: RecordId { writer, number },
                    line: row.get(2)?,
                    why: row.get(3)?,
                })
            };
            Ok(all.query_map((), read)?.collect::<Result<_, _>>()?)
        })
    }

    /// Saves all of `changes`, or nothing.
    ///
    /// # Errors
    /// [`IndexError::Damaged`]: [clear](Self::clear) it and read the stream from its beginning. Else `SQLite` refuses, and
    /// the same may be saved again later.
    pub fn save(&self, changes: &IndexChanges, now: Timestamp) -> Result<(), IndexError> {
        self.save_with_pauses(changes, now, &mut || ())
    }

    /// Saves all of `changes`, or nothing, and calls `pause` after every few commands, within the
    /// transaction.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn save_with_pauses(
        &self,
        changes: &IndexChanges,
        now: Timestamp,
        pause: &mut dyn FnMut(),
    ) -> Result<(), IndexError> {
        self.write(|writer| writer.save(changes, now, pause))
    }

    /// Prunes some of the commands that are over since before `older_than`: call it again until it
    /// returns 0, and let other writes happen in between. Dead letters stay. Also deletes writers
    /// of that age.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn prune_commands(&self, older_than: Timestamp) -> Result<usize, IndexError> {
        let older_than = older_than.as_millisecond();
        let over = self.read(|conn| prune::find(conn, older_than))?;
        self.write(|writer| writer.prune_commands(&over, older_than, Timestamp::now()))
    }

    /// Removes the contents of some commands that are over since before `older_than`, and returns
    /// their ids: call it again until it returns none, and let other writes happen in between.
    ///
    /// # Errors
    /// As of [`save`](Self::save).
    pub fn remove_contents(&self, older_than: Timestamp) -> Result<Vec<CommandId>, IndexError> {
        self.write(|writer| writer.remove_contents(older_than.as_millisecond()))
    }

    /// Moves everything into the database file: no file beside it holds removed contents any more.
    ///
    /// # Errors
    /// `SQLite` refuses.
    pub fn checkpoint_wal(&self) -> Result<(), IndexError> {
        self.write(|writer| writer.checkpoint_wal(Timestamp::now()))
    }

    /// Deletes the indexes in `dir` that no instance uses, and returns their number.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn delete_unused(dir: &Path, key: &str) -> Result<usize, IndexError> {
        lock::delete_unused(dir, key)
    }

    /// Deletes the indexes beside this one that no instance uses.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn delete_unused_neighbours(&self) -> Result<usize, IndexError> {
        lock::delete_unused(self.path.parent().unwrap_or(Path::new("")), &self.key)
    }

    /// Replaces the file by an empty one.
    ///
    /// # Errors
    /// The file can't be deleted or made; may be tried again.
    pub fn clear(&self) -> Result<(), IndexError> {
        let owner = self.owner.as_ref().ok_or(IndexError::ReadOnly)?;
        let mut writer = owner.writer();
        let mut readers = self.readers.block_readers();
        readers.close_readers();
        drop(writer.take());
        owner.slot.delete()?;
        *writer = Some(IndexWriter::open(&owner.slot, &self.key, Timestamp::now(), &owner.ids)?);
        self.damaged.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&mut IndexWriter) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let mut writer = self.owner.as_ref().ok_or(IndexError::ReadOnly)?.writer();
        if self.damaged.load(Ordering::Relaxed) {
            return Err(IndexError::Damaged("a reader found it so".to_owned()));
        }
        let writer = writer
            .as_mut()
            .ok_or_else(|| IndexError::Damaged("it could not be made anew".to_owned()))?;
        write(writer).inspect_err(|error| self.note(error))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        self.readers.read(&self.path, read).inspect_err(|error| self.note(error))
    }

    /// Reads several values as they were at one moment.
    fn snapshot<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        self.read(|conn| {
            let moment = conn.unchecked_transaction()?;
            read(&moment)
        })
    }

    fn note(&self, error: &IndexError) {
        self.damaged.fetch_or(error.is_damaged(), Ordering::Relaxed);
    }
}

impl Drop for LedgerIndex {
    fn drop(&mut self) {
        self.readers.block_readers().close_readers();
        let Some(owner) = &self.owner else { return };
        // The last connection to close moves everything into the database.
        drop(owner.writer().take());
        if let Err(error) = owner.slot.mark_closed() {
            warn!(file = %self.path.display(), %error, "the index can't be marked as closed, and may be made anew at the next start");
        }
    }
}

#[cfg(test)]
mod call_offsets_tests;
#[cfg(test)]
mod erasing_tests;
#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;

#[cfg(test)]
mod due_tests;

#[cfg(test)]
mod healing_tests;

#[cfg(test)]
mod jobs_tests;

#[cfg(test)]
mod query_tests;

#[cfg(test)]
mod reference_tests;

#[cfg(test)]
mod scale_tests;
