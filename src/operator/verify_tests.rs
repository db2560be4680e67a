use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use ferryd_domain::ledger::record::{CancelWished, Fact, Person, Record, RecordId};
use ferryd_ledger::index::{Changes, Checkpoint};

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + hours * 3_600).unwrap()
}

/// A command that was only wished to be cancelled, and so is over.
fn wished(hours: i64, by: &str) -> Case {
    let mut slot = None;
    let fact = Fact::CancelWished(CancelWished { person: Person { by: by.to_owned(), reason: None } });
    let id = RecordId { writer: uuid::Uuid::nil(), number: 1 };
    Case::rule(&mut slot, id, &Record { at: at(hours), command: "x".parse().unwrap(), fact });
    slot.unwrap()
}

fn differ(terms: &Terms, index: Option<&Case>, stream: Option<&Case>) -> Vec<String> {
    match terms.compare(index, stream) {
        Compared::Same => vec!["same".to_owned()],
        Compared::Older => vec!["older".to_owned()],
        Compared::Forgotten => vec!["forgotten".to_owned()],
        Compared::Different(fields) => fields.into_iter().map(|field| field.name).collect(),
    }
}

#[test]
fn only_what_retention_does_not_explain_is_a_difference() {
    let whole = Terms { cut_at: None, forgets: at(10) };
    let cut = Terms { cut_at: Some(at(50)), forgets: at(10) };
    let (early, late, other) = (wished(1, "ann"), wished(99, "ann"), wished(99, "bob"));
    assert_eq!(differ(&whole, Some(&late), Some(&late)), ["same"]);
    assert_eq!(differ(&whole, Some(&late), Some(&other)), ["cancel", "history"]);
    assert_eq!(differ(&whole, None, Some(&late)), ["command"]);
    assert_eq!(differ(&whole, None, Some(&early)), ["forgotten"]);
    assert_eq!(differ(&whole, Some(&early), None), ["command"]);
    assert_eq!(differ(&cut, Some(&early), None), ["older"]);
    assert_eq!(differ(&cut, Some(&late), None), ["command"]);
}

fn index(dir: &TempDir, ids: &[String]) -> Index {
    let index = Index::open(dir.path(), "key").unwrap();
    let cases = ids.iter().map(|id| (id.parse().unwrap(), Arc::new(wished(1, "ann")))).collect();
    let checkpoint = Checkpoint { offset: 1, hash: 1 };
    let changes = Changes { cases, writers: Vec::new(), jobs: Vec::new(), unreadable: Vec::new(), checkpoint };
    index.save(&changes, at(1)).unwrap();
    index
}

#[test]
fn two_indexes_are_walked_command_by_command_over_many_pages() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    // In another order than that of ids.
    let ids = |step: usize| (0..2 * PAGE + 3).rev().filter(|n| n % step == 0).map(|n| format!("o-{n}")).collect();
    let (twos, threes): (Vec<String>, Vec<String>) = (ids(2), ids(3));
    let (left, right) = (index(&dirs[0], &twos), index(&dirs[1], &threes));
    let mut pairs = Pairs::new(&left, &right);
    let mut seen = Vec::new();
    while let Some((id, left, right)) = pairs.next().unwrap() {
        let id = id.to_string();
        assert_eq!((left.is_some(), right.is_some()), (twos.contains(&id), threes.contains(&id)), "{id}");
        seen.push(id);
    }
    let mut all = [twos, threes].concat();
    all.sort();
    all.dedup();
    assert_eq!(seen, all);
}
