use jiff::Timestamp;
use serde::Deserialize;

use super::super::call_window::{EARLIER, LATER};
use super::*;

/// A record of a call, with the fields that the tests look at.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct RecordedCall {
    at: Timestamp,
    command: CommandId,
    generation: u32,
    attempt: u32,
}

impl CallRecord for RecordedCall {
    fn command(&self) -> &CommandId {
        &self.command
    }

    fn at(&self) -> Timestamp {
        self.at
    }

    fn step(&self) -> (u32, u32) {
        (self.generation, self.attempt)
    }
}

fn window(from: i64, to: i64) -> CallWindow {
    let [from, to] = [from, to].map(|second| Timestamp::from_second(second).unwrap());
    CallWindow { from, to }
}

fn search(window: CallWindow) -> CallSearch<RecordedCall> {
    CallSearch::new(
        "ferry.calls".into(),
        &"order-1".parse().unwrap(),
        vec![window],
        Instant::now() + MOST_TIME,
    )
}

fn line(command: &str, at: i64, attempt: u32) -> String {
    let at = Timestamp::from_second(at).unwrap();
    format!(
        r#"{{"at":"{at}","command":"{command}","provider":"acme","operation":"send","generation":0,"attempt":{attempt},"host":"a","request":{{"method":"GET","url":"https://a.example/","headers":{{}}}},"sent":"no","duration_ms":1,"later":"a field of a later version"}}"#
    )
}

#[test]
fn windows_close_to_each_other_are_read_in_one_go() {
    let later = i64::try_from(LATER.as_secs() + EARLIER.as_secs()).unwrap();
    let windows = [window(100_000, 100_010), window(0, 5), window(3, 4), window(5 + later, 900)];
    assert_eq!(merged(&windows), [window(0, 900), window(100_000, 100_010)]);
    assert_eq!(merged(&[]), []);
}

#[test]
fn only_the_commands_own_lines_are_found_and_each_once() {
    let mut search = search(window(40, 60));
    let [own, copy, other] =
        [line("order-1", 50, 1), line("order-1", 50, 1), line("order-11", 50, 1)];
    let longer = line("an-order-1", 50, 1);
    let second = line("order-1", 51, 2);
    let text = [&own, &copy, &other, "no JSON \"command\":\"order-1\"", &longer, &second];
    search.read(text.join("\n").as_bytes());
    search.read(b"\xff");
    assert_eq!(search.found.iter().map(|call| call.attempt).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn calls_of_another_time_are_left_out() {
    let mut search = search(window(100_000, 100_001));
    search.read(line("order-1", 10_000, 1).as_bytes());
    assert_eq!(search.found, []);
}

#[test]
fn noted_messages_that_are_close_to_each_other_are_read_in_one_go() {
    assert_eq!(merge_offsets(&[]), []);
    assert_eq!(merge_offsets(&[3, 4, 8, 13, 100]), [3..=8, 13..=13, 100..=100]);
    let many: Vec<u64> = (0..40).collect();
    assert_eq!(
        merge_offsets(&many),
        [0..=31, 32..=39],
        "no more than are delivered without an ack"
    );
}

#[test]
fn only_what_is_not_noted_yet_is_searched() {
    let window = window(1_000, 1_010);
    let reached = |published| Some(CallCheckpoint { offset: 7, hash: 1, published });
    for (checkpoint, place) in [
        (None, Some(StreamPosition::Time(starts(&window)))),
        (reached(starts(&window) - 1), Some(StreamPosition::Time(starts(&window)))),
        (reached(starts(&window)), Some(StreamPosition::Offset(8))),
        (reached(ends(&window)), Some(StreamPosition::Offset(8))),
        (reached(ends(&window) + 1), None),
    ] {
        assert_eq!(unnoted_position(&window, checkpoint), place, "{checkpoint:?}");
    }
}
