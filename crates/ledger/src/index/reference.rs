//! Finds commands by a reference: the publisher's, or the provider's own id.
//!
//! A key of each reference is in a table beside the commands. Only a command's body has the text,
//! so a search compares it there, and erasing the body and the keys erases the reference.
//!
//! A hash has no order in time. A table in the order of hashes would be changed all over by each
//! transaction, so that each command cost the writing of a page. So a key begins with the *era* of
//! the command, of which each has many: a transaction changes the part of the latest era, and a
//! search visits each era.

use rusqlite::{CachedStatement, Connection};
use twox_hash::XxHash3_64;

use super::body::read_body;
use super::error::IndexError;
use super::found_row::FoundRow;
use super::stored_id::read_id;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;

/// The number of commands of an era, as a power of two; few in tests, for many eras.
const ERA_BITS: u32 = if cfg!(test) { 2 } else { 16 };
/// The number of bits of a key behind its era, those of the hash.
const HASH_BITS: u32 = 40;

/// Inserts keys; one may be there already.
pub(super) const INSERT: &str = "INSERT OR IGNORE INTO reference_keys (key, seq)";

/// A reference by which commands are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandReference<'a> {
    /// The publisher's reference.
    Publisher(&'a str),
    /// The provider's own id of the operation's result.
    Provider(&'a str),
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReferenceKey {
    pub key: i64,
    pub seq: i64,
}

/// The hashes of the references by which a command is found: the publisher's, and the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReferenceHashes([Option<i64>; 2]);

impl CommandReference<'_> {
    fn hash(self) -> i64 {
        let (seed, text) = match self {
            Self::Publisher(text) => (0, text),
            Self::Provider(text) => (1, text),
        };
        let hash = XxHash3_64::oneshot_with_seed(seed, text.as_bytes());
        (hash >> (u64::BITS - HASH_BITS)).cast_signed()
    }

    fn key_of(self, seq: i64) -> ReferenceKey {
        ReferenceKey::new(self.hash(), seq)
    }

    /// Returns true if a command has this reference now.
    pub fn is_of(self, state: &CommandState) -> bool {
        match self {
            Self::Publisher(text) => of_publisher(state) == Some(text),
            Self::Provider(text) => state.provider_reference.as_deref() == Some(text),
        }
    }

    /// Returns true if the command in a row has this reference now.
    pub fn is_at(self, conn: &Connection, seq: i64, id: &CommandId) -> Result<bool, IndexError> {
        let mut body = conn.prepare_cached("SELECT body FROM bodies WHERE seq = ?1")?;
        let state =
            body.query_row([seq], |row| Ok(read_body(id, row.get_ref(0)?.as_blob()?)))??;
        Ok(self.is_of(&state))
    }

    /// Visits the commands that have this reference, the newest first, of those older than `below`,
    /// until `found` returns false.
    pub fn find(
        self,
        conn: &Connection,
        below: i64,
        mut found: impl FnMut(FoundRow, CommandId) -> bool,
    ) -> Result<(), IndexError> {
        const KEYED: &str = "SELECT seq, facet, updated, id, body \
            FROM reference_keys JOIN commands USING (seq) JOIN bodies USING (seq) \
            WHERE key = ?1 AND seq < ?2 ORDER BY seq DESC";
        let Some((first, last)) = eras(conn)? else { return Ok(()) };
        let (hash, last) = (self.hash(), last.min(below >> ERA_BITS));
        let mut keyed = conn.prepare_cached(KEYED)?;
        for era in (first..=last).rev() {
            let mut rows = keyed.query(((era << HASH_BITS) | hash, below))?;
            while let Some(row) = rows.next()? {
                let id = read_id(row.get_ref(3)?)?;
                let state = read_body(&id, row.get_ref(4)?.as_blob()?)?;
                if self.is_of(&state) && !found(FoundRow::read(row)?, id) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Returns the eras of the oldest and of the newest command, if there is any.
fn eras(conn: &Connection) -> rusqlite::Result<Option<(i64, i64)>> {
    const ENDS: &str = "SELECT (SELECT min(seq) FROM commands), (SELECT max(seq) FROM commands)";
    let mut ends = conn.prepare_cached(ENDS)?;
    let (first, last): (Option<i64>, Option<i64>) =
        ends.query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(first.zip(last).map(|(first, last)| (first >> ERA_BITS, last >> ERA_BITS)))
}

fn of_publisher(state: &CommandState) -> Option<&str> {
    state.identity.as_ref().and_then(|identity| identity.command.reference.as_deref())
}

impl ReferenceHashes {
    /// Returns the hashes of the references that a command has now.
    pub fn of(state: &CommandState) -> Self {
        let publisher = of_publisher(state).map(CommandReference::Publisher);
        let provider = state.provider_reference.as_deref().map(CommandReference::Provider);
        Self([publisher, provider].map(|reference| reference.map(CommandReference::hash)))
    }

    /// Returns the keys by which the command in a row is found.
    pub fn keys(self, seq: i64) -> impl Iterator<Item = ReferenceKey> {
        self.0.into_iter().flatten().map(move |hash| ReferenceKey::new(hash, seq))
    }
}

impl ReferenceKey {
    fn new(hash: i64, seq: i64) -> Self {
        Self { key: ((seq >> ERA_BITS) << HASH_BITS) | hash, seq }
    }
}

/// Deletes keys of commands.
pub(super) struct KeyRemover<'a>(CachedStatement<'a>);

impl<'a> KeyRemover<'a> {
    /// Prepares the statement.
    pub fn prepare(conn: &'a Connection) -> rusqlite::Result<Self> {
        let delete = "DELETE FROM reference_keys WHERE key = ?1 AND seq = ?2";
        conn.prepare_cached(delete).map(Self)
    }

    /// Deletes the keys of all references that a command has now, and that it had.
    pub fn remove(&mut self, seq: i64, state: &CommandState) -> rusqlite::Result<()> {
        let former = state.references.iter().chain(&state.former_reference);
        let former = former.map(|reference| CommandReference::Provider(reference).key_of(seq));
        for ReferenceKey { key, seq } in ReferenceHashes::of(state).keys(seq).chain(former) {
            self.0.execute((key, seq))?;
        }
        Ok(())
    }
}

/// Deletes the keys of the eras before the oldest command.
pub(super) fn remove_old_keys(conn: &Connection) -> rusqlite::Result<()> {
    let first = eras(conn)?.map_or(i64::MAX, |(first, _)| first << HASH_BITS);
    conn.prepare_cached("DELETE FROM reference_keys WHERE key < ?1")?.execute([first]).map(|_| ())
}
