//! Where an index lies, and whose it is.
//!
//! Several instances on one host have a file each. A slot is a pair of files, `<key>.<slot>.sqlite3` and
//! `<key>.<slot>.lock`; who holds a lock on the second owns the first. The system lets go of a lock when its process ends,
//! however it ends, so a slot is never lost.
//!
//! The lock file also says whether the database was closed in order. If it was not, the last transactions lie in
//! `SQLite`'s `-wal` file; should that be gone, the database may be torn, and nothing in it would show that.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::error::IndexError;

/// How many instances can have their index in one directory.
pub(super) const SLOTS: u32 = 64;

/// What is written here is business data: for the owner only.
const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;

const OPEN: &[u8] = b"open\n";
const CLOSED: &[u8] = b"closed\n";

/// A slot that this process holds.
pub(super) struct Slot {
    /// The database.
    pub path: PathBuf,
    /// The lock on it; ends with this.
    lock: File,
}

/// The database in a slot.
pub(super) fn path(dir: &Path, key: &str, slot: u32) -> PathBuf {
    dir.join(format!("{}.{slot}.sqlite3", stem(key)))
}

/// The process that holds the first slot, by what Linux says of locks: `12: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`.
pub(super) fn holder(dir: &Path, key: &str) -> Option<u32> {
    let inode = fs::metadata(lock_path(dir, key, 0)).ok()?.ino().to_string();
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

/// A file that `SQLite` keeps beside a database.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Gives a file to whoever has the folder, where this process may: what root makes on the command line, the daemon has to
/// be able to open. `SQLite` does the same for the files beside the database.
fn give(file: &Path) {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid()));
    let Some(dir) = file.parent() else { return };
    if let (Ok(has), Ok(wants)) = (owner(file), owner(dir))
        && has.0 != wants.0
    {
        // Only root may. Where it is refused, whoever can't open the file is told so.
        let _ = chown(file, Some(wants.0), Some(wants.1));
    }
}

impl Slot {
    /// Takes the first free slot of the first `most`; `None` where all are taken.
    pub fn take(dir: &Path, key: &str, most: u32) -> Result<Option<Self>, IndexError> {
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(IndexError::at(dir))?;
        for slot in 0..most {
            let lock_path = lock_path(dir, key, slot);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
            let lock = options.open(&lock_path).map_err(IndexError::at(&lock_path))?;
            match lock.try_lock() {
                Ok(()) => {
                    give(&lock_path);
                    return Ok(Some(Self { path: path(dir, key, slot), lock }));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(IndexError::at(&lock_path)(source)),
            }
        }
        Ok(None)
    }

    /// Makes sure that there is a database file and that nobody else can read it. `SQLite` gives the files beside it the
    /// same mode.
    pub fn prepare(&self) -> Result<(), IndexError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&self.path);
        let kept = match made {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&self.path, Permissions::from_mode(FILE_MODE))
            }
            Err(error) => Err(error),
        };
        give(&self.path);
        kept.map_err(IndexError::at(&self.path))
    }

    /// Deletes the database.
    pub fn delete(&self) -> Result<(), IndexError> {
        for path in [beside(&self.path, "-wal"), beside(&self.path, "-shm"), self.path.clone()] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(IndexError::at(&path)(source)),
                _ => {}
            }
        }
        self.mark(CLOSED).map_err(IndexError::at(&self.path))
    }

    /// What the files themselves show to be missing, before anybody has opened them. Must not be called while a connection
    /// is open: closing the file here would end that connection's locks.
    pub fn missing(&self) -> io::Result<Option<&'static str>> {
        if self.has_wal() {
            return Ok(None);
        }
        if self.was_left_open()? {
            return Ok(Some("it was not closed in order, and its `-wal` file is gone"));
        }
        let mut file = File::open(&self.path)?;
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
        fs::metadata(beside(&self.path, "-wal")).is_ok_and(|wal| wal.len() > 0)
    }

    fn was_left_open(&self) -> io::Result<bool> {
        let mut text = Vec::new();
        let mut lock = &self.lock;
        lock.rewind()?;
        lock.read_to_end(&mut text)?;
        Ok(text == OPEN)
    }

    /// Notes that the database is open, once it has its `-wal` file.
    pub fn mark_open(&self) -> io::Result<()> {
        self.mark(OPEN)
    }

    /// Notes that the database was closed, if all of it lies in its own file.
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

impl Drop for Slot {
    fn drop(&mut self) {
        // A process that is just being started holds a copy of every open file for a moment, and with it the lock.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_slot_is_free_at_once_even_while_a_child_process_starts() {
        let dir = TempDir::new().unwrap();
        let slot = Slot::take(dir.path(), "key", 1).unwrap().unwrap();
        let copy = slot.lock.try_clone().unwrap();
        assert!(Slot::take(dir.path(), "key", 1).unwrap().is_none());
        assert_eq!(holder(dir.path(), "key"), Some(std::process::id()));
        drop(slot);
        assert!(Slot::take(dir.path(), "key", 1).unwrap().is_some());
        drop(copy);
    }

    #[test]
    fn ledgers_share_no_file() {
        let dir = Path::new("/var/lib/ferryd");
        assert_eq!(path(dir, "a", 3), path(dir, "a", 3));
        assert_ne!(path(dir, "a", 0), path(dir, "b", 0));
        assert_ne!(path(dir, "a", 0), path(dir, "a", 1));
    }
}
