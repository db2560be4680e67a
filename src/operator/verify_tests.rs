use tempfile::TempDir;

use super::*;
use ferryd_domain::ledger::record::{Actor, CancelRequested, Record, RecordBody, RecordId};
use ferryd_ledger::index::{IndexChanges, IndexCheckpoint};

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + hours * 3_600).unwrap()
}

/// A command that was only requested to be cancelled, and so is over.
fn cancel_requested(hours: i64, by: &str) -> CommandState {
    let mut slot = None;
    let body = RecordBody::CancelRequested(CancelRequested {
        actor: Actor { by: by.to_owned(), reason: None },
    });
    let id = RecordId { writer: uuid::Uuid::nil(), number: 1 };
    CommandState::apply_record(
        &mut slot,
        id,
        &Record { at: at(hours), command: "x".parse().unwrap(), fact: body },
    );
    slot.unwrap()
}

fn differ(
    terms: &ComparisonTerms,
    index: Option<&CommandState>,
    stream: Option<&CommandState>,
) -> Vec<String> {
    match terms.compare(index, stream) {
        ComparisonResult::Same => vec!["same".to_owned()],
        ComparisonResult::Older => vec!["older".to_owned()],
        ComparisonResult::Forgotten => vec!["forgotten".to_owned()],
        ComparisonResult::Different(fields) => fields.into_iter().map(|field| field.name).collect(),
    }
}

#[test]
fn only_what_retention_does_not_explain_is_a_difference() {
    let whole = ComparisonTerms { cut_at: None, forgets: at(10) };
    let cut = ComparisonTerms { cut_at: Some(at(50)), forgets: at(10) };
    let (early, late, other) =
        (cancel_requested(1, "ann"), cancel_requested(99, "ann"), cancel_requested(99, "bob"));
    assert_eq!(differ(&whole, Some(&late), Some(&late)), ["same"]);
    assert_eq!(differ(&whole, Some(&late), Some(&other)), ["cancel", "history"]);
    assert_eq!(differ(&whole, None, Some(&late)), ["command"]);
    assert_eq!(differ(&whole, None, Some(&early)), ["forgotten"]);
    assert_eq!(differ(&whole, Some(&early), None), ["command"]);
    assert_eq!(differ(&cut, Some(&early), None), ["older"]);
    assert_eq!(differ(&cut, Some(&late), None), ["command"]);
}

fn index(dir: &TempDir, ids: &[String]) -> LedgerIndex {
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let states =
        ids.iter().map(|id| (id.parse().unwrap(), cancel_requested(1, "ann").into())).collect();
    let checkpoint = IndexCheckpoint { offset: 1, hash: 1 };
    let changes = IndexChanges {
        cases: states,
        writers: Vec::new(),
        jobs: Vec::new(),
        unreadable: Vec::new(),
        checkpoint,
    };
    index.save(&changes, at(1)).unwrap();
    index
}

#[test]
fn two_indexes_are_walked_command_by_command_over_many_pages() {
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    // In another order than that of ids.
    let ids = |step: usize| {
        (0..2 * PAGE + 3).rev().filter(|n| n % step == 0).map(|n| format!("o-{n}")).collect()
    };
    let (twos, threes): (Vec<String>, Vec<String>) = (ids(2), ids(3));
    let (left, right) = (index(&dirs[0], &twos), index(&dirs[1], &threes));
    let mut pairs = PairWalk::new(&left, &right);
    let mut seen = Vec::new();
    while let Some((id, left, right)) = pairs.next().unwrap() {
        let id = id.to_string();
        assert_eq!(
            (left.is_some(), right.is_some()),
            (twos.contains(&id), threes.contains(&id)),
            "{id}"
        );
        seen.push(id);
    }
    let mut all = [twos, threes].concat();
    all.sort();
    all.dedup();
    assert_eq!(seen, all);
}
