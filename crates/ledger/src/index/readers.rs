//! Connections for readers: as many as there are readers at a time.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::error::IndexError;
use super::schema;

/// The maximum number of idle connections that are kept open for later readers.
const IDLE: usize = 8;

/// A pool of connections, each used by one reader at a time.
pub(super) struct ReaderPool {
    pool: Mutex<IdleReaders>,
    /// True if another process owns the file, and may make it anew without notice.
    is_foreign: bool,
}

/// The idle connections.
#[derive(Default)]
pub(super) struct IdleReaders {
    idle: Vec<Connection>,
    /// The number of the file that the connections read; a connection to another file is not taken
    /// back.
    file: u64,
}

impl IdleReaders {
    /// Closes the idle connections, unless they read `file`.
    fn turn_to(&mut self, file: u64) {
        if self.file != file {
            self.idle.clear();
            self.file = file;
        }
    }

    /// Closes the idle connections.
    pub fn close_readers(&mut self) {
        self.turn_to(0);
    }
}

impl ReaderPool {
    /// Creates a pool for this process's own index, or for the file of another instance.
    pub fn new(is_foreign: bool) -> Self {
        Self { pool: Mutex::default(), is_foreign }
    }

    /// Keeps new readers out while the guard lives.
    pub fn block_readers(&self) -> MutexGuard<'_, IdleReaders> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a read on a connection. A connection that met an error is not used again.
    pub fn read<T>(
        &self,
        path: &Path,
        read: impl FnOnce(&Connection) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let (conn, file) = {
            let mut pool = self.block_readers();
            if self.is_foreign || pool.idle.is_empty() {
                // The owner of the index may have made the file anew.
                pool.turn_to(std::fs::symlink_metadata(path).map_err(IndexError::at(path))?.ino());
            }
            let idle = pool.idle.pop();
            (idle.map_or_else(|| schema::connect_reader(path), Ok)?, pool.file)
        };
        let found = read(&conn)?;
        let mut pool = self.block_readers();
        if pool.file == file && pool.idle.len() < IDLE {
            pool.idle.push(conn);
        }
        Ok(found)
    }
}
