use std::collections::BTreeSet;

use tempfile::TempDir;

use super::fixture::{SampleCommand, changes, id, record_id, seconds};
use super::*;
use crate::command_filter::CommandFilter;

const KEY: &str = "localhost:5672/ ferry";

/// Reads all files in the folder of an index.
fn bytes(dir: &TempDir) -> Vec<u8> {
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    files.flat_map(|file| std::fs::read(file).unwrap()).collect()
}

fn holds(dir: &TempDir, text: &str) -> bool {
    bytes(dir).windows(text.len()).any(|window| window == text.as_bytes())
}

fn secret(number: i64) -> String {
    format!("secret-{number:05};")
}

/// Lists the commands whose secret is still in a file in the folder of an index.
fn legible(dir: &TempDir) -> BTreeSet<i64> {
    let bytes = String::from_utf8_lossy(&bytes(dir)).into_owned();
    bytes.split("secret-").skip(1).filter_map(|rest| rest.get(..5)?.parse().ok()).collect()
}

/// Builds a command that holds its secret often enough for a row of usual size.
fn sample(number: i64) -> SampleCommand {
    SampleCommand::new(&format!("order-{number}"), number)
        .with_contents(&secret(number).repeat(12 + usize::try_from(number % 9).unwrap()))
}

/// Saves commands whose changes alternate, so that rows grow between rows that have grown already.
fn fill(index: &LedgerIndex, count: i64) {
    for number in 0..count + 40 {
        if number < count {
            let new = sample(number);
            index.save(&changes([(&new, new.opened())], 1), seconds(0)).unwrap();
        }
        let older = number - 7 - (number * 13) % 29;
        for done in [older, number - 40].into_iter().filter(|done| (0..count).contains(done)) {
            let done = sample(done);
            index.save(&changes([(&done, done.completed())], 1), seconds(0)).unwrap();
        }
    }
}

#[test]
fn what_is_erased_stands_in_no_file_of_the_index() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), KEY).unwrap();
    fill(&index, 400);
    let erased: Vec<i64> = (0..400).filter(|number| number % 7 == 3).collect();
    assert_eq!(legible(&dir), (0..400).collect());
    for batch in erased.chunks(5) {
        let samples: Vec<_> = batch.iter().map(|number| sample(*number)).collect();
        let states = samples.iter().map(|sample| (sample, sample.erased(sample.completed())));
        index.save(&changes(states, 2), seconds(1)).unwrap();
    }
    assert_eq!(legible(&dir), (0..400).filter(|number| !erased.contains(number)).collect());
    for number in 0..400 {
        assert_eq!(
            index.command_state(&sample(number).id()).unwrap().unwrap().is_erased(),
            erased.contains(&number)
        );
        let reference = CommandFilter {
            reference: sample(number).identity.reference,
            ..CommandFilter::default()
        };
        let found = index.list(&reference, None, 1).unwrap().rows.len();
        assert_eq!(found, usize::from(!erased.contains(&number)), "{number}");
    }
    drop(index);
    let again = LedgerIndex::open(dir.path(), KEY).unwrap();
    assert!(again.command_state(&id("order-3")).unwrap().unwrap().is_erased());
    assert!(!holds(&dir, &secret(3)) && holds(&dir, &secret(4)));
}

#[test]
fn unreadable_lines_about_an_erased_command_are_erased_with_it() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), KEY).unwrap();
    let (sample, other) = (SampleCommand::new("order-1", 0), SampleCommand::new("order-12", 0));
    let line = |sample: &SampleCommand, text: &str| {
        let line = format!("{{\"command\":\"{}\",\"text\":\"{text}\"", sample.id()).into_bytes();
        UnreadableEntry { id: record_id(3), line, why: "cut".to_owned() }
    };
    let mut saved = changes([(&sample, sample.completed()), (&other, other.completed())], 1);
    saved.unreadable = vec![line(&sample, "line-of-jane"), line(&other, "line-of-john")];
    index.save(&saved, seconds(1)).unwrap();
    assert!(["line-of-jane", "line-of-john"].iter().all(|text| holds(&dir, text)));

    let erased = changes([(&sample, sample.erased(sample.completed()))], 2);
    index.save(&erased, seconds(2)).unwrap();
    assert!(!holds(&dir, "line-of-jane") && holds(&dir, "line-of-john"));
    assert_eq!(index.counts().unwrap().unreadable, 2);
}

