use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use tempfile::TempDir;

use super::fixture::{SampleCommand, any_command_state, changes, id, record_id, seconds};
use super::*;
use crate::command_filter::CommandFilter;
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};

const KEY: &str = "localhost:5672/ ferry";

fn open(dir: &TempDir) -> LedgerIndex {
    LedgerIndex::open(dir.path(), KEY).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_saved_case_reads_back_equal_and_its_row_is_found_by_what_it_says(
        (sample, command_state) in any_command_state(), (_, later) in any_command_state(),
    ) {
        let dir = TempDir::new().unwrap();
        let index = open(&dir);
        for command_state in [command_state, later] {
            index.save(&changes([(&sample, command_state.clone())], 1), seconds(0)).unwrap();
            prop_assert_eq!(index.command_state(&sample.id()).unwrap(), Some(command_state.clone()));
            let row = CommandRow::new(sample.id(), &command_state);
            let filter = CommandFilter {
                provider: row.provider.clone(),
                state: Some(row.state),
                kind: row.kind.map(Into::into),
                code: row.code.clone(),
                http_status: row.http_status,
                generation: Some(row.generation),
                dead: row.dead,
                newer_than: row.updated_at,
                ..CommandFilter::default()
            };
            prop_assert_eq!(index.list(&filter, None, 10).unwrap().rows, vec![row.clone()]);
            let counts = index.counts().unwrap();
            prop_assert_eq!(counts.states.values().sum::<u64>(), 1);
            prop_assert_eq!((counts.states[&row.state], counts.dead), (1, u64::from(row.dead)));
        }
    }
}

#[test]
fn a_save_pauses_after_every_few_commands_and_is_seen_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let samples: Vec<_> = (0..100).map(|n| SampleCommand::new(&format!("c-{n}"), n)).collect();
    let saved = changes(samples.iter().map(|sample| (sample, sample.completed())), 7);
    let mut pauses = 0;
    let mut pause = || {
        pauses += 1;
        assert_eq!(index.command_state(&samples[0].id()).unwrap(), None, "half a save is seen");
    };
    index.save_with_pauses(&saved, seconds(0), &mut pause).unwrap();
    assert_eq!(pauses, 3);
    for sample in &samples {
        assert_eq!(index.command_state(&sample.id()).unwrap(), Some(sample.completed()));
    }
}

#[test]
fn what_was_saved_is_there_after_the_next_start() {
    let dir = TempDir::new().unwrap();
    let writer = Uuid::from_u128(1);
    let sample = SampleCommand::new("a", 0);
    let mut saved = changes([(&sample, sample.completed())], u64::MAX - 1);
    saved.writers = vec![(writer, u64::MAX)];
    let index = open(&dir);
    assert_eq!(index.checkpoint().unwrap(), None);
    index.save(&saved, seconds(0)).unwrap();
    drop(index);

    let index = open(&dir);
    assert_eq!(index.checkpoint().unwrap(), Some(saved.checkpoint));
    assert_eq!(index.writers().unwrap(), vec![(writer, u64::MAX)]);
    assert_eq!(index.command_state(&sample.id()).unwrap(), Some(sample.completed()));
    assert_eq!(index.command_state(&id("b")).unwrap(), None);
    assert_eq!(index.counts().unwrap().since, Some(sample.at));
}

