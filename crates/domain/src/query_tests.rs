use super::*;
use crate::retry::RetryPolicy;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn lookup(proves_absence: bool) -> LookupPolicy {
    LookupPolicy { after: secs(90), proves_absence, needs_reference: false }
}

pub(super) fn poll(interval: u64, longest: u64) -> PollPolicy {
    PollPolicy { interval: secs(interval), max_interval: secs(longest) }
}

/// No key, three attempts at 5 s and 30 s, an hour for accepted commands; neither poll nor lookup.
pub(super) fn limits() -> AttemptLimits {
    AttemptLimits {
        policy: RetryPolicy {
            schedule: vec![secs(5), secs(30)],
            jitter: false,
            ..RetryPolicy::default()
        },
        key_retention: None,
        not_before: None,
        expires_at: None,
        deadline: secs(3_600),
        poll: None,
        lookup: None,
    }
}

pub(super) fn provider_query(purpose: QueryPurpose, number: u32, due: i64) -> ProviderQuery {
    ProviderQuery::new(number, purpose, at(due))
}

/// A command whose only call ended unknown at second 0.
pub(super) fn doubted(query: Option<ProviderQuery>) -> GenerationProgress {
    let mut progress = GenerationProgress::first_generation(at(0));
    progress.mark_unknown(at(0));
    progress.query = query;
    progress
}

/// A command that was accepted and has to end by `deadline`.
pub(super) fn waiting(deadline: i64, query: Option<ProviderQuery>) -> GenerationProgress {
    GenerationProgress {
        deadline: Some(at(deadline)),
        query,
        ..GenerationProgress::first_generation(at(0))
    }
}

pub(super) fn failure() -> Failure {
    Failure::new("code", "message")
}

pub(super) fn taken(decision: Decision) -> AcceptedCommand {
    match decision {
        Decision::Wait(accepted) => *accepted,
        other => panic!("{other:?}"),
    }
}

/// Names a decision, with the rung of a retry and the purpose of a query.
pub(super) fn name_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Complete(_) => "complete",
        Decision::Wait(..) => "wait",
        Decision::Query(query, _) => query.purpose.as_str(),
        Decision::Retry { rung, .. } => rung.name(),
        Decision::GiveUp(kind, _) => kind.as_str(),
    }
}