#[test]
fn contents_that_are_old_leave_the_files_and_ids_stay() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), KEY).unwrap();
    let noted = |id, after, note: &str| {
        let mut sample = SampleCommand::new(id, after).with_contents(&format!("{id}-text"));
        sample.identity.metadata = [("note".to_owned(), note.to_owned())].into();
        sample
    };
    let (old, new) = (noted("old", 0, "old-note"), noted("new", 5_000, "new-note"));
    let cancel_requested = SampleCommand::new("cancel-requested", 0);
    let states = [
        (&old, old.completed()),
        (&new, new.completed()),
        (&cancel_requested, cancel_requested.cancel_requested()),
    ];
    index.save(&changes(states, 1), seconds(0)).unwrap();
    assert_eq!(index.remove_contents(seconds(1_000)).unwrap(), vec![id("old")]);
    assert_eq!(index.remove_contents(seconds(1_000)).unwrap(), Vec::<CommandId>::new(), "once");
    index.checkpoint_wal().unwrap();
    assert!(!holds(&dir, "old-note") && holds(&dir, "new-note"));
    let state = index.command_state(&id("old")).unwrap().unwrap();
    assert_eq!(state, old.completed().without_contents().unwrap());
    let reference =
        CommandFilter { reference: Some("old-text".to_owned()), ..CommandFilter::default() };
    assert_eq!(index.list(&reference, None, 1).unwrap().rows[0].id, id("old"));
    assert_eq!(index.find_by_reference("pi_old").unwrap(), vec![id("old")]);
    index.prune_commands(seconds(2_000)).unwrap();
    assert_eq!(
        (
            index.command_state(&id("old")).unwrap(),
            index.command_state(&id("new")).unwrap().is_some()
        ),
        (None, true)
    );
}

#[test]
fn an_index_that_nobody_uses_is_deleted_and_one_in_use_is_not() {
    let dir = TempDir::new().unwrap();
    let (first, second) =
        (LedgerIndex::open(dir.path(), KEY).unwrap(), LedgerIndex::open(dir.path(), KEY).unwrap());
    let other = LedgerIndex::open(dir.path(), "another ledger").unwrap();
    let (used, unused, others) =
        (first.path().to_owned(), second.path().to_owned(), other.path().to_owned());
    drop((second, other));
    assert_eq!(LedgerIndex::delete_unused(dir.path(), KEY).unwrap(), 1);
    assert_eq!((used.exists(), unused.exists(), others.exists()), (true, false, true));
    drop(first);
}

#[test]
fn what_a_process_erased_before_it_died_leaves_the_files_though_somebody_reads_them_at_the_next_start()
 {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), KEY).unwrap();
    let (sample, other) = (
        SampleCommand::new("order-1", 0).with_contents("secret-text"),
        SampleCommand::new("order-2", 0),
    );
    index.save(&changes([(&sample, sample.completed())], 1), seconds(0)).unwrap();
    let mut paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let database =
        paths.find(|path| std::fs::read(path).unwrap().starts_with(b"SQLite format 3")).unwrap();
    let reader = rusqlite::Connection::open(database).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM commands").unwrap();
    index.save(&changes([(&sample, sample.erased(sample.completed()))], 2), seconds(1)).unwrap();
    drop(index);

    let index = LedgerIndex::open(dir.path(), KEY).unwrap();
    assert!(holds(&dir, "secret-text"), "the reader has it still");
    drop(reader);
    index.save(&changes([(&other, other.completed())], 3), seconds(2)).unwrap();
    assert!(!holds(&dir, "secret-text"));
}