#[test]
fn files_are_for_the_owner_only() {
    let dir = TempDir::new().unwrap();
    let inner = dir.path().join("ledger");
    let index = LedgerIndex::open(&inner, KEY).unwrap();
    index.save(&changes([], 1), seconds(0)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    let files: Vec<_> =
        std::fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn several_instances_have_a_file_each_and_a_free_slot_is_taken_again() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (open(&dir), open(&dir));
    let elsewhere = LedgerIndex::open(dir.path(), "another ledger").unwrap();
    let paths: HashSet<_> =
        [&first, &second, &elsewhere].map(|index| index.path().to_owned()).into();
    assert_eq!(paths.len(), 3);
    assert!(LedgerIndex::open_first(dir.path(), KEY).unwrap().is_none());

    let path = first.path().to_owned();
    drop(first);
    assert_eq!(LedgerIndex::open_first(dir.path(), KEY).unwrap().unwrap().path(), path);
    assert_eq!(open(&dir).path(), path);
}

#[test]
fn a_reader_sees_what_the_owner_saved_and_cannot_write() {
    let dir = TempDir::new().unwrap();
    assert!(matches!(
        LedgerIndex::open_read_only(dir.path(), KEY),
        Err(IndexError::NoIndex { .. })
    ));
    let owner = open(&dir);
    let reader = LedgerIndex::open_read_only(dir.path(), KEY).unwrap();
    let (one, two) = (SampleCommand::new("one", 0), SampleCommand::new("two", 0));
    for (sample, offset) in [(&one, 1), (&two, 2)] {
        owner.save(&changes([(sample, sample.opened())], offset), seconds(0)).unwrap();
        assert_eq!(reader.command_state(&sample.id()).unwrap(), Some(sample.opened()));
        assert_eq!(reader.checkpoint().unwrap().unwrap().offset, offset);
    }
    assert!(matches!(reader.save(&changes([], 3), seconds(0)), Err(IndexError::ReadOnly)));
    assert!(matches!(reader.clear(), Err(IndexError::ReadOnly)));
    assert!(matches!(reader.prune_commands(seconds(0)), Err(IndexError::ReadOnly)));
}

#[test]
fn a_reader_goes_on_with_the_new_file_when_the_owner_cleared_the_old_one() {
    let dir = TempDir::new().unwrap();
    let owner = open(&dir);
    let reader = LedgerIndex::open_read_only(dir.path(), KEY).unwrap();
    let sample = SampleCommand::new("one", 0);
    owner.save(&changes([(&sample, sample.opened())], 1), seconds(0)).unwrap();
    assert!(reader.command_state(&sample.id()).unwrap().is_some());
    owner.clear().unwrap();
    assert_eq!(reader.command_state(&sample.id()).unwrap(), None);
    owner.save(&changes([(&sample, sample.completed())], 1), seconds(0)).unwrap();
    assert_eq!(reader.command_state(&sample.id()).unwrap(), Some(sample.completed()));
}

#[test]
fn a_reader_that_leaves_last_takes_nothing_with_it() {
    let dir = TempDir::new().unwrap();
    let owner = open(&dir);
    let sample = SampleCommand::new("one", 0);
    owner.save(&changes([(&sample, sample.opened())], 1), seconds(0)).unwrap();
    let reader = LedgerIndex::open_read_only(dir.path(), KEY).unwrap();
    assert!(reader.command_state(&sample.id()).unwrap().is_some());
    drop(owner);
    assert!(reader.command_state(&sample.id()).unwrap().is_some());
    drop(reader);
    assert!(open(&dir).command_state(&sample.id()).unwrap().is_some());
}

#[test]
fn clearing_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let sample = SampleCommand::new("one", 0);
    index.save(&changes([(&sample, sample.opened())], 1), seconds(0)).unwrap();
    index.clear().unwrap();
    assert_eq!(index.checkpoint().unwrap(), None);
    assert_eq!(index.command_state(&sample.id()).unwrap(), None);
    assert_eq!(index.counts().unwrap().states[&LifecycleState::Pending], 0);
    index.save(&changes([(&sample, sample.opened())], 1), seconds(0)).unwrap();
    assert_eq!(index.counts().unwrap().states[&LifecycleState::Pending], 1);
}

