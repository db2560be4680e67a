//! Inserts the commands that are new to the index.

use std::ops::Range;

use rusqlite::{CachedStatement, Connection};

use super::error::IndexError;
use super::packed_state::CachedState;
use super::reference::{self, ReferenceKey};
use super::row_inserter::{RowInserter, SEVERAL};
use ferryd_domain::command_id::CommandId;

/// The size of the bodies that are gathered for one insertion, in bytes: one may be large.
const GATHERED_BYTES: usize = 64 << 10;

/// The columns of a command that follow from its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommandColumns {
    pub facet: i64,
    pub updated: i64,
    pub over: bool,
    pub removal: i64,
    /// The time at which the end was first saved, while it is unpublished.
    pub unpublished: Option<i64>,
}

/// Inserts new commands, several with each statement. A refused row undoes the whole transaction:
/// so `SQLite` need not keep pages as they were, to undo a statement alone.
pub(super) struct NewCommands<'a> {
    conn: &'a Connection,
    commands: RowInserter<'a>,
    bodies: RowInserter<'a>,
    keys: RowInserter<'a>,
    gathered: Vec<NewRow<'a>>,
    gathered_bodies: Vec<u8>,
    gathered_keys: Vec<ReferenceKey>,
    newest: CachedStatement<'a>,
    /// The row of the newest command, once it is known.
    last: Option<i64>,
}

struct NewRow<'a> {
    seq: i64,
    id: &'a str,
    columns: CommandColumns,
    body: Range<usize>,
}

impl<'a> NewCommands<'a> {
    /// Prepares the statements.
    pub fn prepare(conn: &'a Connection) -> rusqlite::Result<Self> {
        const COMMANDS: &str =
            "INSERT OR ROLLBACK INTO commands (id, facet, updated, over, removal, unpublished)";
        Ok(Self {
            conn,
            commands: RowInserter::prepare(conn, COMMANDS, 6)?,
            bodies: RowInserter::prepare(conn, "INSERT OR ROLLBACK INTO bodies (seq, body)", 2)?,
            keys: RowInserter::prepare(conn, reference::INSERT, 2)?,
            gathered: Vec::with_capacity(SEVERAL),
            gathered_bodies: Vec::new(),
            gathered_keys: Vec::new(),
            newest: conn.prepare_cached("SELECT coalesce(max(seq), 0) FROM commands")?,
            last: None,
        })
    }

    /// Adds a command, and returns its row.
    pub fn add(
        &mut self,
        id: &'a CommandId,
        columns: CommandColumns,
        state: &CachedState,
    ) -> Result<i64, IndexError> {
        let last = self.last.map_or_else(|| self.newest.query_row((), |row| row.get(0)), Ok)?;
        let (seq, start) = (last + 1, self.gathered_bodies.len());
        self.last = Some(seq);
        state.put_body(id, &mut self.gathered_bodies);
        let body = start..self.gathered_bodies.len();
        self.gathered.push(NewRow { seq, id: id.as_str(), columns, body });
        if self.gathered.len() == SEVERAL || self.gathered_bodies.len() >= GATHERED_BYTES {
            self.insert()?;
        }
        Ok(seq)
    }

    /// Adds the references of a command, where they are not known yet.
    pub fn add_keys(&mut self, keys: impl Iterator<Item = ReferenceKey>) {
        self.gathered_keys.extend(keys);
    }

    /// Inserts all that was added.
    pub fn finish(mut self) -> Result<(), IndexError> {
        self.insert()?;
        // In the order of the table.
        self.gathered_keys.sort_unstable();
        self.keys.insert(&self.gathered_keys, |values, &ReferenceKey { key, seq }| {
            values.bind(key)?;
            values.bind(seq)
        })?;
        Ok(())
    }

    /// Inserts what was gathered. `SQLite` numbers the commands: were their numbers given, it would
    /// keep pages, as for a refused row.
    fn insert(&mut self) -> Result<(), IndexError> {
        self.commands.insert(&self.gathered, |values, NewRow { id, columns, .. }| {
            let CommandColumns { facet, updated, over, removal, unpublished } = columns;
            values.bind(id)?;
            values.bind(facet)?;
            values.bind(updated)?;
            values.bind(over)?;
            values.bind(removal)?;
            values.bind(unpublished)
        })?;
        let last = self.gathered.last().map(|row| row.seq);
        if last.is_some_and(|last| last != self.conn.last_insert_rowid()) {
            return Err(IndexError::Damaged("its commands have other numbers".to_owned()));
        }
        self.bodies.insert(&self.gathered, |values, NewRow { seq, body, .. }| {
            values.bind(seq)?;
            values.bind(&self.gathered_bodies[body.clone()])
        })?;
        self.gathered.clear();
        self.gathered_bodies.clear();
        Ok(())
    }
}