/// Returns the next query, as seconds and number.
pub(super) fn next_query(decision: &Decision) -> (i64, u32) {
    match decision {
        Decision::Query(query, _) => (query.due.as_second() - 1_800_000_000, query.number),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_is_made_when_it_is_due_and_an_overdue_poll_becomes_a_last_lookup_or_ends_the_command() {
    use QueryPurpose::{Lookup, Poll};
    let (neither, polled) = (limits(), AttemptLimits { poll: Some(poll(5, 60)), ..limits() });
    let (looked_up, both) = (
        AttemptLimits { lookup: Some(lookup(true)), ..limits() },
        AttemptLimits { lookup: Some(lookup(true)), ..polled.clone() },
    );
    let table = [
        // purpose, deadline, due, now, limits, expected
        (Poll, Some(600), 100, 1, &polled, "1m"),
        (Poll, Some(600), 100, 41, &polled, "30s"),
        (Poll, Some(600), 100, 99, &polled, "1s"),
        (Poll, Some(600), 100, 100, &polled, "poll"),
        (Poll, Some(600), 100, 599, &both, "poll"),
        (Poll, Some(600), 600, 600, &both, "lookup"),
        (Poll, Some(600), 600, 600, &looked_up, "lookup"),
        (Poll, Some(600), 600, 600, &polled, "unresolved: deadline"),
        (Poll, Some(600), 600, 9_999, &neither, "unresolved: deadline"),
        // The provider file has lost its poll: only the deadline is left.
        (Poll, Some(600), 100, 100, &neither, "5m"),
        (Poll, Some(600), 100, 100, &looked_up, "5m"),
        (Poll, Some(600), 100, 599, &neither, "1s"),
        // A command without a deadline is not polled for ever.
        (Poll, None, 100, 100, &both, "lookup"),
        (Poll, None, 100, 100, &neither, "unresolved: deadline"),
        // The provider file has lost its lookup: no query is possible any more.
        (Lookup, None, 100, 41, &neither, "30s"),
        (Lookup, None, 100, 100, &neither, "unresolved: no_lookup"),
        (Lookup, None, 100, 41, &looked_up, "30s"),
        (Lookup, None, 100, 100, &looked_up, "lookup"),
        (Lookup, Some(600), 700, 700, &looked_up, "lookup"),
    ];
    for (purpose, deadline, due, now, limits, expected) in table {
        let query = provider_query(purpose, 3, due);
        let progress = GenerationProgress { deadline: deadline.map(at), ..doubted(Some(query)) };
        let found = match decide_before_query(query, &progress, limits, at(now)) {
            QueryAction::Now(made) => {
                assert_eq!(made, ProviderQuery { purpose: made.purpose, ..query });
                made.purpose.as_str().to_owned()
            }
            QueryAction::Park(rung) => rung.name().to_owned(),
            QueryAction::Instead(decision) => match *decision {
                Decision::GiveUp(kind, failure) => {
                    format!("{}: {}", kind.as_str(), failure.code.unwrap())
                }
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(found, expected, "{purpose:?} due {due} deadline {deadline:?} at {now}");
    }
}

#[test]
fn an_accepted_command_has_a_deadline_and_no_query_comes_after_it() {
    let accept = |progress: &GenerationProgress, limits: &AttemptLimits| {
        let AcceptedCommand { deadline, query, .. } = taken(decide_accepted(
            Success::default(),
            WaitingFor::Customer,
            progress,
            limits,
            at(10),
        ));
        assert_eq!((query.purpose, query.tried), (QueryPurpose::Poll, 0));
        let second = |time: Timestamp| time.as_second() - 1_800_000_000;
        (second(deadline), second(query.due), query.number)
    };
    let fresh = GenerationProgress::first_generation(at(0));
    let found = doubted(Some(provider_query(QueryPurpose::Lookup, 4, 5)));
    let table = [
        // progress, poll, (deadline, first query, its number)
        (fresh.clone(), None, (3_610, 3_610, 1)),
        (fresh.clone(), Some(poll(5, 60)), (3_610, 15, 1)),
        (fresh.clone(), Some(poll(6, 60)), (3_610, 25, 1)),
        (fresh, Some(poll(7_200, 7_200)), (3_610, 3_610, 1)),
        (found, Some(poll(5, 60)), (3_610, 15, 5)),
        (waiting(12, None), Some(poll(5, 60)), (12, 12, 1)),
    ];
    for (progress, poll, expected) in table {
        assert_eq!(
            accept(&progress, &AttemptLimits { poll, ..limits() }),
            expected,
            "{poll:?} {progress:?}"
        );
    }
}

#[test]
fn polls_come_a_rung_further_apart_each_time_up_to_the_longest_wait() {
    let table = [
        // interval, longest, the waits after each poll
        (5, 120, vec![15, 30, 60, 120, 120, 120]),
        (3, 20, vec![15, 15, 15]),
        (60, 60, vec![60, 60]),
        (600, 60, vec![600, 600]),
        (43_200, 43_200, vec![43_200, 43_200]),
    ];
    for (first, longest, waits) in table {
        let limits = AttemptLimits { poll: Some(poll(first, longest)), ..limits() };
        let mut progress = waiting(1_000_000, None);
        for (wait, number) in waits.into_iter().zip(1..) {
            let query = provider_query(QueryPurpose::Poll, number, 0);
            progress.query = Some(query);
            let decision =
                decide_after_poll(PollOutcome::Still(None), query, &progress, &limits, at(0));
            assert_eq!(next_query(&decision), (wait, number + 1), "{first} {longest}");
        }
    }
}

#[test]
fn a_poll_ends_the_command_or_is_made_again_by_the_deadline() {
    let limits = AttemptLimits { poll: Some(poll(5, 60)), ..limits() };
    let query = provider_query(QueryPurpose::Poll, 1, 0);
    let progress = waiting(12, Some(query));
    let follow = |polled| decide_after_poll(polled, query, &progress, &limits, at(1));
    assert_eq!(name_of(&follow(PollOutcome::Completed(Success::default()))), "complete");
    assert_eq!(name_of(&follow(PollOutcome::Declined(failure()))), "declined");
    for wrong in [None, Some(failure())] {
        let decision = follow(PollOutcome::Still(wrong.clone()));
        assert_eq!(next_query(&decision), (12, 2), "never beyond the deadline");
        assert!(matches!(decision, Decision::Query(_, failure) if failure == wrong));
    }
}

#[test]
fn a_doubtful_call_is_looked_up_once_that_can_prove_something_and_never_from_within_a_lookup() {
    let (poll, found) =
        (provider_query(QueryPurpose::Poll, 2, 0), provider_query(QueryPurpose::Lookup, 2, 0));
    let table = [
        // progress, lookup, now, expected: time and number of the query, or the end
        (doubted(None), None, 1, None),
        (doubted(None), Some(lookup(false)), 1, Some((90, 1))),
        (doubted(None), Some(lookup(true)), 500, Some((500, 1))),
        (
            GenerationProgress { unknown_since: None, ..doubted(None) },
            Some(lookup(true)),
            7,
            Some((97, 1)),
        ),
        (doubted(Some(poll)), Some(lookup(true)), 1, Some((90, 3))),
        (doubted(Some(found)), Some(lookup(true)), 1, None),
    ];
    for (progress, lookup, now, expected) in table {
        let decision = decide_unknown(failure(), &progress, lookup, at(now));
        let found = matches!(decision, Decision::Query(..)).then(|| next_query(&decision));
        assert_eq!(found, expected, "{lookup:?} {progress:?}");
        assert_eq!(name_of(&decision), if expected.is_some() { "lookup" } else { "unresolved" });
    }
}

#[test]
fn what_a_lookup_finds_is_the_answer_of_the_call() {
    let success = || Success { provider_reference: Some("p1".to_owned()), ..Success::default() };
    let found = [
        // result of the lookup, in doubt, accepted, accepted and overdue
        (Outcome::Completed(success()), "complete", "complete", "complete"),
        (Outcome::Declined(failure()), "declined", "declined", "declined"),
        (Outcome::Waiting(success(), WaitingFor::Provider), "wait", "wait", "unresolved"),
        (Outcome::Rejected(failure()), "lookup", "poll", "lookup"),
        (Outcome::Transient(failure(), None), "lookup", "poll", "lookup"),
        (Outcome::Unknown(failure()), "lookup", "poll", "lookup"),
        (Outcome::Lookup(failure()), "lookup", "poll", "lookup"),
    ];
    let limits = AttemptLimits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
    let query = provider_query(QueryPurpose::Lookup, 1, 90);
    let next_poll = PlannedQuery { purpose: QueryPurpose::Poll, due: at(101), tried: 0 };
    for (outcome, doubtful, accepted, overdue) in found {
        for (deadline, expected) in
            [(None, doubtful), (Some(1_000), accepted), (Some(100), overdue)]
        {
            // A command whose deadline has not passed is looked up early only.
            let planned = deadline.filter(|deadline| *deadline > 100).map(|_| next_poll);
            let query = ProviderQuery { planned, ..query };
            let mut progress =
                GenerationProgress { deadline: deadline.map(at), ..doubted(Some(query)) };
            let looked_up = LookupOutcome::Found(outcome.clone());
            let decision =
                decide_after_lookup(looked_up, query, &mut progress, &limits, at(100), 0.5);
            assert_eq!(name_of(&decision), expected, "{outcome:?} {deadline:?}");
            assert!(progress.unknown, "{outcome:?} does not acquit");
        }
    }
}

#[test]
fn there_is_none_acquits_only_with_proof_long_enough_after_and_not_what_was_accepted() {
    let table = [
        // proves absence, seconds after the call, accepted, expected
        (true, 90, false, "5s"),
        (true, 89, false, "lookup"),
        (false, 90, false, "lookup"),
        (true, 90, true, "poll"),
    ];
    let next_poll = PlannedQuery { purpose: QueryPurpose::Poll, due: at(91), tried: 0 };
    for (proof, now, accepted, expected) in table {
        let planned = accepted.then_some(next_poll);
        let query = ProviderQuery { planned, ..provider_query(QueryPurpose::Lookup, 1, 0) };
        let limits = AttemptLimits { lookup: Some(lookup(proof)), ..limits() };
        let deadline = accepted.then(|| at(1_000));
        let mut progress = GenerationProgress { deadline, ..doubted(Some(query)) };
        let decision = decide_after_lookup(
            LookupOutcome::Absent(failure()),
            query,
            &mut progress,
            &limits,
            at(now),
            0.5,
        );
        assert_eq!(name_of(&decision), expected, "{proof} {now} {accepted}");
        let acquitted = expected == "5s";
        assert_eq!((progress.unknown, progress.unknown_since.is_none()), (!acquitted, acquitted));
    }
    let query = provider_query(QueryPurpose::Lookup, 1, 0);
    let limits = AttemptLimits { lookup: Some(lookup(true)), ..limits() };
    let mut last = GenerationProgress { attempt: 3, ..doubted(Some(query)) };
    let decision = decide_after_lookup(
        LookupOutcome::Absent(failure()),
        query,
        &mut last,
        &limits,
        at(90),
        0.5,
    );
    assert!(
        matches!(&decision, Decision::GiveUp(FailureKind::Unavailable, failure) if failure.code.as_deref() == Some("not_found"))
    );
    let mut undated = GenerationProgress { unknown_since: None, ..doubted(Some(query)) };
    let decision = decide_after_lookup(
        LookupOutcome::Absent(failure()),
        query,
        &mut undated,
        &limits,
        at(9_999),
        0.5,
    );
    assert_eq!(name_of(&decision), "lookup", "where nothing says since when, nothing is proved");
}

#[test]
fn a_lookup_without_an_answer_goes_on_along_the_schedule_and_then_to_a_person() {
    let limits = AttemptLimits { lookup: Some(lookup(true)), ..limits() };
    let mut progress = doubted(None);
    let mut query = provider_query(QueryPurpose::Lookup, 1, 90);
    for (due, number) in [(95, 2), (120, 3)] {
        progress.query = Some(query);
        let decision = decide_after_lookup(
            LookupOutcome::Unclear(failure()),
            query,
            &mut progress,
            &limits,
            at(90),
            0.5,
        );
        assert_eq!(next_query(&decision), (due, number));
        let Decision::Query(next, _) = decision else { unreachable!() };
        query = next;
    }
    progress.query = Some(query);
    let decision = decide_after_lookup(
        LookupOutcome::Unclear(failure()),
        query,
        &mut progress,
        &limits,
        at(90),
        0.5,
    );
    let Decision::GiveUp(FailureKind::Unresolved, given) = decision else { panic!("{decision:?}") };
    assert_eq!(given.code, failure().code);
    assert!(
        given.message.contains("3 times") && given.message.ends_with("message"),
        "{}",
        given.message
    );
}
