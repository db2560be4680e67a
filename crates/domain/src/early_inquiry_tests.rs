//! Tests of early queries, which are made ahead of the planned ones.

use super::tests::{asked, at, doubted, failure, inquiry, limits, lookup, poll, taken, waiting, word};
use super::*;

/// Builds an early query, ahead of a planned one.
fn early(purpose: Purpose, planned: PlannedInquiry) -> Inquiry {
    Inquiry { planned: Some(planned), ..inquiry(purpose, 1, 10) }
}

fn planned(purpose: Purpose, due: i64, tried: u32) -> PlannedInquiry {
    PlannedInquiry { purpose, due: at(due), tried }
}

/// Returns the queries that follow on an early one which is never answered, up to the planned one,
/// as seconds.
fn repeated(mut progress: Progress, limits: &Limits) -> (Vec<i64>, Inquiry) {
    let mut seconds = Vec::new();
    loop {
        let question = progress.inquiry.unwrap();
        let decision = match question.purpose {
            Purpose::Poll => after_poll(Polled::Still(Some(failure())), question, &progress, limits, question.due),
            Purpose::Lookup => {
                after_lookup(LookedUp::Unclear(failure()), question, &mut progress, limits, question.due, 0.5)
            }
        };
        let Decision::Inquire(next, Some(_)) = decision else { panic!("{decision:?}") };
        assert_eq!((next.number, next.early), (question.number + 1, question.early + 1));
        seconds.push(next.due.as_second() - 1_800_000_000);
        if next.planned.is_none() {
            return (seconds, next);
        }
        progress.inquiry = Some(next);
    }
}

#[test]
fn an_early_question_without_an_answer_is_repeated_and_what_was_planned_keeps_its_time() {
    use Purpose::{Lookup, Poll};
    let limits = Limits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
    let (waits, doubted) = (waiting(3_600, None), doubted(None));
    let table = [
        // the command, the query at second 10, the planned query, the times of the next queries;
        // the last as planned
        (&waits, Lookup, planned(Poll, 1_000, 0), vec![15, 45, 1_000]),
        (&waits, Poll, planned(Poll, 1_000, 0), vec![15, 45, 1_000]),
        (&waits, Lookup, planned(Poll, 40, 0), vec![15, 40]),
        (&waits, Lookup, planned(Poll, 12, 0), vec![12]),
        (&waits, Lookup, planned(Poll, 3_600, 0), vec![15, 45, 3_600]),
        (&doubted, Lookup, planned(Lookup, 90, 0), vec![15, 45, 90]),
        (&doubted, Lookup, planned(Lookup, 90, 2), vec![15, 45, 90]),
    ];
    for (progress, purpose, planned, expected) in table {
        let progress = Progress { inquiry: Some(early(purpose, planned)), ..progress.clone() };
        let (seconds, last) = repeated(progress, &limits);
        assert_eq!(seconds, expected, "{purpose:?} {planned:?}");
        assert_eq!((last.purpose, last.due, last.tried), (planned.purpose, planned.due, planned.tried));
    }
}

#[test]
fn a_lookup_before_its_time_spends_none_of_its_tries() {
    let limits = Limits { lookup: Some(lookup(true)), ..limits() };
    for answer in [LookedUp::Unclear(failure()), LookedUp::Absent(failure())] {
        let question = Inquiry { tried: 2, ..early(Purpose::Lookup, planned(Purpose::Lookup, 90, 0)) };
        let mut progress = doubted(Some(question));
        let decision = after_lookup(answer, question, &mut progress, &limits, at(10), 0.5);
        let Decision::Inquire(next, _) = decision else { panic!("{decision:?}") };
        assert_eq!((next.due, next.number, next.tried), (at(90), 2, 0));
        assert!(progress.unknown);
    }
}

#[test]
fn an_early_question_that_finds_it_still_waiting_is_asked_once_more_and_tells_nothing() {
    let limits = Limits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
    let unpolled = Limits { poll: None, ..limits.clone() };
    let table = [
        // limits, the number of queries before, the time of the planned poll, the time of the next
        // query
        (&limits, 0, 1_000, 15),
        (&limits, 1, 1_000, 1_000),
        (&limits, 0, 12, 12),
        (&unpolled, 0, 1_000, 1_000),
    ];
    for (limits, tried, due, expected) in table {
        let question = Inquiry { tried, ..early(Purpose::Lookup, planned(Purpose::Poll, due, 0)) };
        let mut progress = waiting(3_600, Some(question));
        let found = LookedUp::Found(Outcome::Waiting(Success::default(), Party::Provider));
        let decision = after_lookup(found, question, &mut progress, limits, at(10), 0.5);
        let Accepted { deadline, inquiry, first, .. } = taken(decision);
        assert_eq!((inquiry.due, deadline, first), (at(expected), at(3_600), false), "{tried} {due}");
        let polled = Inquiry { purpose: Purpose::Poll, ..question };
        let decision = after_poll(Polled::Still(None), polled, &progress, limits, at(10));
        assert_eq!(asked(&decision), (expected, 2), "{tried} {due}");
    }
    let question = early(Purpose::Lookup, planned(Purpose::Lookup, 90, 0));
    let found = LookedUp::Found(Outcome::Waiting(Success::default(), Party::Provider));
    let decision = after_lookup(found, question, &mut doubted(Some(question)), &limits, at(10), 0.5);
    assert!(taken(decision).first, "that it was accepted becomes known by this");
}

#[test]
fn early_questions_make_no_poll_come_later() {
    let limits = Limits { poll: Some(poll(5, 3_600)), ..limits() };
    for early in [0, 40] {
        let question = Inquiry { early, ..inquiry(Purpose::Poll, 2 + early, 0) };
        let progress = waiting(100_000, Some(question));
        let decision = after_poll(Polled::Still(None), question, &progress, &limits, at(0));
        assert_eq!(asked(&decision), (30, 3 + early));
    }
}

#[test]
fn an_early_question_that_can_be_asked_no_more_leaves_everything_as_it_was_planned() {
    let question = early(Purpose::Lookup, planned(Purpose::Poll, 1_000, 0));
    let asking = before_inquiry(question, &waiting(3_600, Some(question)), &limits(), at(10));
    let Asking::Instead(decision) = asking else { panic!("{asking:?}") };
    assert_eq!((asked(&decision), word(&decision)), ((1_000, 2), "poll"));
    let overdue = Limits { lookup: Some(lookup(true)), ..limits() };
    let question = Inquiry { tried: 2, ..question };
    let asking = before_inquiry(question, &waiting(10, Some(question)), &overdue, at(10));
    let last = Inquiry { tried: 0, planned: None, ..question };
    assert_eq!(asking, Asking::Now(last), "at the deadline it is the last lookup, with all of its tries");
}
