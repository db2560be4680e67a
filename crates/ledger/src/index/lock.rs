//! The files of an index, and the lock that gives them to one process.
//!
//! Several instances on one host have a file each. A slot is a pair of files,
//! `<key>.<slot>.sqlite3` and `<key>.<slot>.lock`; the process that holds a lock on the second owns
//! the first. The system releases a lock when its process ends, however it ends, so a slot is never
//! lost.
//!
//! The folder is the daemon's, and root works in it on the command line. So any file under one of
//! these names is opened without following a link, and used only where it is a regular file without
//! a second name; it is handed over to the owner of the folder by its descriptor. The folder itself
//! may be reached by symbolic links: the configuration names it.
//!
//! The lock file also records whether the database was closed in order. If it was not, the last
//! transactions lie in `SQLite`'s `-wal` file; should that be gone, the database may be torn, and
//! nothing in it would show that.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::IndexError;
use crate::regular_file::{
    give_to_folder_owner, open_regular_file, open_sole_file, require_sole_or_absent,
};

/// The maximum number of instances that have their index in one directory.
pub(super) const SLOTS: u32 = 64;

/// The mode of all files: the index holds business data, which only the owner may read.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

const OPEN: &[u8] = b"open\n";
const CLOSED: &[u8] = b"closed\n";

/// A slot that this process holds.
pub(super) struct IndexLock {
    /// The path of the database.
    pub path: PathBuf,
    /// The lock on the database, which ends when this value is dropped.
    lock: File,
}

/// Deletes the databases in `dir` that no process holds, and returns their number.
pub(super) fn delete_unused(dir: &Path, key: &str) -> Result<usize, IndexError> {
    let mut deleted = 0;
    for slot in (0..SLOTS).filter(|slot| path(dir, key, *slot).exists()) {
        if let Some(unused) = IndexLock::lock(dir, key, slot)? {
            unused.delete()?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Returns the path of the database in a slot.
pub(super) fn path(dir: &Path, key: &str, slot: u32) -> PathBuf {
    dir.join(format!("{}.{slot}.sqlite3", stem(key)))
}

/// Returns the id of the process that holds the first slot, from Linux's list of locks:
/// `12: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
pub(super) fn holder(dir: &Path, key: &str) -> Option<u32> {
    let inode = fs::symlink_metadata(lock_path(dir, key, 0)).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let locked = words.get(5)?.rsplit(':').next()? == inode && words.get(1) == Some(&"FLOCK");
        words.get(4).filter(|_| locked)?.parse().ok().filter(|pid| *pid > 0)
    })
}

fn lock_path(dir: &Path, key: &str, slot: u32) -> PathBuf {
    dir.join(format!("{}.{slot}.lock", stem(key)))
}

fn stem(key: &str) -> String {
    let mut half = [0; 8];
    half.copy_from_slice(&Sha256::digest(key.as_bytes())[..8]);
    format!("{:016x}", u64::from_be_bytes(half))
}

/// Returns the path of a file that `SQLite` keeps beside a database.
fn file_beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the options for opening a file of an index: it is created where it is missing, and never
/// truncated.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    options
}

impl IndexLock {
    /// Takes the first free slot of the first `most`; `None` where all are taken.
    pub fn take(dir: &Path, key: &str, most: u32) -> Result<Option<Self>, IndexError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIR_MODE)
            .create(dir)
            .map_err(IndexError::at(dir))?;
        for slot in 0..most {
            if let Some(taken) = Self::lock(dir, key, slot)? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Takes one slot; `None` where it is taken.
    fn lock(dir: &Path, key: &str, slot: u32) -> Result<Option<Self>, IndexError> {
        let lock_path = lock_path(dir, key, slot);
        let lock =
            open_sole_file(&lock_path, &mut options()).map_err(IndexError::at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {
                give_to_folder_owner(&lock, dir);
                Ok(Some(Self { path: path(dir, key, slot), lock }))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(IndexError::at(&lock_path)(source)),
        }
    }

    /// Ensures that the database file exists, that only its owner can read it, and that no foreign
    /// file lies where `SQLite` is going to have files. `SQLite` gives those the same mode and
    /// owner.
    pub fn prepare(&self) -> Result<(), IndexError> {
        for suffix in ["-wal", "-shm"] {
            let path = file_beside(&self.path, suffix);
            require_sole_or_absent(&path).map_err(IndexError::at(&path))?;
        }
        let opened = open_sole_file(&self.path, &mut options()).and_then(|file| {
            file.set_permissions(Permissions::from_mode(FILE_MODE))?;
            Ok(file)
        });
        let file = opened.map_err(IndexError::at(&self.path))?;
        if let Some(folder) = self.path.parent() {
            give_to_folder_owner(&file, folder);
        }
        Ok(())
    }

    /// Deletes the database.
    pub fn delete(&self) -> Result<(), IndexError> {
        for path in
            [file_beside(&self.path, "-wal"), file_beside(&self.path, "-shm"), self.path.clone()]
        {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(IndexError::at(&path)(source));
                }
                _ => {}
            }
        }
        self.mark(CLOSED).map_err(IndexError::at(&self.path))
    }

    /// Names the part that the files themselves show to be missing, before the database is opened.
    /// Must not be called while a connection is open: closing the file here would end that
    /// connection's locks.
    pub fn find_missing(&self) -> io::Result<Option<&'static str>> {
        if self.has_wal() {
            return Ok(None);
        }
        if self.was_left_open()? {
            return Ok(Some("it was not closed in order, and its `-wal` file is gone"));
        }
        let mut file = open_regular_file(&self.path, OpenOptions::new().read(true))?;
        let mut header = [0; 32];
        let length = file.metadata()?.len();
        if length == 0 {
            return Ok(None);
        }
        if file.read_exact(&mut header).is_err() {
            return Ok(Some("it ends within its header"));
        }
        // SQLite file format, section 1.3: page size (1 means 65,536) and number of pages.
        let page = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => u64::from(size),
        };
        let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
        Ok((length < page * u64::from(pages)).then_some("its end is missing"))
    }

    fn has_wal(&self) -> bool {
        fs::symlink_metadata(file_beside(&self.path, "-wal"))
            .is_ok_and(|wal| wal.is_file() && wal.len() > 0)
    }

    fn was_left_open(&self) -> io::Result<bool> {
        let mut text = Vec::new();
        let mut lock = &self.lock;
        lock.rewind()?;
        lock.read_to_end(&mut text)?;
        Ok(text == OPEN)
    }

    /// Marks the database as open, once it has its `-wal` file.
    pub fn mark_open(&self) -> io::Result<()> {
        self.mark(OPEN)
    }

    /// Marks the database as closed, if all of it lies in its own file.
    pub fn mark_closed(&self) -> io::Result<()> {
        if self.has_wal() { Ok(()) } else { self.mark(CLOSED) }
    }

    fn mark(&self, word: &[u8]) -> io::Result<()> {
        let mut lock = &self.lock;
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(word)
    }
}

impl Drop for IndexLock {
    fn drop(&mut self) {
        // A process that is just being started holds a copy of every open file for a moment, and
        // with it the lock.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