#[test]
fn what_is_over_is_forgotten_and_everything_else_stays() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let done: Vec<_> = (0..1_200).map(|n| SampleCommand::new(&format!("done-{n}"), n)).collect();
    let [requested, dead, open, waiting] =
        ["cancel-requested", "dead", "open", "waiting"].map(|id| SampleCommand::new(id, 0));
    let mut saved = changes(done.iter().map(|sample| (sample, sample.completed())), 1);
    let others = [
        (&requested, requested.cancel_requested()),
        (&dead, dead.failed(FailureKind::Rejected, "no_such_card", 404)),
        (&open, open.opened()),
        (&waiting, waiting.waiting()),
    ];
    saved.cases.extend(changes(others, 1).cases);
    saved.writers = vec![(Uuid::from_u128(1), 5)];
    index.save(&saved, seconds(500)).unwrap();
    let mut newer = changes([], 2);
    // The last two writers wrote one record each, one long ago, the other just now.
    newer.writers = vec![(Uuid::from_u128(2), 6), (Uuid::from_u128(3), 1)];
    index.save(&newer, seconds(5_000)).unwrap();
    newer.writers = vec![(Uuid::from_u128(4), 1)];
    index.save(&newer, Timestamp::now()).unwrap();

    // A command completes one second after it came.
    let mut forgotten = Vec::new();
    while let some @ 1.. = index.prune_commands(seconds(1_001)).unwrap() {
        forgotten.push(some);
    }
    assert_eq!(forgotten, [500, 500, 1]);
    assert_eq!(index.command_state(&done[999].id()).unwrap(), None);
    assert!(index.command_state(&done[1_000].id()).unwrap().is_some());
    assert_eq!(index.command_state(&requested.id()).unwrap(), None);
    let counts = index.counts().unwrap();
    let by_state = [
        LifecycleState::Completed,
        LifecycleState::Failed,
        LifecycleState::Pending,
        LifecycleState::Waiting,
    ]
    .map(|state| counts.states[&state]);
    assert_eq!((by_state, counts.dead), ([200, 1, 1, 1], 1));
    assert_eq!(counts.since, Some(seconds(1_001)));
    assert_eq!(index.writers().unwrap(), vec![(Uuid::from_u128(2), 6), (Uuid::from_u128(4), 1)]);
    // The old facet was deleted with the last of its commands; a new one takes its place.
    index.save(&changes([(&requested, requested.cancel_requested())], 3), seconds(0)).unwrap();
    assert_eq!(index.counts().unwrap().states[&LifecycleState::Pending], 2);
}

#[test]
fn what_was_refused_under_an_id_is_found_and_is_forgotten_once_it_is_discarded() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let order = SampleCommand::new("order-1", 0);
    let refused: Vec<_> = [b"a", b"b"]
        .map(|body: &[u8; 1]| SampleCommand {
            identity: ferryd_domain::command::EchoedIdentity {
                id: id("order-1").for_refused(&[body]),
                ..order.identity.clone()
            },
            ..order.clone()
        })
        .into();
    let near: Vec<_> = ["order-1.refused", "order-10", "order-1:refused"]
        .map(|text| SampleCommand::new(text, 0))
        .into();
    let all = refused.iter().chain(&near).chain([&order]);
    index
        .save(
            &changes(all.map(|sample| (sample, sample.failed(FailureKind::Invalid, "x", 400))), 1),
            seconds(0),
        )
        .unwrap();
    let mut expected: Vec<_> = refused.iter().map(SampleCommand::id).collect();
    expected.sort();
    assert_eq!(index.refused_under(&id("order-1"), 9).unwrap(), expected);
    assert_eq!(index.refused_under(&id("order-1"), 1).unwrap(), expected[..1]);
    assert_eq!(index.refused_under(&id("order-10"), 9).unwrap(), []);
    let over = refused
        .iter()
        .map(|sample| (sample, sample.failed(FailureKind::Discarded, "discarded", 0)));
    index.save(&changes(over, 2), seconds(0)).unwrap();
    while index.prune_commands(seconds(500)).unwrap() > 0 {}
    assert_eq!(index.refused_under(&id("order-1"), 9).unwrap(), []);
    assert!(index.command_state(&order.id()).unwrap().is_some(), "a dead letter stays");
}

#[test]
fn unreadable_lines_are_all_counted_and_the_latest_kept() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let mut saved = changes([], 1);
    let line = |number| UnreadableEntry {
        id: record_id(number),
        line: vec![b'x'; 100_000],
        why: "no record".to_owned(),
    };
    saved.unreadable = (1..=1_001).map(line).collect();
    index.save(&saved, seconds(0)).unwrap();
    assert_eq!(index.counts().unwrap().unreadable, 1_001);
    let kept = index.unreadable_lines().unwrap();
    assert_eq!(kept.len(), 1_000);
    assert_eq!((kept[0].id, kept[0].line.len()), (record_id(1_001), 4_096));
}
