//! Tests of the rulings on polls and lookups.

use super::super::record::*;
use super::tests::{FIRST, RuledCommand, completed, counts, failed, finished, id, retry, started};
use super::*;
use crate::event::EventKind;
use crate::lifecycle::FailureKind;
use crate::outcome::{Failure, Success, WaitingFor};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn question(inquiry: u32) -> Step {
    Step { query: inquiry, ..FIRST }
}

fn waiting() -> EventKind {
    EventKind::Waiting(Success::default(), WaitingFor::Provider)
}

/// Returns a decision to query the provider again at this second.
fn asking(accepted: bool, second: i64) -> EventKind {
    EventKind::Inquiring { accepted, due: at(second), failure: None }
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
        step: question(1),
        not_found: absent,
        ..finished(Step { attempt: 2, ..FIRST }, retry())
    }
}

fn rule(told: &mut RuledCommand, finished: FinishedRecord) -> Ruling {
    told.rule(RecordBody::Finished(Box::new(finished)))
}

/// Returns a command without a key whose call ended unknown, and which is to be looked up.
fn doubted() -> RuledCommand {
    let mut told = RuledCommand::default();
    told.start(CallGuard::Claim(9));
    let unknown = FinishedRecord { unknown: true, ..decided(FIRST, asking(false, 90)) };
    assert!(matches!(rule(&mut told, unknown), Ruling::Counts(_)));
    told
}

#[test]
fn only_the_providers_word_that_there_is_none_clears_the_doubt() {
    for absent in [false, true] {
        let mut told = doubted();
        assert!(told.case().may_have_acted());
        assert!(matches!(rule(&mut told, tried_again(absent)), Ruling::Counts(_)));
        assert_eq!(told.case().unknown, !absent);
        let second =
            StartedRecord { step: Step { attempt: 2, ..FIRST }, ..started(CallGuard::Claim(9)) };
        let ruling = told.rule(RecordBody::Started(Box::new(second)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown != absent), "{absent}");
    }
}

#[test]
fn the_end_of_a_command_that_did_not_act_counts_only_with_the_providers_word() {
    for (absent, kind, expected) in [
        (true, FailureKind::Unavailable, true),
        (true, FailureKind::Expired, true),
        (false, FailureKind::Unavailable, false),
        (false, FailureKind::Unresolved, true),
    ] {
        let mut told = doubted();
        let ruling = rule(
            &mut told,
            FinishedRecord { not_found: absent, ..decided(question(1), failed(kind)) },
        );
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {absent} {ruling:?}");
        assert_eq!(ruling == Ruling::Unknown, !expected, "{kind:?} {absent}");
    }
}

#[test]
fn polls_are_decided_one_after_the_other_and_noted_once() {
    let mut told = RuledCommand::default();
    told.start(CallGuard::Key(9));
    assert!(counts(&rule(&mut told, finished(FIRST, waiting()))));
    let noted = told.case().history.len();
    for (number, due) in [(1, 15), (2, 45), (3, 105)] {
        assert!(counts(&rule(&mut told, decided(question(number), asking(true, due)))), "{number}");
        let copy = rule(&mut told, decided(question(number), asking(true, due + 1)));
        assert!(
            matches!(copy, Ruling::Unsettled(_)),
            "{number}: a copy goes by what is recorded: {copy:?}"
        );
        let state = told.case();
        assert_eq!((state.state(), state.step), (LifecycleState::Waiting, question(number)));
        assert_eq!(state.history.len(), noted, "{:?}", state.history);
        assert_eq!(state.history.last().unwrap().until, Some(at(due)));
    }
    let late = rule(&mut told, decided(question(2), asking(true, 500)));
    assert_eq!(late, Ruling::Superseded);
    let told_before = told.case().published_sequence;
    assert!(counts(&rule(&mut told, decided(question(4), completed()))));
    assert!(
        told.case().published_sequence > told_before,
        "the end has a higher number than any question"
    );
    assert_eq!(told.case().state(), LifecycleState::Completed);
}

