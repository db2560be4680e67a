//! Saves the states of commands, within one transaction.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use super::body::read_body;
use super::erasing::ErasedRow;
use super::error::IndexError;
use super::facet::{CommandFacet, FacetTable};
use super::new_commands::{CommandColumns, NewCommands};
use super::packed_state::CachedState;
use super::reference::KeyRemover;
use super::retention;
use super::state_columns::StateColumns;
use crate::seeded_hash::SeededHash;
use ferryd_domain::command_id::CommandId;

/// The statements that save commands, prepared once for many, and what they change.
pub(super) struct CommandUpserts<'a> {
    conn: &'a Connection,
    new: NewCommands<'a>,
    find: CachedStatement<'a>,
    change: CachedStatement<'a>,
    publish: CachedStatement<'a>,
    change_body: CachedStatement<'a>,
    /// The body of the command that is changed.
    body: Vec<u8>,
    /// The change of each facet's count.
    counts: HashMap<i64, i64, SeededHash>,
    /// The earliest creation time among the new commands.
    oldest: Option<i64>,
    /// The commands whose contents were in the index before, and are erased now.
    erased: Vec<ErasedRow>,
}

impl<'a> CommandUpserts<'a> {
    /// Prepares the statements.
    pub fn prepare(conn: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            new: NewCommands::prepare(conn)?,
            find: conn.prepare_cached(
                "SELECT seq, facet, updated, over, removal, unpublished FROM commands WHERE id = ?1",
            )?,
            change: conn.prepare_cached(
                "UPDATE commands SET facet = ?2, updated = ?3, over = ?4, removal = ?5 WHERE seq = ?1",
            )?,
            publish: conn.prepare_cached("UPDATE commands SET unpublished = ?2 WHERE seq = ?1")?,
            change_body: conn.prepare_cached("UPDATE bodies SET body = ?2 WHERE seq = ?1")?,
            body: Vec::new(),
            counts: HashMap::default(),
            oldest: None,
            erased: Vec::new(),
        })
    }

    /// Saves a command, which may be in the index already.
    pub fn put(
        &mut self,
        facets: &mut FacetTable,
        (id, state): (&'a CommandId, &CachedState),
        may_be_known: bool,
        now: i64,
    ) -> Result<(), IndexError> {
        let (facet, from_state) = match state {
            CachedState::Whole(state) => {
                (facets.number(self.conn, &CommandFacet::of(state))?, StateColumns::of(state))
            }
            CachedState::Packed(packed) => {
                (facets.number_of_shared(self.conn, &packed.facet)?, packed.columns)
            }
        };
        let StateColumns { created, updated, over, removal, is_end_unpublished, references } =
            from_state;
        let columns = CommandColumns {
            facet,
            updated: updated.unwrap_or(now),
            over,
            removal,
            // The clock of this host: the one that ended the command may differ.
            unpublished: is_end_unpublished.then_some(now),
        };
        let known = if may_be_known { self.find(id)? } else { None };
        if let Some((seq, before)) = known {
            self.change((seq, before), (id, state), columns)?;
            self.new.add_keys(references.keys(seq));
            return Ok(());
        }
        *self.counts.entry(columns.facet).or_default() += 1;
        let created = created.unwrap_or(now);
        self.oldest = Some(self.oldest.map_or(created, |oldest| oldest.min(created)));
        let seq = self.new.add(id, columns, state)?;
        self.new.add_keys(references.keys(seq));
        Ok(())
    }

    fn find(&mut self, id: &CommandId) -> rusqlite::Result<Option<(i64, CommandColumns)>> {
        let read = |row: &rusqlite::Row<'_>| {
            let columns = CommandColumns {
                facet: row.get(1)?,
                updated: row.get(2)?,
                over: row.get(3)?,
                removal: row.get(4)?,
                unpublished: row.get(5)?,
            };
            Ok((row.get(0)?, columns))
        };
        self.find.query_row([id.as_str()], read).optional()
    }

    fn change(
        &mut self,
        (seq, before): (i64, CommandColumns),
        (id, state): (&CommandId, &CachedState),
        columns: CommandColumns,
    ) -> Result<(), IndexError> {
        let CommandColumns { facet, updated, over, removal, unpublished } = columns;
        // An end that is unpublished still is so since it was first saved.
        if (CommandColumns { unpublished: before.unpublished, ..columns }) != before {
            self.change.execute((seq, facet, updated, over, removal))?;
            *self.counts.entry(before.facet).or_default() -= 1;
            *self.counts.entry(facet).or_default() += 1;
        }
        if unpublished.is_some() != before.unpublished.is_some() {
            self.publish.execute((seq, unpublished))?;
        }
        if removal == retention::ERASED && before.removal != retention::ERASED {
            self.remove_keys(seq, id)?;
            self.erased.push(ErasedRow { seq, id: id.clone() });
        }
        self.body.clear();
        state.put_body(id, &mut self.body);
        self.change_body.execute((seq, &self.body))?;
        Ok(())
    }

    /// Removes the keys by which a command that is erased was found.
    fn remove_keys(&self, seq: i64, id: &CommandId) -> Result<(), IndexError> {
        let mut body = self.conn.prepare_cached("SELECT body FROM bodies WHERE seq = ?1")?;
        let state =
            body.query_row([seq], |row| Ok(read_body(id, row.get_ref(0)?.as_blob()?)))??;
        Ok(KeyRemover::prepare(self.conn)?.remove(seq, &state)?)
    }

    /// Saves the counts that have changed. Returns the rows of the commands that these changes
    /// erase.
    pub fn finish(self) -> Result<Vec<ErasedRow>, IndexError> {
        const OLDEST: &str = "INSERT INTO meta (name, value) VALUES ('oldest', ?1) \
                              ON CONFLICT DO UPDATE SET value = min(value, excluded.value)";
        self.new.finish()?;
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
