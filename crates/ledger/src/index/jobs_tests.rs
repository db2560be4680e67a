use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use super::fixture::{changes, seconds};
use super::*;
use ferryd_domain::command_scope::CommandScope;
use ferryd_domain::job::record::{JobClaim, JobEnding};
use ferryd_domain::job::state::{JobEndReason, JobProgress};
use ferryd_domain::job::{DeadLetterFilter, InstanceId, JobAction, JobChange, JobRecord, JobSpec};
use ferryd_domain::ledger::record::Actor;

fn open(dir: &TempDir) -> LedgerIndex {
    LedgerIndex::open(dir.path(), "localhost:5672/ ferry").unwrap()
}

fn id(number: u128) -> JobId {
    JobId(Uuid::from_u128(number))
}

/// Returns a job that was started at this second.
fn started(at: i64) -> JobState {
    let spec = JobSpec {
        action: JobAction::Discard,
        filter: DeadLetterFilter::default(),
        scope: CommandScope::default(),
        cut_off: seconds(at),
        rate: None,
        ramp: false,
        dry_run: false,
        actor: Actor { by: "ann".to_owned(), reason: None },
    };
    let mut slot = None;
    apply(&mut slot, at, JobChange::Started(Box::new(spec)));
    slot.unwrap()
}

fn apply(slot: &mut Option<JobState>, at: i64, change: JobChange) {
    JobState::apply(slot, &JobRecord { at: seconds(at), job: id(1), change });
}

/// Returns a job that ended at the second of its start.
fn ended(at: i64) -> JobState {
    let mut slot = Some(started(at));
    let (term, reason) = (1, JobEndReason::Finished);
    apply(
        &mut slot,
        at,
        JobChange::Taken(JobClaim { instance: InstanceId(Uuid::from_u128(9)), term }),
    );
    let ending = JobEnding { term, progress: JobProgress::default(), reason, detail: None };
    apply(&mut slot, at, JobChange::Ended(Box::new(ending)));
    slot.unwrap()
}

fn save(index: &LedgerIndex, jobs: impl IntoIterator<Item = (u128, JobState)>, offset: u64) {
    let jobs = jobs.into_iter().map(|(number, job)| (id(number), Arc::new(job))).collect();
    index.save(&IndexChanges { jobs, ..changes([], offset) }, Timestamp::UNIX_EPOCH).unwrap();
}

#[test]
fn jobs_are_found_and_listed_page_by_page_newest_first() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    save(&index, [(1, ended(1)), (2, started(2)), (3, ended(3))], 1);
    assert_eq!((index.job(&id(2)).unwrap(), index.job(&id(4)).unwrap()), (Some(started(2)), None));
    let first = index.jobs(None, 2).unwrap();
    assert_eq!(
        (first.jobs, first.next),
        (vec![(id(3), ended(3)), (id(2), started(2))], Some(id(2)))
    );
    let second = index.jobs(first.next, 2).unwrap();
    assert_eq!((second.jobs, second.next), (vec![(id(1), ended(1))], None));
    assert_eq!(index.live_jobs().unwrap(), [(id(2), started(2))]);
    save(&index, [(2, ended(2))], 2);
    assert_eq!(index.live_jobs().unwrap(), []);
}

#[test]
fn jobs_that_have_ended_are_forgotten_with_commands_of_their_age() {
    let dir = TempDir::new().unwrap();
    let index = open(&dir);
    save(&index, [(1, ended(1)), (2, started(2)), (3, ended(300))], 1);
    while index.prune_commands(seconds(100)).unwrap() > 0 {}
    let left: Vec<_> = index.jobs(None, 9).unwrap().jobs.into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [id(3), id(2)], "one that goes on stays");
}
