//! Tests that an instance starts and works whatever files lie in the place of the index.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};

use tempfile::TempDir;

use super::fixture::{SampleCommand, changes, seconds};
use super::*;
use crate::command_filter::CommandFilter;

const KEY: &str = "localhost:5672/ ferry";

fn open(dir: &Path) -> LedgerIndex {
    LedgerIndex::open(dir, KEY).unwrap()
}

/// Saves enough commands to fill a few hundred pages.
fn fill(index: &LedgerIndex) -> Vec<SampleCommand> {
    let samples: Vec<_> =
        (0..1_000).map(|n| SampleCommand::new(&format!("command-{n}"), n)).collect();
    index
        .save(&changes(samples.iter().map(|sample| (sample, sample.completed())), 9), seconds(0))
        .unwrap();
    samples
}

fn works(index: &LedgerIndex) {
    let sample = SampleCommand::new("new", 0);
    index.save(&changes([(&sample, sample.opened())], 1), seconds(0)).unwrap();
    assert_eq!(index.command_state(&sample.id()).unwrap(), Some(sample.opened()));
    assert_eq!(index.list(&CommandFilter::default(), None, 1).unwrap().rows.len(), 1);
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Copies the files of an open index to another directory, as they were if the process were killed
/// now.
fn killed(index: &LedgerIndex, to: &Path) -> PathBuf {
    let dir = index.path().parent().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    to.join(index.path().file_name().unwrap())
}

#[test]
fn a_file_that_is_not_this_index_is_made_anew() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 9] = [
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
        ("garbage", |path| fs::write(path, "garbage".repeat(10_000)).unwrap()),
        ("a bit of garbage", |path| fs::write(path, "x").unwrap()),
        ("half", |path| {
            let length = fs::metadata(path).unwrap().len();
            OpenOptions::new().write(true).open(path).unwrap().set_len(length / 2).unwrap();
        }),
        ("another version", |path| {
            Connection::open(path)
                .unwrap()
                .pragma_update(None, "user_version", schema::VERSION + 1)
                .unwrap();
        }),
        ("another program's", |path| {
            fs::remove_file(path).unwrap();
            Connection::open(path).unwrap().execute_batch("CREATE TABLE other (a)").unwrap();
        }),
        ("another ledger's", |path| {
            Connection::open(path)
                .unwrap()
                .execute("UPDATE meta SET value = 'other' WHERE name = 'key'", ())
                .unwrap();
        }),
        ("without a table", |path| {
            Connection::open(path).unwrap().execute_batch("DROP TABLE bodies").unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let dir = TempDir::new().unwrap();
        let index = open(dir.path());
        let samples = fill(&index);
        let path = index.path().to_owned();
        drop(index);
        spoil(&path);
        let index = open(dir.path());
        assert_eq!(index.path(), path, "{what}");
        assert_eq!(index.checkpoint().unwrap(), None, "{what}");
        assert_eq!(index.command_state(&samples[0].id()).unwrap(), None, "{what}");
        works(&index);
        drop(index);
        // The new index is kept from then on.
        assert!(open(dir.path()).checkpoint().unwrap().is_some(), "{what}");
    }
}

#[test]
fn after_a_kill_everything_saved_is_there() {
    let (dir, left) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let index = open(dir.path());
    let samples = fill(&index);
    killed(&index, left.path());
    let index = open(left.path());
    assert_eq!(index.checkpoint().unwrap().unwrap().offset, 9);
    assert_eq!(index.command_state(&samples[999].id()).unwrap(), Some(samples[999].completed()));
}

#[test]
fn without_the_wal_file_of_a_killed_process_the_index_is_made_anew() {
    let (dir, left) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let index = open(dir.path());
    fill(&index);
    let path = killed(&index, left.path());
    fs::remove_file(beside(&path, "-wal")).unwrap();
    let index = open(left.path());
    assert_eq!(index.checkpoint().unwrap(), None);
    works(&index);
}

#[test]
fn a_torn_wal_file_loses_only_what_came_last() {
    let (dir, left) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let index = open(dir.path());
    fill(&index);
    let path = killed(&index, left.path());
    let wal = OpenOptions::new().write(true).open(beside(&path, "-wal")).unwrap();
    wal.set_len(wal.metadata().unwrap().len() - 1).unwrap();
    let index = open(left.path());
    assert_eq!(index.checkpoint().unwrap(), None);
    works(&index);
}

#[test]
fn damage_found_while_reading_or_writing_is_reported_until_the_index_is_cleared() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let samples = fill(&index);
    let path = index.path().to_owned();
    drop(index);
    // Overwrites everything behind the first pages, which describe the tables.
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(32 * 4_096)).unwrap();
    file.write_all(&vec![0xA5; usize::try_from(length).unwrap() - 32 * 4_096]).unwrap();
    drop(file);

    let index = open(dir.path());
    let read = samples.iter().find_map(|sample| index.command_state(&sample.id()).err()).unwrap();
    assert!(read.is_damaged(), "{read}");
    let written = index.save(&changes([], 10), seconds(0)).unwrap_err();
    assert!(written.is_damaged(), "{written}");
    index.clear().unwrap();
    assert_eq!(index.command_state(&samples[0].id()).unwrap(), None);
    works(&index);
}

#[test]
fn a_body_that_cannot_be_read_is_damage() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let samples = fill(&index);
    let path = index.path().to_owned();
    drop(index);
    Connection::open(&path)
        .unwrap()
        .execute("UPDATE bodies SET body = x'7b7d' WHERE seq = 1", ())
        .unwrap();
    let index = open(dir.path());
    assert!(index.command_state(&samples[0].id()).unwrap_err().is_damaged());
    assert!(index.list(&CommandFilter::default(), None, 1_000).unwrap_err().is_damaged());
}

#[test]
fn a_reader_refuses_a_file_of_another_version_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let index = open(dir.path());
    let path = index.path().to_owned();
    drop(index);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let error = LedgerIndex::open_read_only(dir.path(), KEY).err().unwrap();
    assert!(error.to_string().contains("its version is 99"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = LedgerIndex::open(&file.join("ledger"), KEY).err().unwrap();
    assert!(error.to_string().contains("ledger.dir"), "{error}");
}
