//! Tests of the rulings on polls and lookups.

use super::super::record::*;
use super::tests::{FIRST, RuledCommand, completed, counts, failed, finished, id, retry, started};
use super::*;
use crate::event::{Event, EventKind};
use crate::lifecycle::FailureKind;
use crate::outcome::{Failure, Success, WaitingFor};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn query_step(query: u32) -> Step {
    Step { query, ..FIRST }
}

fn waiting() -> EventKind {
    EventKind::Waiting(Success::default(), WaitingFor::Provider)
}

/// Returns a decision to query the provider again at this second.
fn querying(accepted: bool, second: i64) -> EventKind {
    EventKind::Querying { accepted, due: at(second), failure: None }
}

/// Returns a decision about a query; only a terminal event is published.
fn decided(step: Step, kind: EventKind) -> FinishedRecord {
    let mut finished = FinishedRecord { call: None, ..finished(step, kind) };
    finished.effects.publish_event = finished.effects.event.data.state.is_terminal();
    finished
}

/// Returns the decision of a first query that leads to another attempt.
fn tried_again(absent: bool) -> FinishedRecord {
    FinishedRecord {
        step: query_step(1),
        not_found: absent,
        ..finished(Step { attempt: 2, ..FIRST }, retry())
    }
}

fn rule(ruled: &mut RuledCommand, finished: FinishedRecord) -> Ruling {
    ruled.rule(RecordBody::Finished(Box::new(finished)))
}

/// Returns a command without a key whose call ended unknown, and which is to be looked up.
fn doubted() -> RuledCommand {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Claim(9));
    let unknown = FinishedRecord { unknown: true, ..decided(FIRST, querying(false, 90)) };
    assert!(matches!(rule(&mut ruled, unknown), Ruling::Counts(_)));
    ruled
}

#[test]
fn only_a_lookup_that_proves_absence_clears_the_doubt() {
    for absent in [false, true] {
        let mut ruled = doubted();
        assert!(ruled.state().may_have_acted());
        assert!(matches!(rule(&mut ruled, tried_again(absent)), Ruling::Counts(_)));
        assert_eq!(ruled.state().unknown, !absent);
        let second =
            StartedRecord { step: Step { attempt: 2, ..FIRST }, ..started(CallGuard::Claim(9)) };
        let ruling = ruled.rule(RecordBody::Started(Box::new(second)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown != absent), "{absent}");
    }
}

#[test]
fn a_failure_of_a_command_in_doubt_counts_only_if_a_lookup_proved_absence() {
    for (absent, kind, expected) in [
        (true, FailureKind::Unavailable, true),
        (true, FailureKind::Expired, true),
        (false, FailureKind::Unavailable, false),
        (false, FailureKind::Unresolved, true),
    ] {
        let mut ruled = doubted();
        let ruling = rule(
            &mut ruled,
            FinishedRecord { not_found: absent, ..decided(query_step(1), failed(kind)) },
        );
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {absent} {ruling:?}");
        assert_eq!(ruling == Ruling::Unknown, !expected, "{kind:?} {absent}");
    }
}

#[test]
fn polls_are_decided_one_after_the_other_and_noted_once() {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    assert!(counts(&rule(&mut ruled, finished(FIRST, waiting()))));
    let noted = ruled.state().history.len();
    for (number, due) in [(1, 15), (2, 45), (3, 105)] {
        assert!(
            counts(&rule(&mut ruled, decided(query_step(number), querying(true, due)))),
            "{number}"
        );
        let copy = rule(&mut ruled, decided(query_step(number), querying(true, due + 1)));
        assert!(
            matches!(copy, Ruling::Unsettled(_)),
            "{number}: a copy goes by what is recorded: {copy:?}"
        );
        let state = ruled.state();
        assert_eq!((state.state(), state.step), (LifecycleState::Waiting, query_step(number)));
        assert_eq!(state.history.len(), noted, "{:?}", state.history);
        assert_eq!(state.history.last().unwrap().until, Some(at(due)));
    }
    let late = rule(&mut ruled, decided(query_step(2), querying(true, 500)));
    assert_eq!(late, Ruling::Superseded);
    let published_before = ruled.state().published_sequence;
    assert!(counts(&rule(&mut ruled, decided(query_step(4), completed()))));
    assert!(
        ruled.state().published_sequence > published_before,
        "the end has a higher number than any query"
    );
    assert_eq!(ruled.state().state(), LifecycleState::Completed);
}

