//! Tests of the rulings on polls and lookups.

use super::super::record::*;
use super::tests::{FIRST, Told, completed, counts, failed, finished, id, retry, started};
use super::*;
use crate::event::Happening;
use crate::lifecycle::Kind;
use crate::outcome::{Failure, Party, Success};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn question(inquiry: u32) -> Step {
    Step { inquiry, ..FIRST }
}

fn waiting() -> Happening {
    Happening::Waiting(Success::default(), Party::Provider)
}

/// Returns a decision to query the provider again at this second.
fn asking(accepted: bool, second: i64) -> Happening {
    Happening::Inquiring { accepted, due: at(second), failure: None }
}

/// Returns a decision about a query; only an end is published.
fn decided(step: Step, happening: Happening) -> Finished {
    let mut finished = Finished { call: None, ..finished(step, happening) };
    finished.effects.told = finished.effects.event.data.state.is_terminal();
    finished
}

/// Returns the decision of a first query that leads to another attempt.
fn tried_again(absent: bool) -> Finished {
    Finished { step: question(1), absent, ..finished(Step { attempt: 2, ..FIRST }, retry()) }
}

fn rule(told: &mut Told, finished: Finished) -> Ruling {
    told.rule(Fact::Finished(Box::new(finished)))
}

/// Returns a command without a key whose call ended unknown, and which is to be looked up.
fn doubted() -> Told {
    let mut told = Told::default();
    told.start(Guard::Claim(9));
    let unknown = Finished { unknown: true, ..decided(FIRST, asking(false, 90)) };
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
        let second = Started { step: Step { attempt: 2, ..FIRST }, ..started(Guard::Claim(9)) };
        let ruling = told.rule(Fact::Started(Box::new(second)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown != absent), "{absent}");
    }
}

#[test]
fn the_end_of_a_command_that_did_not_act_counts_only_with_the_providers_word() {
    for (absent, kind, expected) in [
        (true, Kind::Unavailable, true),
        (true, Kind::Expired, true),
        (false, Kind::Unavailable, false),
        (false, Kind::Unresolved, true),
    ] {
        let mut told = doubted();
        let ruling = rule(&mut told, Finished { absent, ..decided(question(1), failed(kind)) });
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {absent} {ruling:?}");
        assert_eq!(ruling == Ruling::Unknown, !expected, "{kind:?} {absent}");
    }
}

#[test]
fn polls_are_decided_one_after_the_other_and_noted_once() {
    let mut told = Told::default();
    told.start(Guard::Key(9));
    assert!(counts(&rule(&mut told, finished(FIRST, waiting()))));
    let noted = told.case().history.len();
    for (number, due) in [(1, 15), (2, 45), (3, 105)] {
        assert!(counts(&rule(&mut told, decided(question(number), asking(true, due)))), "{number}");
        let copy = rule(&mut told, decided(question(number), asking(true, due + 1)));
        assert!(matches!(copy, Ruling::Unsettled(_)), "{number}: a copy goes by what is on record: {copy:?}");
        let case = told.case();
        assert_eq!((case.state(), case.step), (State::Waiting, question(number)));
        assert_eq!(case.history.len(), noted, "{:?}", case.history);
        assert_eq!(case.history.last().unwrap().until, Some(at(due)));
    }
    let late = rule(&mut told, decided(question(2), asking(true, 500)));
    assert_eq!(late, Ruling::Passed);
    let told_before = told.case().told;
    assert!(counts(&rule(&mut told, decided(question(4), completed()))));
    assert!(told.case().told > told_before, "the end has a higher number than any question");
    assert_eq!(told.case().state(), State::Completed);
}

#[test]
fn a_settled_copy_of_a_question_is_passed() {
    let mut told = doubted();
    rule(&mut told, decided(question(1), asking(false, 100)));
    told.rule(Fact::Settled(Settled { finished: id(3) }));
    assert_eq!(rule(&mut told, decided(question(1), asking(false, 100))), Ruling::Passed);
    assert_eq!(told.start(Guard::Claim(9)), Ruling::Passed, "the call itself is over as well");
}

#[test]
fn no_end_but_the_providers_answer_or_a_persons_counts_while_the_provider_works_on_it() {
    for (kind, expected) in [
        (Kind::Declined, true),
        (Kind::Unresolved, true),
        (Kind::Rejected, false),
        (Kind::Unavailable, false),
        (Kind::Expired, false),
    ] {
        let mut told = Told::default();
        told.start(Guard::Key(9));
        rule(&mut told, finished(FIRST, waiting()));
        let ruling = rule(&mut told, decided(question(1), failed(kind)));
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{kind:?} {ruling:?}");
        assert_eq!(ruling == Ruling::Unknown, !expected, "{kind:?}");
    }
}

