//! Tests of early queries, which are made ahead of the planned ones.

use super::tests::{
    at, doubted, failure, limits, lookup, name_of, next_query, poll, provider_query, taken, waiting,
};
use super::*;

/// Builds an early query, ahead of a planned one.
fn early(purpose: QueryPurpose, planned: PlannedQuery) -> ProviderQuery {
    ProviderQuery { planned: Some(planned), ..provider_query(purpose, 1, 10) }
}

fn planned(purpose: QueryPurpose, due: i64, tried: u32) -> PlannedQuery {
    PlannedQuery { purpose, due: at(due), tried }
}

/// Returns the queries that follow on an early one which is never answered, up to the planned one,
/// as seconds.
fn repeated(mut progress: GenerationProgress, limits: &AttemptLimits) -> (Vec<i64>, ProviderQuery) {
    let mut seconds = Vec::new();
    loop {
        let query = progress.query.unwrap();
        let decision = match query.purpose {
            QueryPurpose::Poll => decide_after_poll(
                PollOutcome::Still(Some(failure())),
                query,
                &progress,
                limits,
                query.due,
            ),
            QueryPurpose::Lookup => decide_after_lookup(
                LookupOutcome::Unclear(failure()),
                query,
                &mut progress,
                limits,
                query.due,
                0.5,
            ),
        };
        let Decision::Query(next, Some(_)) = decision else { panic!("{decision:?}") };
        assert_eq!((next.number, next.early), (query.number + 1, query.early + 1));
        seconds.push(next.due.as_second() - 1_800_000_000);
        if next.planned.is_none() {
            return (seconds, next);
        }
        progress.query = Some(next);
    }
}

#[test]
fn an_early_query_without_an_answer_is_repeated_and_the_planned_query_keeps_its_time() {
    use QueryPurpose::{Lookup, Poll};
    let limits = AttemptLimits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
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
        let progress =
            GenerationProgress { query: Some(early(purpose, planned)), ..progress.clone() };
        let (seconds, last) = repeated(progress, &limits);
        assert_eq!(seconds, expected, "{purpose:?} {planned:?}");
        assert_eq!(
            (last.purpose, last.due, last.tried),
            (planned.purpose, planned.due, planned.tried)
        );
    }
}

#[test]
fn a_lookup_before_its_time_spends_none_of_its_tries() {
    let limits = AttemptLimits { lookup: Some(lookup(true)), ..limits() };
    for answer in [LookupOutcome::Unclear(failure()), LookupOutcome::Absent(failure())] {
        let query = ProviderQuery {
            tried: 2,
            ..early(QueryPurpose::Lookup, planned(QueryPurpose::Lookup, 90, 0))
        };
        let mut progress = doubted(Some(query));
        let decision = decide_after_lookup(answer, query, &mut progress, &limits, at(10), 0.5);
        let Decision::Query(next, _) = decision else { panic!("{decision:?}") };
        assert_eq!((next.due, next.number, next.tried), (at(90), 2, 0));
        assert!(progress.unknown);
    }
}

#[test]
fn an_early_query_that_finds_the_command_still_waiting_is_repeated_once_and_publishes_nothing() {
    let limits = AttemptLimits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
    let unpolled = AttemptLimits { poll: None, ..limits.clone() };
    let table = [
        // limits, the number of queries before, the time of the planned poll, the time of the next
        // query
        (&limits, 0, 1_000, 15),
        (&limits, 1, 1_000, 1_000),
        (&limits, 0, 12, 12),
        (&unpolled, 0, 1_000, 1_000),
    ];
    for (limits, tried, due, expected) in table {
        let query = ProviderQuery {
            tried,
            ..early(QueryPurpose::Lookup, planned(QueryPurpose::Poll, due, 0))
        };
        let mut progress = waiting(3_600, Some(query));
        let found =
            LookupOutcome::Found(Outcome::Waiting(Success::default(), WaitingFor::Provider));
        let decision = decide_after_lookup(found, query, &mut progress, limits, at(10), 0.5);
        let AcceptedCommand { deadline, query: next, first, .. } = taken(decision);
        assert_eq!((next.due, deadline, first), (at(expected), at(3_600), false), "{tried} {due}");
        let polled = ProviderQuery { purpose: QueryPurpose::Poll, ..query };
        let decision =
            decide_after_poll(PollOutcome::Still(None), polled, &progress, limits, at(10));
        assert_eq!(next_query(&decision), (expected, 2), "{tried} {due}");
    }
    let query = early(QueryPurpose::Lookup, planned(QueryPurpose::Lookup, 90, 0));
    let found = LookupOutcome::Found(Outcome::Waiting(Success::default(), WaitingFor::Provider));
    let decision =
        decide_after_lookup(found, query, &mut doubted(Some(query)), &limits, at(10), 0.5);
    assert!(taken(decision).first, "that it was accepted becomes known by this");
}

#[test]
fn early_queries_delay_no_poll() {
    let limits = AttemptLimits { poll: Some(poll(5, 3_600)), ..limits() };
    for early in [0, 40] {
        let query = ProviderQuery { early, ..provider_query(QueryPurpose::Poll, 2 + early, 0) };
        let progress = waiting(100_000, Some(query));
        let decision =
            decide_after_poll(PollOutcome::Still(None), query, &progress, &limits, at(0));
        assert_eq!(next_query(&decision), (30, 3 + early));
    }
}

#[test]
fn an_early_query_that_is_not_possible_any_more_leaves_the_planned_query_as_it_is() {
    let query = early(QueryPurpose::Lookup, planned(QueryPurpose::Poll, 1_000, 0));
    let action = decide_before_query(query, &waiting(3_600, Some(query)), &limits(), at(10));
    let QueryAction::Instead(decision) = action else { panic!("{action:?}") };
    assert_eq!((next_query(&decision), name_of(&decision)), ((1_000, 2), "poll"));
    let overdue = AttemptLimits { lookup: Some(lookup(true)), ..limits() };
    let query = ProviderQuery { tried: 2, ..query };
    let action = decide_before_query(query, &waiting(10, Some(query)), &overdue, at(10));
    let last = ProviderQuery { tried: 0, planned: None, ..query };
    assert_eq!(
        action,
        QueryAction::Now(last),
        "at the deadline it is the last lookup, with all of its tries"
    );
}
