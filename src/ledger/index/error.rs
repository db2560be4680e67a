//! What can go wrong with the index.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the index could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file or directory can't be used.
    #[error("{path}: {source}; `ledger.dir` has to be a directory that ferryd may write to", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// `SQLite` refused, for a reason that may pass: a full disk, a lock held for long.
    #[error("the index: {0}")]
    Database(rusqlite::Error),
    /// The file is not what was written to it. [`Index::clear`](super::Index::clear) makes a new one, to be filled from the
    /// stream.
    #[error("the index is damaged: {0}")]
    Damaged(String),
    /// Every slot of the directory is taken.
    #[error("{dir}: {slots} instances have their index here, which is the most; give this one its own `ledger.dir`", dir = dir.display())]
    NoSlot {
        /// The directory.
        dir: PathBuf,
        /// How many slots there are.
        slots: u32,
    },
    /// There is nothing that a guest could read.
    #[error("{path}: {why}", path = path.display())]
    NoHost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A guest was asked to write.
    #[error("this index is another instance's and can only be read")]
    Guest,
}

impl IndexError {
    /// Whether only a new file helps.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// Tells whether something lies in the place of a file that is not to be touched.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidInput)
    }

    /// Names the file that the system refused.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}

impl From<rusqlite::Error> for IndexError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let damaged = match &error {
            E::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // Every value was written by this program, with its type.
            E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..) => true,
            _ => false,
        };
        if damaged { Self::Damaged(error.to_string()) } else { Self::Database(error) }
    }
}