#[test]
fn what_is_accepted_or_looked_up_is_not_cancelled() {
    let cancel = |step| {
        let by = By::Canceller(Person { by: "ann".to_owned(), reason: None });
        Finished { by, ..finished(step, failed(Kind::Cancelled)) }
    };
    let mut accepted = Told::default();
    accepted.start(Guard::Key(9));
    rule(&mut accepted, finished(FIRST, waiting()));
    rule(&mut accepted, decided(question(1), asking(true, 15)));
    assert_eq!(rule(&mut accepted, cancel(FIRST)), Ruling::TooLate(TooLate::Accepted));
    assert_eq!(rule(&mut doubted(), cancel(FIRST)), Ruling::TooLate(TooLate::Unknown));
}

#[test]
fn a_call_that_was_taken_over_is_looked_up_and_not_retried() {
    for (happening, expected) in [(asking(false, 90), true), (retry(), false), (failed(Kind::Unavailable), false)] {
        let mut told = Told::default();
        told.start(Guard::Claim(9));
        told.rule(Fact::TakenOver(TakenOver { claim: id(1) }));
        let ruling = rule(&mut told, Finished { unknown: true, ..decided(FIRST, happening.clone()) });
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{happening:?} {ruling:?}");
        assert_eq!(told.case().state(), State::Processing, "{happening:?}");
    }
}

#[test]
fn a_late_answer_to_the_call_counts_while_it_is_looked_up_and_a_different_one_afterwards_contradicts() {
    let mut told = doubted();
    assert!(matches!(rule(&mut told, finished(FIRST, completed())), Ruling::Counts(_)));
    let found = rule(&mut told, decided(question(1), completed()));
    assert!(matches!(found, Ruling::Unsettled(_)), "both say the same: {found:?}");

    let mut told = doubted();
    assert!(matches!(rule(&mut told, decided(question(1), failed(Kind::Declined))), Ruling::Counts(_)));
    let late = rule(&mut told, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Contradicts(_)), "{late:?}");

    let mut told = doubted();
    rule(&mut told, decided(question(1), failed(Kind::Unresolved)));
    let late = rule(&mut told, finished(FIRST, completed()));
    assert!(matches!(late, Ruling::Counts(_)), "nobody knew better: {late:?}");
}

#[test]
fn a_call_of_which_the_provider_said_there_is_none_and_that_answers_all_the_same_counts() {
    let mut told = doubted();
    assert!(counts(&rule(&mut told, tried_again(true))));
    assert_eq!(rule(&mut told, finished(FIRST, completed())), Ruling::Outrun { attempt: 2 }, "the retry was told");
    let late = Finished { step: FIRST, ..finished(Step { attempt: 2, ..FIRST }, completed()) };
    assert!(counts(&rule(&mut told, late)));
    let second = Started { step: Step { attempt: 2, ..FIRST }, ..started(Guard::Claim(9)) };
    let ruling = told.rule(Fact::Started(Box::new(second)));
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
        let mut told = Told::default();
        told.start(Guard::Key(9));
        let mut failure = finished(FIRST, failed(if unknown { Kind::Unresolved } else { Kind::Unavailable }));
        failure.effects.event.data.provider_reference = Some("re_1".to_owned());
        assert!(counts(&rule(&mut told, failure)));
        let replayed = Replayed {
            opening: told.case().opening.clone().unwrap(),
            from: 0,
            unknown,
            key: None,
            first_sent: None,
            digest: None,
            token: None,
            person: Person { by: "ann".to_owned(), reason: None },
            job: None,
        };
        assert!(counts(&told.rule(Fact::Replayed(Box::new(replayed)))));
        assert_eq!(told.case().provider_reference.is_some(), unknown);
        assert_eq!(told.case().former_reference.is_some(), !unknown);
        assert_eq!(told.case().key_since, u32::from(!unknown), "the generation whose call this is");
    }
}

#[test]
fn a_provider_that_says_it_failed_ends_what_waits_or_is_in_doubt_and_a_refusal_of_the_holders_does_not() {
    let there = || Finished { call: None, ..finished(FIRST, Happening::FailedThere(Failure::default())) };
    let refused = || Finished { call: None, ..finished(FIRST, failed(Kind::Rejected)) };
    for (accepted, mut told) in [(true, Told::default()), (false, doubted())] {
        if accepted {
            told.start(Guard::Claim(9));
            assert!(matches!(told.end(waiting()), Ruling::Counts(_)));
        }
        let mut other = told.clone();
        assert!(!matches!(rule(&mut other, Finished { step: question(1), ..refused() }), Ruling::Counts(_)));
        assert!(matches!(rule(&mut told, there()), Ruling::Counts(_)));
        assert_eq!(told.case().ending.as_ref().map(Ending::is_dead), Some(false));
        assert!(matches!(
            rule(&mut told, Finished { call: None, ..finished(FIRST, completed()) }),
            Ruling::Contradicts(_)
        ));
        let declined = Finished { call: None, ..finished(FIRST, failed(Kind::Declined)) };
        assert!(matches!(rule(&mut told, declined), Ruling::Unsettled(_)), "of two that say no none is wrong");
    }
}