#[test]
fn a_settled_copy_of_a_question_is_passed() {
    let mut told = doubted();
    rule(&mut told, decided(question(1), asking(false, 100)));
    told.rule(RecordBody::Settled(SettledRecord { finished: id(3) }));
    assert_eq!(rule(&mut told, decided(question(1), asking(false, 100))), Ruling::Superseded);
    assert_eq!(
        told.start(CallGuard::Claim(9)),
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
        let mut told = RuledCommand::default();
        told.start(CallGuard::Key(9));
        rule(&mut told, finished(FIRST, waiting()));
        let ruling = rule(&mut told, decided(question(1), failed(kind)));
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
    rule(&mut accepted, decided(question(1), asking(true, 15)));
    assert_eq!(rule(&mut accepted, cancel(FIRST)), Ruling::TooLate(TooLate::Accepted));
    assert_eq!(rule(&mut doubted(), cancel(FIRST)), Ruling::TooLate(TooLate::Unknown));
}

#[test]
fn a_call_that_was_taken_over_is_looked_up_and_not_retried() {
    for (kind, expected) in
        [(asking(false, 90), true), (retry(), false), (failed(FailureKind::Unavailable), false)]
    {
        let mut told = RuledCommand::default();
        told.start(CallGuard::Claim(9));
        told.rule(RecordBody::ClaimExpired(ClaimExpired { claim: id(1) }));
        let ruling =
            rule(&mut told, FinishedRecord { unknown: true, ..decided(FIRST, kind.clone()) });
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {ruling:?}");
        assert_eq!(told.case().state(), LifecycleState::Processing, "{kind:?}");
    }
}

#[test]
fn a_late_answer_to_the_call_counts_while_it_is_looked_up_and_a_different_one_afterwards_contradicts()
 {
    let mut told = doubted();
    assert!(matches!(rule(&mut told, finished(FIRST, completed())), Ruling::Counts(_)));
    let found = rule(&mut told, decided(question(1), completed()));
    assert!(matches!(found, Ruling::Unsettled(_)), "both say the same: {found:?}");

    let mut told = doubted();
    assert!(matches!(
        rule(&mut told, decided(question(1), failed(FailureKind::Declined))),
        Ruling::Counts(_)
    ));
    let late = rule(&mut told, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Contradicts(_)), "{late:?}");

    let mut told = doubted();
    rule(&mut told, decided(question(1), failed(FailureKind::Unresolved)));
    let late = rule(&mut told, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Counts(_)), "the outcome was unknown before: {late:?}");
}

#[test]
fn a_call_of_which_the_provider_said_there_is_none_and_that_answers_all_the_same_counts() {
    let mut told = doubted();
    assert!(counts(&rule(&mut told, tried_again(true))));
    assert_eq!(
        rule(&mut told, finished(FIRST, completed())),
        Ruling::SequenceTooLow { attempt: 2 },
        "the retry was published"
    );
    let late =
        FinishedRecord { step: FIRST, ..finished(Step { attempt: 2, ..FIRST }, completed()) };
    assert!(counts(&rule(&mut told, late)));
    let second =
        StartedRecord { step: Step { attempt: 2, ..FIRST }, ..started(CallGuard::Claim(9)) };
    let ruling = told.rule(RecordBody::Started(Box::new(second)));
    assert!(matches!(ruling, Ruling::Unsettled(_)), "it is not called again: {ruling:?}");
}

#[test]
fn words_of_the_timeline_tell_a_lookup_from_a_retry() {
    let told = doubted();
    assert_eq!(told.case().history.last().unwrap().reason, "lookup");
    assert_eq!(told.case().history.last().unwrap().until, Some(at(90)));
}

#[test]
fn a_replay_forgets_the_providers_id_unless_it_is_about_the_same_deed() {
    for unknown in [false, true] {
        let mut told = RuledCommand::default();
        told.start(CallGuard::Key(9));
        let mut failure = finished(
            FIRST,
            failed(if unknown { FailureKind::Unresolved } else { FailureKind::Unavailable }),
        );
        failure.effects.event.data.provider_reference = Some("re_1".to_owned());
        assert!(counts(&rule(&mut told, failure)));
        let replayed = ReplayedRecord {
            identity: told.case().identity.clone().unwrap(),
            from: 0,
            unknown,
            key: None,
            first_sent: None,
            request_digest: None,
            token: String::new(),
            actor: Actor { by: "ann".to_owned(), reason: None },
            job: None,
        };
        assert!(counts(&told.rule(RecordBody::Replayed(Box::new(replayed)))));
        assert_eq!(told.case().provider_reference.is_some(), unknown);
        assert_eq!(told.case().former_reference.is_some(), !unknown);
        assert_eq!(told.case().key_since, u32::from(!unknown), "the generation whose call this is");
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
    for (accepted, mut told) in [(true, RuledCommand::default()), (false, doubted())] {
        if accepted {
            told.start(CallGuard::Claim(9));
            assert!(matches!(told.end(waiting()), Ruling::Counts(_)));
        }
        let mut other = told.clone();
        assert!(!matches!(
            rule(&mut other, FinishedRecord { step: question(1), ..refused() }),
            Ruling::Counts(_)
        ));
        assert!(matches!(rule(&mut told, there()), Ruling::Counts(_)));
        assert_eq!(told.case().ending.as_ref().map(CommandEnding::is_dead), Some(false));
        assert!(matches!(
            rule(&mut told, FinishedRecord { call: None, ..finished(FIRST, completed()) }),
            Ruling::Contradicts(_)
        ));
        let declined =
            FinishedRecord { call: None, ..finished(FIRST, failed(FailureKind::Declined)) };
        assert!(
            matches!(rule(&mut told, declined), Ruling::Unsettled(_)),
            "of two that say no none is wrong"
        );
    }
}
