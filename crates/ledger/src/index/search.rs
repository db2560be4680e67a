//! Finds and counts the commands of an index that a filter selects.

use jiff::Timestamp;

use super::reference::CommandReference;
use super::stored_id::read_ids;
use super::{
    CommandCounts, DeadLetterGroup, IndexError, LedgerIndex, ListPage, PageCursor, query, summary,
    unpublished,
};
use crate::command_filter::CommandFilter;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::name::Name;

/// The maximum number of commands that are read where they share an id of a provider: two providers
/// may use the same id.
const MOST_CALLED: usize = 64;

impl LedgerIndex {
    /// Returns the commands that have this id of a provider's own, of any provider, the newest
    /// first.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn find_by_reference(
        &self,
        provider_reference: &str,
    ) -> Result<Vec<CommandId>, IndexError> {
        self.snapshot(|conn| {
            let mut ids = Vec::new();
            CommandReference::Provider(provider_reference).find(conn, i64::MAX, |_, id| {
                ids.push(id);
                ids.len() < MOST_CALLED
            })?;
            Ok(ids)
        })
    }

    /// Returns the messages that were refused under a command's id, at most `limit`. None of them
    /// is that command.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn refused_under(&self, id: &CommandId, limit: u32) -> Result<Vec<CommandId>, IndexError> {
        const IDS: &str = "SELECT id FROM commands WHERE id > ?1 AND id < ?2 ORDER BY id LIMIT ?3";
        let (first, behind) = id.refused_range();
        self.ids(IDS, (first, behind, limit))
    }

    fn ids(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<CommandId>, IndexError> {
        self.read(|conn| read_ids(conn, sql, parameters))
    }

    /// Returns a page of the commands that a filter selects, newest first: at most `limit`, and at
    /// most [`MAX_PAGE`](super::MAX_PAGE). A command keeps its place, so going from page to page
    /// meets each one once, whatever is added or changes meanwhile.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn list(
        &self,
        filter: &CommandFilter,
        after: Option<&PageCursor>,
        limit: usize,
    ) -> Result<ListPage, IndexError> {
        self.snapshot(|conn| query::list(conn, filter, after, limit))
    }

    /// Returns the states of at most `limit` commands whose ids sort after `after`, in the order of
    /// their ids.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn list_commands(
        &self,
        after: Option<&CommandId>,
        limit: usize,
    ) -> Result<Vec<(CommandId, CommandState)>, IndexError> {
        self.snapshot(|conn| query::walk_all(conn, after.map_or("", CommandId::as_str), limit))
    }

    /// Returns commands whose terminal event may be unpublished, and whose end this index has
    /// recorded before `before`, the earliest first; at most `limit`. Only those whose event can be
    /// published from the record alone.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn unpublished_endings(
        &self,
        before: Timestamp,
        limit: usize,
    ) -> Result<Vec<CommandId>, IndexError> {
        self.read(|conn| unpublished::find(conn, before.as_millisecond(), limit))
    }

    /// Groups the dead letters that a filter selects by their failure, the most frequent first.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn groups(&self, filter: &CommandFilter) -> Result<Vec<DeadLetterGroup>, IndexError> {
        self.snapshot(|conn| summary::groups(conn, filter))
    }

    /// Returns the providers of which dead letters are known.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn dead_providers(&self) -> Result<Vec<Name>, IndexError> {
        self.read(summary::dead_providers)
    }

    /// Counts all commands.
    ///
    /// # Errors
    /// [`IndexError::Damaged`], or `SQLite` refuses.
    pub fn counts(&self) -> Result<CommandCounts, IndexError> {
        self.snapshot(summary::counts)
    }
}
