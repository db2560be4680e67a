use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::command_filter::CommandFilter;
use crate::index::LedgerIndex;
use crate::index::fixture::{SampleCommand, any_command_state, id, seconds};
use ferryd_domain::ledger::record::{
    Actor, ContentErasure, LedgerLine, Record, RecordBody, ReplayedRecord,
};
use ferryd_domain::ledger::record_examples;
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::lifecycle::FailureKind;

fn record_id(number: u64) -> RecordId {
    RecordId { writer: Uuid::from_u128(9), number }
}

fn view() -> StateCache {
    let mut cache = StateCache::default();
    cache.note_applied(StreamReach::Message { offset: 1, source: None, body: Vec::new() });
    cache
}

fn put(cache: &mut StateCache, id: &CommandId, state: CommandState) {
    cache.change(id, None, 1_000, |slot| *slot = Some(Arc::new(state))).unwrap();
}

fn apply(cache: &mut StateCache, number: u64, record: &Record) -> Ruling {
    let apply = |slot: &mut _| CommandState::apply_record(slot, record_id(number), record);
    cache.change(&record.command, None, 1_000, apply).unwrap()
}

fn is_packed(cache: &StateCache, id: &CommandId) -> bool {
    matches!(cache.get(id), Some(CachedState::Packed(_)))
}

fn whole(cache: &StateCache, id: &CommandId) -> CommandState {
    (*cache.get(id).unwrap().whole(id).unwrap()).clone()
}

fn erasure(sample: &SampleCommand) -> Record {
    let actor = Actor { by: "ann".to_owned(), reason: None };
    let fact = RecordBody::Erased(ContentErasure { actor });
    Record { at: seconds(9_000), command: sample.id(), fact }
}

/// Commands in every way to be over with nothing left to publish.
fn finished_states(sample: &SampleCommand) -> Vec<CommandState> {
    let failed = FailureKind::ALL.map(|kind| sample.failed(kind, "code", 400));
    let erased = sample.erased(sample.completed());
    [sample.completed(), erased].into_iter().chain(failed).collect()
}

#[test]
fn only_commands_with_nothing_left_to_publish_are_packed() {
    let mut cache = view();
    let sample = |id: &str| SampleCommand::new(id, 0);
    for (number, state) in finished_states(&sample("over")).into_iter().enumerate() {
        let id = id(&format!("over-{number}"));
        put(&mut cache, &id, state);
        assert!(is_packed(&cache, &id), "{number}");
    }
    for (name, state) in [
        ("open", sample("open").opened()),
        ("waiting", sample("waiting").waiting()),
        ("cancelled", sample("cancelled").cancel_requested()),
    ] {
        put(&mut cache, &id(name), state);
        assert!(!is_packed(&cache, &id(name)), "{name}");
    }
}

#[test]
fn every_kind_of_record_is_ruled_as_if_the_state_was_never_packed() {
    let sample = SampleCommand::new("order-1", 0);
    let decoded = record_examples::lines().into_iter().map(|line| LedgerLine::decode(&line));
    let records: Vec<Record> = decoded
        .filter_map(|line| match line.unwrap() {
            LedgerLine::Record(record) => Some(Record { command: sample.id(), ..*record }),
            _ => None,
        })
        .collect();
    assert!(records.len() >= 12, "{}", records.len());
    for state in finished_states(&sample) {
        for (number, record) in (100..).zip(&records) {
            // Packed and unsaved, packed and being saved.
            for is_saving in [false, true] {
                let mut cache = view();
                put(&mut cache, &sample.id(), state.clone());
                let _taken = is_saving.then(|| cache.take().unwrap());
                let mut expected = Some(state.clone());
                let ruling = CommandState::apply_record(&mut expected, record_id(number), record);
                assert_eq!(apply(&mut cache, number, record), ruling, "{record:?}");
                let expected = expected.unwrap();
                assert_eq!(whole(&cache, &sample.id()), expected, "{record:?}");
                assert_eq!(is_packed(&cache, &sample.id()), is_finished(&expected), "{record:?}");
            }
        }
    }
}