#[test]
fn a_settled_copy_of_a_query_is_superseded() {
    let mut ruled = doubted();
    rule(&mut ruled, decided(query_step(1), querying(false, 100)));
    ruled.rule(RecordBody::Settled(SettledRecord { finished: id(3) }));
    assert_eq!(rule(&mut ruled, decided(query_step(1), querying(false, 100))), Ruling::Superseded);
    assert_eq!(
        ruled.start(CallGuard::Claim(9)),
        Ruling::Superseded,
        "the call itself is over as well"
    );
}

#[test]
fn no_end_but_the_providers_answer_or_a_persons_counts_while_the_provider_works_on_it() {
    for (kind, expected) in [
        (FailureKind::Declined, true),
        (FailureKind::Unresolved, true),
        (FailureKind::Rejected, false),
        (FailureKind::Unavailable, false),
        (FailureKind::Expired, false),
    ] {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Key(9));
        rule(&mut ruled, finished(FIRST, waiting()));
        let ruling = rule(&mut ruled, decided(query_step(1), failed(kind)));
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {ruling:?}");
        assert_eq!(ruling == Ruling::Unknown, !expected, "{kind:?}");
    }
}

#[test]
fn what_is_accepted_or_looked_up_is_not_cancelled() {
    let cancel = |step| {
        let by = DecidedBy::Canceller(Actor { by: "ann".to_owned(), reason: None });
        FinishedRecord { decided_by: by, ..finished(step, failed(FailureKind::Cancelled)) }
    };
    let mut accepted = RuledCommand::default();
    accepted.start(CallGuard::Key(9));
    rule(&mut accepted, finished(FIRST, waiting()));
    rule(&mut accepted, decided(query_step(1), querying(true, 15)));
    assert_eq!(rule(&mut accepted, cancel(FIRST)), Ruling::TooLate(TooLate::Accepted));
    assert_eq!(rule(&mut doubted(), cancel(FIRST)), Ruling::TooLate(TooLate::Unknown));
}

#[test]
fn a_call_that_was_taken_over_is_looked_up_and_not_retried() {
    for (kind, expected) in
        [(querying(false, 90), true), (retry(), false), (failed(FailureKind::Unavailable), false)]
    {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Claim(9));
        ruled.rule(RecordBody::ClaimExpired(ClaimExpired { claim: id(1) }));
        let ruling =
            rule(&mut ruled, FinishedRecord { unknown: true, ..decided(FIRST, kind.clone()) });
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {ruling:?}");
        assert_eq!(ruled.state().state(), LifecycleState::Processing, "{kind:?}");
    }
}

#[test]
fn a_late_answer_to_the_call_counts_while_it_is_looked_up_and_a_different_one_afterwards_contradicts()
 {
    let mut ruled = doubted();
    assert!(matches!(rule(&mut ruled, finished(FIRST, completed())), Ruling::Counts(_)));
    let found = rule(&mut ruled, decided(query_step(1), completed()));
    assert!(matches!(found, Ruling::Unsettled(_)), "both say the same: {found:?}");

    let mut ruled = doubted();
    assert!(matches!(
        rule(&mut ruled, decided(query_step(1), failed(FailureKind::Declined))),
        Ruling::Counts(_)
    ));
    let late = rule(&mut ruled, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Contradicts(_)), "{late:?}");

    let mut ruled = doubted();
    rule(&mut ruled, decided(query_step(1), failed(FailureKind::Unresolved)));
    let late = rule(&mut ruled, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Counts(_)), "the outcome was unknown before: {late:?}");
}

