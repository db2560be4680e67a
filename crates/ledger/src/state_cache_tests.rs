use super::*;
use crate::index::fixture::SampleCommand;
use ferryd_domain::ledger::command_state::CommandState;

fn id(number: usize) -> CommandId {
    format!("c-{number}").parse().unwrap()
}

/// Adds a command, or changes it.
fn touch(cache: &mut StateCache, number: usize) {
    let block = |slot: &mut _| CommandState::block(slot, &format!("kind-{number}"));
    cache.change(&id(number), None, 100, block).unwrap();
}

fn reached(offset: u64) -> StreamReach {
    StreamReach::Message { offset, source: None, body: offset.to_be_bytes().to_vec() }
}

fn whole(state: &CachedState) -> Arc<CommandState> {
    state.whole(&id(1)).unwrap()
}

fn view() -> StateCache {
    let mut cache = StateCache::default();
    cache.note_applied(reached(1));
    cache
}

fn save(cache: &mut StateCache) -> IndexChanges {
    let taken = cache.take().unwrap();
    let changes = taken.changes();
    cache.note_saved(taken);
    changes
}

#[test]
fn what_is_saved_is_forgotten_when_enough_else_was_touched_since() {
    let mut cache = view();
    for number in 0..GENERATION {
        touch(&mut cache, number);
    }
    save(&mut cache);
    touch(&mut cache, 7);
    save(&mut cache);
    for number in 0..2 * GENERATION {
        touch(&mut cache, GENERATION + number);
        if number % 1_000 == 999 {
            save(&mut cache);
        }
    }
    assert!(cache.get(&id(0)).is_none());
    assert!(cache.get(&id(3 * GENERATION - 1)).is_some());
    assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
}

#[test]
fn what_is_saved_and_large_is_forgotten_sooner() {
    let mut cache = view();
    for number in 0..10 {
        let large = GENERATION_BYTES / 2 - 1;
        cache.change(&id(number), None, large, |slot| CommandState::block(slot, "large")).unwrap();
        save(&mut cache);
        assert!(cache.get(&id(number)).is_some());
        assert!(cache.young.len() + cache.old.len() <= 4, "{}", cache.young.len());
    }
    assert!(cache.get(&id(0)).is_none());
}

#[test]
fn what_is_not_saved_is_never_forgotten() {
    let mut cache = view();
    for number in 0..10 {
        touch(&mut cache, number);
    }
    let being_saved = cache.take().unwrap();
    touch(&mut cache, 10);
    for number in 0..=10 {
        assert!(cache.get(&id(number)).is_some(), "{number}");
    }
    cache.note_saved(being_saved);
    for number in 20..20 + 3 * GENERATION {
        touch(&mut cache, number);
    }
    assert!(cache.get(&id(10)).is_some());
    assert!(cache.is_full() && cache.is_laden());
}

#[test]
fn what_changes_while_it_is_being_saved_is_saved_again_as_it_is_then() {
    let mut cache = view();
    touch(&mut cache, 1);
    let first = cache.take().unwrap();
    let publish = |slot: &mut Option<Arc<CommandState>>| {
        Arc::make_mut(slot.as_mut().unwrap()).published_sequence = 7;
    };
    cache.change(&id(1), None, 1, publish).unwrap();
    assert_eq!(whole(&cache.get(&id(1)).unwrap()).published_sequence, 7);
    cache.note_saved(first);
    assert_eq!(whole(&cache.get(&id(1)).unwrap()).published_sequence, 7);
    let saved = save(&mut cache).cases.remove(0).1;
    assert_eq!(whole(&saved).published_sequence, 7);
    assert_eq!(whole(&cache.get(&id(1)).unwrap()).published_sequence, 7);
}

#[test]
fn what_the_index_has_is_changed_as_if_it_were_here() {
    let mut cache = view();
    let mut slot = None;
    CommandState::block(&mut slot, "kind");
    let known = cache.change(&id(1), slot, 1, |slot| slot.as_ref().unwrap().blocked.clone());
    let known = known.unwrap();
    assert_eq!(known.as_deref(), Some("kind"));
}

#[test]
fn cases_are_saved_in_the_order_in_which_they_became_known() {
    let mut cache = view();
    for number in [3, 1, 2, 1, 3] {
        touch(&mut cache, number);
    }
    let saved: Vec<_> = save(&mut cache).cases.into_iter().map(|(id, _)| id).collect();
    assert_eq!(saved, [id(3), id(1), id(2)]);
}

#[test]
fn numbers_and_checkpoint_go_with_the_cases_they_belong_to() {
    let (ann, ben) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut cache = StateCache::default();
    cache.load(None, vec![(ann, 3)]);
    touch(&mut cache, 1);
    cache.note_record(RecordId { writer: ann, number: 4 });
    assert!(cache.take().is_none(), "no message was applied to its end");
    cache.note_record(RecordId { writer: ann, number: 5 });
    cache.note_record(RecordId { writer: ben, number: 1 });
    cache.note_applied(reached(9));
    let changes = save(&mut cache);
    assert_eq!(changes.writers, [(ann, 5), (ben, 1)]);
    assert_eq!(changes.checkpoint, reached(9).checkpoint());
    assert!(!cache.is_changed());
    cache.note_record(RecordId { writer: ben, number: 2 });
    cache.note_applied(reached(10));
    assert_eq!(save(&mut cache).writers, [(ben, 2)]);
    assert_eq!((cache.highest(ann), cache.highest(ben)), (5, 2));
}

#[test]
fn what_was_taken_before_everything_was_forgotten_does_not_come_back() {
    let mut cache = view();
    touch(&mut cache, 1);
    let taken = cache.take().unwrap();
    cache.reset();
    cache.note_saved(taken);
    assert!(cache.get(&id(1)).is_none());
    assert!(cache.reached().is_none() && !cache.is_changed());
}

#[test]
fn what_has_ended_is_forgotten_once_it_is_saved() {
    let mut cache = view();
    let ended = SampleCommand::new("ended", 0);
    cache.change(&ended.id(), None, 100, |slot| *slot = Some(ended.completed().into())).unwrap();
    let open = SampleCommand::new("open", 1);
    cache.change(&open.id(), None, 100, |slot| *slot = Some(open.waiting().into())).unwrap();
    let saving = cache.take().unwrap();
    assert!(cache.get(&ended.id()).is_some());
    let left = cache.note_saved(saving).unwrap();
    assert_eq!(left.cases.keys().collect::<Vec<_>>(), [&ended.id()]);
    assert!(cache.get(&ended.id()).is_none() && cache.get(&open.id()).is_some());
}
