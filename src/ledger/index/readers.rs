//! The connections that read: as many as there are readers at a time.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::error::IndexError;
use super::schema;

/// How many connections are kept open for the next reader.
const IDLE: usize = 8;

/// Connections, given out one reader each.
pub(super) struct Readers {
    pool: Mutex<Pool>,
    /// Whether the file may be made anew by another process, which does not say so.
    guest: bool,
}

/// What is not given out.
#[derive(Default)]
pub(super) struct Pool {
    idle: Vec<Connection>,
    /// Which file they read; a connection to another is not taken back.
    file: u64,
}

impl Pool {
    /// Lets go of the file, unless it is `file`.
    fn turn_to(&mut self, file: u64) {
        if self.file != file {
            self.idle.clear();
            self.file = file;
        }
    }

    /// Lets go of the file.
    pub fn leave(&mut self) {
        self.turn_to(0);
    }
}

impl Readers {
    /// Of one's own index, or of another's as a guest.
    pub fn new(guest: bool) -> Self {
        Self { pool: Mutex::default(), guest }
    }

    /// Keeps new readers out while the guard lives.
    pub fn hold(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads. A connection that met an error is not used again.
    pub fn read<T>(
        &self,
        path: &Path,
        read: impl FnOnce(&Connection) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let (conn, file) = {
            let mut pool = self.hold();
            if self.guest || pool.idle.is_empty() {
                // The owner of the index may have made the file anew.
                pool.turn_to(std::fs::symlink_metadata(path).map_err(IndexError::at(path))?.ino());
            }
            let idle = pool.idle.pop();
            (idle.map_or_else(|| schema::connect_reader(path), Ok)?, pool.file)
        };
        let found = read(&conn)?;
        let mut pool = self.hold();
        if pool.file == file && pool.idle.len() < IDLE {
            pool.idle.push(conn);
        }
        Ok(found)
    }
}