#[test]
fn a_dead_letter_that_is_replayed_is_packed_again_at_its_next_end() {
    let (mut cache, sample) = (view(), SampleCommand::new("order-1", 0));
    put(&mut cache, &sample.id(), sample.failed(FailureKind::Rejected, "no", 400));
    let replayed = ReplayedRecord {
        identity: whole(&cache, &sample.id()).identity.unwrap(),
        from: 0,
        unknown: false,
        key: None,
        first_sent: None,
        request_digest: None,
        token: String::new(),
        actor: Actor { by: "ann".to_owned(), reason: None },
        job: None,
    };
    let fact = RecordBody::Replayed(Box::new(replayed));
    let replayed = Record { at: seconds(5), command: sample.id(), fact };
    assert!(matches!(apply(&mut cache, 1, &replayed), Ruling::Counts(_)));
    assert!(!is_packed(&cache, &sample.id()));
    assert_eq!(whole(&cache, &sample.id()).step.generation, 1);
    put(&mut cache, &sample.id(), sample.completed());
    assert!(is_packed(&cache, &sample.id()));
}

#[test]
fn a_packed_state_is_counted_by_the_memory_that_it_takes() {
    let mut cache = view();
    let open = SampleCommand::new("open", 0);
    put(&mut cache, &open.id(), open.waiting());
    assert_eq!(cache.unsaved.bytes, 1_000);
    let sample = SampleCommand::new("order-1", 0);
    cache.change(&sample.id(), None, 5_000, |slot| *slot = Some(sample.opened().into())).unwrap();
    assert_eq!(cache.unsaved.bytes, 6_000);
    put(&mut cache, &sample.id(), sample.completed());
    let Some(CachedState::Packed(packed)) = cache.get(&sample.id()) else { panic!("not packed") };
    assert_eq!(cache.unsaved.bytes, 1_000 + packed.size());
    assert!(packed.size() < 600, "{}", packed.size());
}

#[test]
fn a_packed_state_that_cannot_be_read_is_damage_and_never_a_command_that_is_unknown() {
    let (mut cache, sample) = (view(), SampleCommand::new("order-1", 0));
    put(&mut cache, &sample.id(), sample.completed());
    let cut = StatePacker::default().pack(&sample.id(), &sample.completed()).cut();
    let (id, mut changed) = cache.unsaved.remove(&sample.id()).unwrap();
    changed.state = CachedState::Packed(Arc::new(cut));
    cache.unsaved.insert(id, changed);
    let bytes = cache.unsaved.bytes;
    for is_saving in [false, true] {
        let _taken = is_saving.then(|| cache.take().unwrap());
        let changed = cache.change(&sample.id(), None, 1, |_| panic!("nothing is to be changed"));
        assert!(changed.unwrap_err().is_damaged());
        assert!(is_packed(&cache, &sample.id()));
        assert_eq!(cache.unsaved.bytes, if is_saving { 0 } else { bytes });
    }
}

#[test]
fn contents_that_are_erased_before_they_are_saved_never_reach_the_disk() {
    let (mut cache, dir) = (view(), TempDir::new().unwrap());
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let sample = SampleCommand::new("order-1", 0).with_contents("private-text");
    put(&mut cache, &sample.id(), sample.completed());
    apply(&mut cache, 1, &erasure(&sample));
    index.save(&cache.take().unwrap().changes(), seconds(9_000)).unwrap();
    assert!(index.command_state(&sample.id()).unwrap().unwrap().is_erased());
    let found = std::fs::read_dir(dir.path()).unwrap().any(|file| {
        let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
        bytes.windows(12).any(|window| window == b"private-text")
    });
    assert!(!found);
}