#[test]
fn a_call_of_which_the_provider_said_there_is_none_and_that_answers_all_the_same_counts() {
    let mut ruled = doubted();
    assert!(counts(&rule(&mut ruled, tried_again(true))));
    assert_eq!(
        rule(&mut ruled, finished(FIRST, completed())),
        Ruling::SequenceTooLow { attempt: 2 },
        "the retry was published"
    );
    let late =
        FinishedRecord { step: FIRST, ..finished(Step { attempt: 2, ..FIRST }, completed()) };
    assert!(counts(&rule(&mut ruled, late)));
    let second =
        StartedRecord { step: Step { attempt: 2, ..FIRST }, ..started(CallGuard::Claim(9)) };
    let ruling = ruled.rule(RecordBody::Started(Box::new(second)));
    assert!(matches!(ruling, Ruling::Unsettled(_)), "it is not called again: {ruling:?}");
}

#[test]
fn the_timeline_distinguishes_a_lookup_from_a_retry() {
    let ruled = doubted();
    assert_eq!(ruled.state().history.last().unwrap().reason, "lookup");
    assert_eq!(ruled.state().history.last().unwrap().until, Some(at(90)));
}

#[test]
fn a_replay_drops_the_providers_id_unless_it_may_repeat_the_same_transaction() {
    for unknown in [false, true] {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Key(9));
        let mut failure = finished(
            FIRST,
            failed(if unknown { FailureKind::Unresolved } else { FailureKind::Unavailable }),
        );
        let named = |event: &mut Event| event.data.provider_reference = Some("re_1".to_owned());
        failure.effects.event = failure.effects.event.with_changes(named);
        assert!(counts(&rule(&mut ruled, failure)));
        let replayed = ReplayedRecord {
            identity: ruled.state().identity.clone().unwrap(),
            from: 0,
            unknown,
            key: None,
            first_sent: None,
            request_digest: None,
            token: String::new(),
            actor: Actor { by: "ann".to_owned(), reason: None },
            job: None,
        };
        assert!(counts(&ruled.rule(RecordBody::Replayed(Box::new(replayed)))));
        assert_eq!(ruled.state().provider_reference.is_some(), unknown);
        assert_eq!(ruled.state().former_reference.is_some(), !unknown);
        assert_eq!(
            ruled.state().key_since,
            u32::from(!unknown),
            "the generation whose call this is"
        );
    }
}

#[test]
fn a_provider_that_says_it_failed_ends_what_waits_or_is_in_doubt_and_a_refusal_of_the_holders_does_not()
 {
    let there = || FinishedRecord {
        call: None,
        ..finished(FIRST, EventKind::FailedThere(Failure::default()))
    };
    let refused =
        || FinishedRecord { call: None, ..finished(FIRST, failed(FailureKind::Rejected)) };
    for (accepted, mut ruled) in [(true, RuledCommand::default()), (false, doubted())] {
        if accepted {
            ruled.start(CallGuard::Claim(9));
            assert!(matches!(ruled.end(waiting()), Ruling::Counts(_)));
        }
        let mut other = ruled.clone();
        assert!(!matches!(
            rule(&mut other, FinishedRecord { step: query_step(1), ..refused() }),
            Ruling::Counts(_)
        ));
        assert!(matches!(rule(&mut ruled, there()), Ruling::Counts(_)));
        assert_eq!(ruled.state().ending.as_ref().map(CommandEnding::is_dead), Some(false));
        assert!(matches!(
            rule(&mut ruled, FinishedRecord { call: None, ..finished(FIRST, completed()) }),
            Ruling::Contradicts(_)
        ));
        let declined =
            FinishedRecord { call: None, ..finished(FIRST, failed(FailureKind::Declined)) };
        assert!(
            matches!(rule(&mut ruled, declined), Ruling::Unsettled(_)),
            "of two that say no none is wrong"
        );
    }
}
