//! Tests that commands are found by their references, across many eras: one has four commands here.

use tempfile::TempDir;

use super::fixture::{SampleCommand, changes, id, seconds};
use super::*;
use crate::command_filter::CommandFilter;

const KEY: &str = "localhost:5672/ ferry";

fn open(dir: &TempDir) -> LedgerIndex {
    LedgerIndex::open(dir.path(), KEY).unwrap()
}

/// Builds commands of which every third has the same reference.
fn samples(count: i64) -> Vec<SampleCommand> {
    let sample = |number: i64| {
        let mut sample = SampleCommand::new(&format!("order-{number}"), number);
        if number % 3 == 0 {
            sample.identity.reference = Some("shared".to_owned());
        }
        sample
    };
    (0..count).map(sample).collect()
}

fn save(index: &LedgerIndex, samples: &[SampleCommand]) {
    let states = samples.iter().map(|sample| (sample, sample.completed()));
    index.save(&changes(states, 1), seconds(0)).unwrap();
}

/// Counts the keys in the file of an index.
fn keys(index: &LedgerIndex) -> i64 {
    let conn = Connection::open(index.path()).unwrap();
    conn.query_row("SELECT count(*) FROM reference_keys", (), |row| row.get(0)).unwrap()
}

fn by_reference(reference: &str) -> CommandFilter {
    CommandFilter { reference: Some(reference.to_owned()), ..CommandFilter::default() }
}

#[test]
fn commands_that_share_a_reference_are_found_page_by_page_the_newest_first() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    save(&index, &samples(100));
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = index.list(&by_reference("shared"), after.as_ref(), 5).unwrap();
        found.extend(page.rows.into_iter().map(|row| row.id.to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> =
        (0..100).rev().step_by(3).map(|number| format!("order-{number}")).collect();
    assert_eq!(found, expected);
    for number in [0, 50, 99] {
        let name = format!("order-{number}");
        assert_eq!(index.find_by_reference(&format!("pi_{name}")).unwrap(), [id(&name)]);
    }
    assert_eq!(
        index.find_by_reference("shared").unwrap(),
        [],
        "the publisher's, not the provider's"
    );
    let both = CommandFilter { ids: vec![id("order-3"), id("order-4")], ..by_reference("shared") };
    let found = index.list(&both, None, 5).unwrap();
    assert_eq!(found.rows.into_iter().map(|row| row.id).collect::<Vec<_>>(), [id("order-3")]);
}

#[test]
fn a_command_is_found_by_the_reference_that_it_has_now() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    save(&index, &samples(9));
    let sample = &samples(9)[4];
    let mut state = sample.completed();
    state.provider_reference = Some("capture-1".to_owned());
    state.references.push("capture-1".to_owned());
    index.save(&changes([(sample, state)], 2), seconds(0)).unwrap();
    assert_eq!(index.find_by_reference("capture-1").unwrap(), [sample.id()]);
    assert_eq!(index.find_by_reference("pi_order-4").unwrap(), []);
}

#[test]
fn two_references_with_the_same_key_are_two() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    save(&index, &samples(9));
    let conn = Connection::open(index.path()).unwrap();
    // Every key of an era finds every command of the era.
    let all = "INSERT OR IGNORE INTO reference_keys SELECT one.key, other.seq \
        FROM reference_keys AS one JOIN reference_keys AS other ON one.key >> 40 = other.key >> 40";
    assert!(conn.execute(all, ()).unwrap() > 9);
    for number in 0..9 {
        let name = format!("order-{number}");
        assert_eq!(index.find_by_reference(&format!("pi_{name}")).unwrap(), [id(&name)]);
    }
    assert_eq!(index.list(&by_reference("shared"), None, 9).unwrap().rows.len(), 3);
}

#[test]
fn the_keys_of_a_command_leave_with_it() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    let (samples, waiting) = (samples(30), SampleCommand::new("waiting", 0));
    index.save(&changes([(&waiting, waiting.waiting())], 1), seconds(0)).unwrap();
    save(&index, &samples);
    assert_eq!(keys(&index), 2 * 31);
    // A capture beside its order.
    let mut captured = samples[3].completed();
    captured.references.push("capture-1".to_owned());
    captured.provider_reference = Some("capture-1".to_owned());
    index.save(&changes([(&samples[3], captured.clone())], 2), seconds(0)).unwrap();
    assert_eq!(keys(&index), 2 * 31 + 1);

    let erased = [samples[3].erased(captured), samples[4].erased(samples[4].completed())];
    index.save(&changes(samples[3..5].iter().zip(erased), 3), seconds(0)).unwrap();
    assert_eq!(keys(&index), 2 * 29);
    assert_eq!(index.find_by_reference("pi_order-4").unwrap(), []);

    while !index.remove_contents(seconds(20)).unwrap().is_empty() {}
    assert_eq!(index.find_by_reference("pi_order-6").unwrap(), [id("order-6")]);
    while index.prune_commands(seconds(20_000)).unwrap() > 0 {}
    assert_eq!(keys(&index), 2, "those of the command that waits");
    index.save(&changes([(&waiting, waiting.completed())], 4), seconds(0)).unwrap();
    while index.prune_commands(seconds(20_000)).unwrap() > 0 {}
    assert_eq!(keys(&index), 0);
}
