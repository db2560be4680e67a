//! The tables of the index, and opening them.
//!
//! The properties that filters select by have few different values, and few combinations occur:
//! `facets` lists those, with the number of commands of each. A command points at its facet, and
//! one index, by facet and place, answers every combination of filters; more indexes would make
//! each write dearer. The tables that are scanned are narrow: the full state of a command lies
//! apart in `bodies`.
//!
//! Two partial indexes hold the rows that are searched repeatedly, in their order, so that a search
//! ends at the first command that is not due: commands that are `over`, by how much of their
//! contents is removed and by their last change, and ends that are `unpublished`, by when this index
//! first recorded them.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use uuid::Uuid;

use super::error::IndexError;

/// The version of the tables and of the values in `bodies`. A file of another version is made anew.
pub(super) const VERSION: i32 = 14;

/// Marks a file as an index of ferryd ("frry").
const APPLICATION: i32 = 0x6672_7279;

/// The longest time for which a connection waits for another's lock.
const BUSY: Duration = Duration::from_secs(5);

/// The number of pages in the `-wal` file from which on they are moved to the database: about 64
/// MB.
const WAL_PAGES: i64 = 16_000;

/// The memory for pages of the connection that writes, in KiB, as `SQLite` takes it: negative. The
/// pages of a large transaction fit in; the system caches the others.
const WRITER_CACHE: i32 = -8_192;
/// The memory for pages of each connection that reads.
const READER_CACHE: i32 = -2_048;

const TABLES: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE facets (
  facet INTEGER PRIMARY KEY,
  count INTEGER NOT NULL,
  type TEXT, provider TEXT, account TEXT, operation TEXT,
  state TEXT NOT NULL, kind TEXT, code TEXT, http_status INTEGER,
  generation INTEGER NOT NULL, dead INTEGER NOT NULL,
  cancel_requested INTEGER NOT NULL, conflicts INTEGER NOT NULL
) STRICT;
CREATE TABLE commands (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  facet INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  over INTEGER NOT NULL,
  removal INTEGER NOT NULL,
  unpublished INTEGER
) STRICT;
CREATE INDEX commands_by_facet ON commands (facet, seq, updated);
CREATE INDEX commands_over ON commands (removal, updated) WHERE over = 1;
CREATE INDEX commands_unpublished ON commands (unpublished) WHERE unpublished IS NOT NULL;
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE reference_keys (key INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (key, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE writers (writer BLOB PRIMARY KEY, number INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE jobs (
  id BLOB PRIMARY KEY, live INTEGER NOT NULL, updated INTEGER NOT NULL, body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE unreadable (
  nr INTEGER PRIMARY KEY, writer BLOB NOT NULL, number INTEGER NOT NULL, line BLOB NOT NULL, why TEXT NOT NULL
) STRICT;
";

/// Opens a database without following a symbolic link in its place. `SQLite` follows none in the
/// whole path then, so its folder, which may be reached by links, is resolved first.
fn open(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    let path = folder
        .zip(path.file_name())
        .map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name));
    Connection::open_with_flags(
        path,
        access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )
}

/// Opens a database for writing.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "normal")?;
    // Deleted and overwritten contents are gone from the file.
    conn.pragma_update(None, "secure_delete", "on")?;
    conn.pragma_update(None, "cache_size", WRITER_CACHE)?;
    conn.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(conn)
}

/// Opens a database for reading, beside its writer.
pub(super) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.busy_timeout(BUSY)?;
    conn.pragma_update(None, "cache_size", READER_CACHE)?;
    // The last connection to close would move the contents of the `-wal` file, which only the owner
    // may do; and by then that name may belong to a new database.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// Creates the tables of an empty database.
pub(super) fn create(conn: &mut Connection, key: &str) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    tx.execute_batch(TABLES)?;
    let mut meta = tx.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    meta.execute(("key", key))?;
    meta.execute(("epoch", &Uuid::new_v4().simple().to_string()[..8]))?;
    drop(meta);
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Returns a problem of a database that was opened, if it has any; an empty one only lacks its
/// tables.
pub(super) fn check(conn: &Connection, key: &str) -> Result<Option<String>, IndexError> {
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if number("application_id")? != APPLICATION {
        return Ok(Some("it is no index of ferryd".to_owned()));
    }
    let version = number("user_version")?;
    if version != VERSION {
        return Ok(Some(format!("its version is {version}, and this program's is {VERSION}")));
    }
    let known: Option<String> = meta(conn, "key")?;
    if known.as_deref() != Some(key) {
        let known = known.unwrap_or_default();
        return Ok(Some(format!("it belongs to the ledger `{known}`, not to `{key}`")));
    }
    Ok(None)
}

/// Returns true if nothing was ever written to a database.
pub(super) fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get::<_, i64>(0))
        .map(|tables| tables == 0)
}

/// Reads a value of the table `meta`.
pub(super) fn meta<T: rusqlite::types::FromSql>(
    conn: &Connection,
    name: &str,
) -> rusqlite::Result<Option<T>> {
    let mut find = conn.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    find.query_row([name], |row| row.get(0)).optional()
}

/// Writes a value of the table `meta`.
pub(super) fn set_meta(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let mut set =
        conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?;
    set.execute((name, value)).map(|_| ())
}
