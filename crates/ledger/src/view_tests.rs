use super::*;
use ferryd_domain::ledger::case::Case;

fn id(number: usize) -> CommandId {
    format!("c-{number}").parse().unwrap()
}

/// Adds a command, or changes it.
fn touch(view: &mut View, number: usize) {
    view.change(&id(number), None, 100, |slot| Case::block(slot, &format!("kind-{number}")));
}

fn reached(offset: u64) -> Reached {
    Reached::Message { offset, source: None, body: offset.to_be_bytes().to_vec() }
}

fn view() -> View {
    let mut view = View::default();
    view.reach(reached(1));
    view
}

fn save(view: &mut View) -> Changes {
    let taken = view.take().unwrap();
    let changes = taken.changes();
    view.saved(taken);
    changes
}

#[test]
fn what_is_saved_is_forgotten_when_enough_else_was_touched_since() {
    let mut view = view();
    for number in 0..GENERATION {
        touch(&mut view, number);
    }
    save(&mut view);
    touch(&mut view, 7);
    save(&mut view);
    for number in 0..2 * GENERATION {
        touch(&mut view, GENERATION + number);
        if number % 1_000 == 999 {
            save(&mut view);
        }
    }
    assert!(view.get(&id(0)).is_none());
    assert!(view.get(&id(3 * GENERATION - 1)).is_some());
    assert!(view.young.len() + view.old.len() <= 2 * GENERATION);
}

#[test]
fn what_is_saved_and_large_is_forgotten_sooner() {
    let mut view = view();
    for number in 0..10 {
        let large = GENERATION_BYTES / 2 - 1;
        view.change(&id(number), None, large, |slot| Case::block(slot, "large"));
        save(&mut view);
        assert!(view.get(&id(number)).is_some());
        assert!(view.young.len() + view.old.len() <= 4, "{}", view.young.len());
    }
    assert!(view.get(&id(0)).is_none());
}

#[test]
fn what_is_not_saved_is_never_forgotten() {
    let mut view = view();
    for number in 0..10 {
        touch(&mut view, number);
    }
    let being_saved = view.take().unwrap();
    touch(&mut view, 10);
    for number in 0..=10 {
        assert!(view.get(&id(number)).is_some(), "{number}");
    }
    view.saved(being_saved);
    for number in 20..20 + 3 * GENERATION {
        touch(&mut view, number);
    }
    assert!(view.get(&id(10)).is_some());
    assert!(view.is_full() && view.is_laden());
}

#[test]
fn what_changes_while_it_is_being_saved_is_saved_again_as_it_is_then() {
    let mut view = view();
    touch(&mut view, 1);
    let first = view.take().unwrap();
    view.change(&id(1), None, 1, |slot| slot.as_mut().unwrap().told = 7);
    assert_eq!(view.get(&id(1)).unwrap().told, 7);
    view.saved(first);
    assert_eq!(view.get(&id(1)).unwrap().told, 7);
    assert_eq!(save(&mut view).cases[0].1.told, 7);
    assert_eq!(view.get(&id(1)).unwrap().told, 7);
}

#[test]
fn what_the_index_has_is_changed_as_if_it_were_here() {
    let mut view = view();
    let mut slot = None;
    Case::block(&mut slot, "kind");
    let known = view.change(&id(1), slot, 1, |slot| slot.as_ref().unwrap().blocked.clone());
    assert_eq!(known.as_deref(), Some("kind"));
}

#[test]
fn cases_are_saved_in_the_order_in_which_they_became_known() {
    let mut view = view();
    for number in [3, 1, 2, 1, 3] {
        touch(&mut view, number);
    }
    let saved: Vec<_> = save(&mut view).cases.into_iter().map(|(id, _)| id).collect();
    assert_eq!(saved, [id(3), id(1), id(2)]);
}

#[test]
fn numbers_and_checkpoint_go_with_the_cases_they_belong_to() {
    let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut view = View::default();
    view.load(None, vec![(ann, 3)]);
    touch(&mut view, 1);
    view.applied(RecordId { writer: ann, number: 4 });
    assert!(view.take().is_none(), "no message was applied to its end");
    view.applied(RecordId { writer: ann, number: 5 });
    view.applied(RecordId { writer: ben, number: 1 });
    view.reach(reached(9));
    let changes = save(&mut view);
    assert_eq!(changes.writers, [(ann, 5), (ben, 1)]);
    assert_eq!(changes.checkpoint, reached(9).checkpoint());
    assert!(!view.is_changed());
    view.applied(RecordId { writer: ben, number: 2 });
    view.reach(reached(10));
    assert_eq!(save(&mut view).writers, [(ben, 2)]);
    assert_eq!((view.highest(ann), view.highest(ben)), (5, 2));
}

#[test]
fn what_was_taken_before_everything_was_forgotten_does_not_come_back() {
    let mut view = view();
    touch(&mut view, 1);
    let taken = view.take().unwrap();
    view.reset();
    view.saved(taken);
    assert!(view.get(&id(1)).is_none());
    assert!(view.reached().is_none() && !view.is_changed());
}

#[test]
fn a_command_is_absent_until_it_becomes_known_and_only_where_nothing_was_forgotten_meanwhile() {
    let mut view = view();
    let turns = view.turns();
    view.note_absent(&id(1), turns);
    assert!(view.is_absent(&id(1)));
    touch(&mut view, 1);
    assert!(!view.is_absent(&id(1)));
    // The lookup began before the command became known, and returns now.
    view.note_absent(&id(1), turns);
    assert!(!view.is_absent(&id(1)));
    // The same, when the state was saved and dropped again.
    for number in 10..10 + 3 * GENERATION {
        touch(&mut view, number);
        if number % 1_000 == 999 {
            save(&mut view);
        }
    }
    assert!(view.get(&id(1)).is_none());
    view.note_absent(&id(1), turns);
    assert!(!view.is_absent(&id(1)));
    view.note_absent(&id(2), view.turns());
    view.reset();
    assert!(!view.is_absent(&id(2)));
}
