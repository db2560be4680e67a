use std::ops::RangeInclusive;

use rusqlite::Connection;
use tempfile::TempDir;

use super::fixture::seconds;
use super::*;

fn message(offset: u64, calls: &[(&str, u64)]) -> CallMessage {
    let mut message = CallMessage::new(offset);
    for (command, second) in calls {
        message.add(command, *second);
    }
    message
}

fn reached(offset: u64) -> CallCheckpoint {
    CallCheckpoint { offset, hash: u64::MAX - offset, published: 1_000 + offset }
}

fn offsets(index: &LedgerIndex, command: &str, spans: &[RangeInclusive<u64>]) -> Option<Vec<u64>> {
    index.noted_calls(&command.parse().unwrap(), spans).unwrap().map(|noted| noted.offsets)
}

#[test]
fn the_messages_that_hold_a_commands_calls_are_found_by_time() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    assert_eq!(index.call_checkpoint().unwrap(), None);
    assert_eq!(offsets(&index, "a", &[0..=9_999]), None, "nothing is noted yet");
    let first =
        [message(7, &[("a", 1_000), ("b", 1_001)]), message(9, &[("a", 5_000), ("a", 1_009)])];
    assert!(index.note_calls(None, &first, reached(9)).unwrap());
    assert!(
        index.note_calls(Some(reached(9)), &[message(10, &[("b", 5_003)])], reached(10)).unwrap()
    );
    for (command, spans, found) in [
        ("a", vec![0..=9_999], vec![7, 9]),
        ("a", vec![1_002..=1_003], vec![7, 9]),
        ("a", vec![4_000..=6_000], vec![9]),
        ("b", vec![900..=1_100, 5_000..=5_000], vec![7, 10]),
        ("a", vec![2_000..=3_000], vec![]),
        ("c", vec![0..=9_999], vec![]),
    ] {
        assert_eq!(offsets(&index, command, &spans), Some(found), "{command} {spans:?}");
    }
    drop(index);
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    assert_eq!(index.call_checkpoint().unwrap(), Some(reached(10)));
    assert_eq!(offsets(&index, "a", &[0..=9_999]), Some(vec![7, 9]));
}

#[test]
fn what_does_not_follow_on_what_is_noted_is_not_noted() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    assert!(index.note_calls(None, &[message(7, &[("a", 1_000)])], reached(7)).unwrap());
    index.clear().unwrap();
    assert!(
        !index.note_calls(Some(reached(7)), &[message(8, &[("a", 1_000)])], reached(8)).unwrap()
    );
    assert_eq!(offsets(&index, "a", &[0..=9_999]), None, "message 7 would be left out");
    assert!(index.note_calls(None, &[message(7, &[("a", 1_000)])], reached(7)).unwrap());
    index.clear_calls().unwrap();
    assert_eq!(offsets(&index, "a", &[0..=9_999]), None);
}

#[test]
fn calls_are_forgotten_with_the_commands_of_their_time() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let second = |after: i64| u64::try_from(seconds(after).as_second()).unwrap();
    let calls = message(7, &[("old", second(100)), ("new", second(5_000))]);
    assert!(index.note_calls(None, &[calls], reached(7)).unwrap());
    index.prune_commands(seconds(1_000)).unwrap();
    let all = [0..=u64::from(u32::MAX)];
    assert_eq!(offsets(&index, "old", &all), Some(vec![]));
    assert_eq!(offsets(&index, "new", &all), Some(vec![7]));
}

#[test]
fn an_index_made_without_call_offsets_keeps_its_commands_and_knows_no_calls() {
    let dir = TempDir::new().unwrap();
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let sample = fixture::SampleCommand::new("a", 0);
    index.save(&fixture::changes([(&sample, sample.completed())], 3), seconds(0)).unwrap();
    let path = index.path().to_owned();
    drop(index);
    Connection::open(&path).unwrap().execute_batch("DROP TABLE calls").unwrap();

    let reader = LedgerIndex::open_read_only(dir.path(), "key").unwrap();
    assert_eq!(offsets(&reader, "a", &[0..=9_999]), None);
    drop(reader);
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    assert_eq!(index.checkpoint().unwrap().unwrap().offset, 3, "it is not read anew");
    assert!(index.command_state(&sample.id()).unwrap().is_some());
    assert_eq!(offsets(&index, "a", &[0..=9_999]), None);
    assert!(index.note_calls(None, &[message(7, &[("a", 1_000)])], reached(7)).unwrap());
    assert_eq!(offsets(&index, "a", &[0..=9_999]), Some(vec![7]));
}
