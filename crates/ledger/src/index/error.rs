//! Errors of the index.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rusqlite::types::FromSqlError;

/// An error of opening, reading or writing the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file or directory can't be used.
    #[error("{path}: {source}; `ledger.dir` has to be a directory that ferryd may write to", path = path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// `SQLite` refused, for a reason that may pass: a full disk, a lock held for long.
    #[error("the index: {0}")]
    Database(rusqlite::Error),
    /// The file differs from what was written to it.
    /// [`LedgerIndex::clear`](super::LedgerIndex::clear) makes a new one, to be filled from the
    /// stream.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// Every slot of the directory is taken.
    #[error("{dir}: {slots} instances have their index here, which is the most; give this one its own `ledger.dir`", dir = dir.display())]
    NoSlot {
        /// The directory.
        dir: PathBuf,
        /// The number of slots.
        slots: u32,
    },
    /// No index exists that this process could read.
    #[error("{path}: {why}", path = path.display())]
    NoIndex {
        /// The file.
        path: PathBuf,
        /// The reason why the file can't be read.
        why: String,
    },
    /// A write was requested of an index that was opened for reading.
    #[error("this index is another instance's and can only be read")]
    ReadOnly,
}

impl IndexError {
    /// Returns true if only a new file helps.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// Returns true if the file's place is occupied by something that must not be touched.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
    }

    /// Adds the path to an error of the operating system.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

impl From<FromSqlError> for IndexError {
    fn from(error: FromSqlError) -> Self {
        rusqlite::Error::from(error).into()
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let damaged = match &error {
            E::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // This program wrote every value, with its type.
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..) => true,
            _ => false,
        };
        if damaged { Self::Damaged(error.to_string()) } else { Self::Database(error) }
    }
}
