use proptest::prelude::*;
use uuid::Uuid;

use super::super::{DeadLetterFilter, JobId, ReplayTerms};
use super::*;
use crate::command_scope::CommandScope;

fn person(by: &str) -> Actor {
    Actor { by: by.to_owned(), reason: None }
}

fn spec(action: JobAction) -> JobSpec {
    JobSpec {
        action,
        filter: DeadLetterFilter::default(),
        scope: CommandScope::default(),
        cut_off: Timestamp::UNIX_EPOCH,
        rate: None,
        ramp: false,
        dry_run: false,
        actor: person("ann"),
    }
}

fn started() -> JobChange {
    JobChange::Started(Box::new(spec(JobAction::Discard)))
}

fn instance(number: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(number))
}

fn taken(number: u128, term: u32) -> JobChange {
    JobChange::Taken(JobClaim { instance: instance(number), term })
}

fn progress(closed: u64) -> JobProgress {
    JobProgress { closed, ..JobProgress::default() }
}

fn progressed(term: u32, closed: u64) -> JobChange {
    JobChange::Progressed(Box::new(JobReport { term, progress: progress(closed) }))
}

fn ended(term: u32) -> JobChange {
    let reason = JobEndReason::Finished;
    JobChange::Ended(Box::new(JobEnding { term, progress: progress(9), reason, detail: None }))
}

fn request(by: &str) -> JobRequest {
    JobRequest { actor: person(by) }
}

fn apply(slot: &mut Option<JobState>, change: JobChange) -> bool {
    let record = JobRecord { at: Timestamp::UNIX_EPOCH, job: JobId(Uuid::from_u128(1)), change };
    JobState::apply(slot, &record) == JobRuling::Counts
}

/// Returns the state after changes, and asserts for each if it counts.
fn after(changes: impl IntoIterator<Item = (JobChange, bool)>) -> JobState {
    let mut slot = None;
    for (number, (change, counts)) in changes.into_iter().enumerate() {
        assert_eq!(apply(&mut slot, change.clone()), counts, "{number}: {change:?}");
    }
    slot.unwrap()
}

#[test]
fn of_two_instances_that_claim_a_job_the_first_in_the_ledger_runs_it() {
    let job = after([(started(), true), (taken(1, 1), true), (taken(2, 1), false)]);
    assert_eq!((job.owner, job.term, job.phase()), (Some(instance(1)), 1, JobPhase::Running));
}

#[test]
fn an_owner_whose_job_was_taken_over_has_no_say() {
    let first = [(started(), true), (taken(1, 1), true), (progressed(1, 5), true)];
    let second =
        [(taken(2, 2), true), (progressed(1, 7), false), (ended(1), false), (taken(1, 2), false)];
    let job = after(first.into_iter().chain(second));
    assert_eq!(
        (job.owner, job.progress.closed, job.phase()),
        (Some(instance(2)), 5, JobPhase::Running)
    );
}

#[test]
fn a_paused_job_waits_for_its_resumption_and_then_for_whoever_claims_it() {
    let pause = || JobChange::Paused(request("ann"));
    let resume = || JobChange::Resumed(request("bob"));
    let paused = [
        (started(), true),
        (taken(1, 1), true),
        (resume(), false),
        (pause(), true),
        (pause(), false),
    ];
    let job =
        after(paused.clone().into_iter().chain([(taken(2, 2), false), (progressed(1, 3), true)]));
    assert_eq!((job.phase(), job.owner, job.progress.closed), (JobPhase::Paused, None, 3));
    let job = after(paused.clone().into_iter().chain([(resume(), true)]));
    assert_eq!(job.phase(), JobPhase::Waiting);
    let job = after(paused.into_iter().chain([(resume(), true), (taken(2, 2), true)]));
    assert_eq!((job.phase(), job.owner), (JobPhase::Running, Some(instance(2))));
}

#[test]
fn a_stop_ends_a_pause_and_can_be_requested_once() {
    let (pause, stop) =
        (|| JobChange::Paused(request("ann")), || JobChange::Stopped(request("bob")));
    let job = after([
        (started(), true),
        (pause(), true),
        (stop(), true),
        (stop(), false),
        (pause(), false),
    ]);
    assert_eq!((job.phase(), job.stopped), (JobPhase::Stopping, Some(person("bob"))));
}