#[test]
fn contents_that_are_erased_while_they_are_saved_are_erased_by_the_next_save() {
    let (mut cache, dir) = (view(), TempDir::new().unwrap());
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let sample = SampleCommand::new("order-1", 0).with_contents("private-text");
    let by_reference =
        CommandFilter { reference: Some("private-text".to_owned()), ..CommandFilter::default() };
    put(&mut cache, &sample.id(), sample.completed());
    let saving = cache.take().unwrap();
    apply(&mut cache, 1, &erasure(&sample));
    index.save(&saving.changes(), seconds(9_000)).unwrap();
    cache.note_saved(saving);
    assert_eq!(index.list(&by_reference, None, 10).unwrap().rows.len(), 1);
    assert!(whole(&cache, &sample.id()).is_erased());
    index.save(&cache.take().unwrap().changes(), seconds(9_000)).unwrap();
    assert!(index.command_state(&sample.id()).unwrap().unwrap().is_erased());
    assert_eq!(index.list(&by_reference, None, 10).unwrap().rows.len(), 0);
}

#[test]
fn what_was_packed_and_saved_is_pruned() {
    let (mut cache, dir) = (view(), TempDir::new().unwrap());
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    let (over, dead) = (SampleCommand::new("over", 0), SampleCommand::new("dead", 0));
    put(&mut cache, &over.id(), over.completed());
    put(&mut cache, &dead.id(), dead.failed(FailureKind::Rejected, "no", 400));
    index.save(&cache.take().unwrap().changes(), seconds(60)).unwrap();
    assert_eq!(index.prune_commands(seconds(3_600)).unwrap(), 1);
    assert_eq!(index.command_state(&over.id()).unwrap(), None);
}

#[test]
fn what_was_packed_and_not_saved_at_a_crash_is_applied_again() {
    let dir = TempDir::new().unwrap();
    let sample = SampleCommand::new("order-1", 0);
    let records = |cache: &mut StateCache, loaded| {
        cache.change(&sample.id(), loaded, 1_000, |_| ()).unwrap();
        apply(cache, 7, &erasure(&sample))
    };
    let before = {
        let index = LedgerIndex::open(dir.path(), "key").unwrap();
        let mut cache = view();
        put(&mut cache, &sample.id(), sample.completed());
        let saving = cache.take().unwrap();
        index.save(&saving.changes(), seconds(60)).unwrap();
        cache.note_saved(saving);
        assert!(cache.get(&sample.id()).is_none());
        let ruling = records(&mut cache, index.command_state(&sample.id()).unwrap());
        assert!(is_packed(&cache, &sample.id()));
        let _never_saved = cache.take().unwrap();
        (ruling, whole(&cache, &sample.id()))
    };
    let index = LedgerIndex::open(dir.path(), "key").unwrap();
    assert_eq!(index.command_state(&sample.id()).unwrap(), Some(sample.completed()));
    let mut cache = view();
    let ruling = records(&mut cache, index.command_state(&sample.id()).unwrap());
    assert_eq!((ruling, whole(&cache, &sample.id())), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_packed_state_is_saved_like_a_whole_one((sample, state) in any_command_state()) {
        let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let packed = Arc::new(StatePacker::default().pack(&sample.id(), &state));
        prop_assert_eq!(packed.unpack(&sample.id()).unwrap(), state.clone());
        let filters = [
            CommandFilter::default(),
            CommandFilter { reference: sample.identity.reference.clone(), ..CommandFilter::default() },
            CommandFilter { state: Some(state.state()), dead: true, ..CommandFilter::default() },
        ];
        let forms = [CachedState::from(state.clone()), CachedState::Packed(packed)];
        let [one, other] = [0, 1].map(|form: usize| {
            let index = LedgerIndex::open(dirs[form].path(), "key").unwrap();
            let mut changes = crate::index::fixture::changes([], 1);
            changes.cases.push((sample.id(), forms[form].clone()));
            // Twice: a new command, and one that is known.
            for _ in 0..2 {
                index.save(&changes, seconds(60)).unwrap();
            }
            let rows: Vec<_> =
                filters.iter().map(|filter| index.list(filter, None, 10).unwrap().rows).collect();
            let found = state.provider_reference.as_deref();
            let found = found.map(|found| index.find_by_reference(found).unwrap());
            let unpublished = index.unpublished_endings(Timestamp::MAX, 10).unwrap();
            let pruned = index.prune_commands(seconds(1_000_000)).unwrap();
            (rows, found, unpublished, pruned)
        });
        prop_assert_eq!(one, other);
    }
}
