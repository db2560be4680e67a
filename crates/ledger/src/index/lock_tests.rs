use std::os::unix::fs::{fchown, symlink};

use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use tempfile::TempDir;

use super::super::LedgerIndex;
use super::*;

#[test]
fn a_slot_is_free_at_once_even_while_a_child_process_starts() {
    let dir = TempDir::new().unwrap();
    let slot = IndexLock::take(dir.path(), "key", 1).unwrap().unwrap();
    let copy = slot.lock.try_clone().unwrap();
    assert!(IndexLock::take(dir.path(), "key", 1).unwrap().is_none());
    assert_eq!(holder(dir.path(), "key"), Some(std::process::id()));
    drop(slot);
    assert!(IndexLock::take(dir.path(), "key", 1).unwrap().is_some());
    drop(copy);
}

#[test]
fn ledgers_share_no_file() {
    let dir = Path::new("/var/lib/ferryd");
    assert_eq!(path(dir, "a", 3), path(dir, "a", 3));
    assert_ne!(path(dir, "a", 0), path(dir, "b", 0));
    assert_ne!(path(dir, "a", 0), path(dir, "a", 1));
}

/// The user id of the owner of an index's folder: another user, where root runs the tests.
const DAEMON: u32 = 4711;

/// Creates a folder of the daemon's, and elsewhere a file that is not the daemon's.
fn folder_and_victim() -> (TempDir, TempDir, PathBuf) {
    let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "kept").unwrap();
    fs::set_permissions(&victim, Permissions::from_mode(0o644)).unwrap();
    if geteuid().is_root() {
        fchown(File::open(dir.path()).unwrap(), Some(DAEMON), Some(DAEMON)).unwrap();
    }
    (dir, elsewhere, victim)
}

#[test]
fn what_lies_in_the_place_of_a_file_of_the_index_is_neither_followed_nor_handed_over() {
    for name in ["lock", "sqlite3", "sqlite3-wal", "sqlite3-shm"] {
        for (how, fault) in [
            ("link", "is a symbolic link"),
            ("dangling", "is a symbolic link"),
            ("hard", "has a second name"),
            ("fifo", "no regular file"),
        ] {
            let (dir, _elsewhere, victim) = folder_and_victim();
            let place = dir.path().join(format!("{}.0.{name}", stem("key")));
            match how {
                "link" => symlink(&victim, &place).unwrap(),
                "dangling" => symlink(victim.with_extension("new"), &place).unwrap(),
                "hard" => fs::hard_link(&victim, &place).unwrap(),
                _ => mkfifo(&place, Mode::S_IRWXU).unwrap(),
            }
            let before = fs::metadata(&victim).unwrap();
            let error = LedgerIndex::open(dir.path(), "key").map(drop).unwrap_err().to_string();
            assert!(
                error.contains(fault) && error.contains(&format!("0.{name}: ")),
                "{name} {how}: {error}"
            );
            let after = fs::metadata(&victim).unwrap();
            let owned = |metadata: &fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode());
            assert_eq!(owned(&after), owned(&before), "{name} {how}");
            assert_eq!(fs::read_to_string(&victim).unwrap(), "kept", "{name} {how}");
            assert!(!victim.with_extension("new").exists(), "{name} {how}");
            assert!(place.symlink_metadata().is_ok(), "{name} {how}: it is for a person to remove");
        }
    }
}

#[test]
fn a_reader_does_not_follow_a_link_in_the_place_of_the_database() {
    let (dir, elsewhere, _) = folder_and_victim();
    drop(LedgerIndex::open(elsewhere.path(), "key").unwrap());
    symlink(path(elsewhere.path(), "key", 0), path(dir.path(), "key", 0)).unwrap();
    assert!(LedgerIndex::open_read_only(dir.path(), "key").is_err());
}

#[test]
fn a_folder_may_be_reached_by_a_link_and_what_root_makes_in_it_is_its_owners() {
    let (dir, elsewhere, _) = folder_and_victim();
    let link = elsewhere.path().join("state");
    symlink(dir.path(), &link).unwrap();
    let index = LedgerIndex::open(&link, "key").unwrap();
    drop(LedgerIndex::open_read_only(&link, "key").unwrap());
    let owner = fs::metadata(dir.path()).unwrap().uid();
    let mut names = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        assert_eq!((metadata.uid(), metadata.mode() & 0o777), (owner, FILE_MODE), "{name}");
        names.push(name);
    }
    assert_eq!(names.len(), 4, "lock, database, -wal and -shm: {names:?}");
    drop(index);
}