#[test]
fn nothing_changes_a_job_that_has_ended_but_the_ends_of_its_commands() {
    let all = [
        taken(2, 2),
        progressed(1, 3),
        JobChange::Paused(request("a")),
        JobChange::Stopped(request("a")),
        ended(1),
    ];
    let ends = [(started(), true), (taken(1, 1), true), (ended(1), true)];
    let mut job = after(ends.into_iter().chain(all.into_iter().map(|change| (change, false))));
    assert_eq!((job.phase(), job.progress.closed), (JobPhase::Ended, 9));
    job.count_result(ReplayResult::FailedAgain);
    assert_eq!(job.failed_again, 1);
}

#[test]
fn a_result_stays_with_its_commands_once_a_job_has_ended() {
    let action = JobAction::Resolve(Resolution::Completed {
        reference: None,
        result: Some("secret".into()),
    });
    let started = JobChange::Started(Box::new(spec(action)));
    let job = after([(started, true), (taken(1, 1), true), (ended(1), true)]);
    assert_eq!(
        job.spec.action,
        JobAction::Resolve(Resolution::Completed { reference: None, result: None })
    );
}

#[test]
fn a_reference_is_not_kept_once_a_job_has_ended() {
    let filter = DeadLetterFilter {
        reference: Some("customer-jane".to_owned()),
        ..DeadLetterFilter::default()
    };
    let started = JobChange::Started(Box::new(JobSpec { filter, ..spec(JobAction::Discard) }));
    let running = after([(started.clone(), true), (taken(1, 1), true)]);
    assert_eq!(running.spec.filter.reference.as_deref(), Some("customer-jane"));
    let job = after([(started, true), (taken(1, 1), true), (ended(1), true)]);
    assert_eq!(job.spec.filter.reference.as_deref(), Some("not kept"));
}

#[test]
fn a_job_that_nobody_has_started_is_none() {
    for change in [taken(1, 1), ended(1), JobChange::Stopped(request("ann"))] {
        let mut slot = None;
        assert!(!apply(&mut slot, change) && slot.is_none());
    }
}

#[test]
fn a_replay_says_when_too_many_fail_again() {
    let terms = ReplayTerms { stop_at: "20%".parse().ok(), ..ReplayTerms::default() };
    let mut job = after([(JobChange::Started(Box::new(spec(JobAction::Replay(terms)))), true)]);
    for _ in 0..8 {
        job.count_result(ReplayResult::Ended);
    }
    job.count_result(ReplayResult::FailedAgain);
    job.count_result(ReplayResult::FailedAgain);
    assert_eq!(job.exceeded(), None);
    job.count_result(ReplayResult::FailedAgain);
    assert_eq!(
        job.exceeded().unwrap(),
        "3 of 11 replayed commands that have ended failed again, more than 20%"
    );
}

/// Generates the changes that two instances and a person may append, in any order.
fn any_change() -> impl Strategy<Value = JobChange> {
    prop_oneof![
        (1..3_u128, 1..5_u32).prop_map(|(number, term)| taken(number, term)),
        (1..5_u32, 0..9_u64).prop_map(|(term, closed)| progressed(term, closed)),
        (1..5_u32).prop_map(ended),
        Just(JobChange::Paused(request("ann"))),
        Just(JobChange::Resumed(request("ann"))),
        Just(JobChange::Stopped(request("ann"))),
    ]
}

proptest! {
    #[test]
    fn whatever_is_appended_each_term_has_one_owner_and_an_end_stays(changes in prop::collection::vec(any_change(), 0..40)) {
        let mut slot = None;
        apply(&mut slot, started());
        let mut owners = std::collections::HashMap::new();
        for change in changes {
            let before = slot.clone().unwrap();
            let counts = apply(&mut slot, change.clone());
            let job = slot.as_ref().unwrap();
            prop_assert!(counts || *job == before, "what does not count changes nothing");
            prop_assert!(job.term >= before.term && job.term <= before.term + 1);
            if let Some(owner) = job.owner {
                prop_assert_eq!(*owners.entry(job.term).or_insert(owner), owner);
            }
            if let (JobChange::Progressed(report), true) = (&change, counts) {
                prop_assert_eq!(report.term, job.term);
            }
            prop_assert!(before.end.is_none() || !counts);
            prop_assert!(job.end.is_none() || job.owner.is_none());
        }
    }
}
