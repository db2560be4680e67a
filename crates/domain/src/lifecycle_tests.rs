use super::*;
use crate::outcome::{RetryAfter, WaitingFor};
use crate::progress::AttemptSummary;

const HOUR: u64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn limits(key_retention: Option<u64>) -> AttemptLimits {
    AttemptLimits {
        policy: RetryPolicy { jitter: false, ..RetryPolicy::default() },
        key_retention: key_retention.map(Duration::from_secs),
        not_before: None,
        expires_at: None,
        deadline: Duration::from_secs(HOUR),
        poll: None,
        lookup: None,
    }
}

fn progress(attempt: u32, unknown: bool) -> GenerationProgress {
    let mut progress = GenerationProgress::first_generation(at(0));
    progress.attempt = attempt;
    progress.unknown = unknown;
    progress.first_sent = Some(at(0));
    progress
}

fn failure() -> Failure {
    Failure::new("code", "message")
}

/// Names a decision, with the rung of a retry.
fn name_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Complete(_) => "complete",
        Decision::Wait(..) => "wait",
        Decision::Query(..) => "query",
        Decision::Retry { rung, .. } => rung.name(),
        Decision::GiveUp(kind, _) => kind.as_str(),
    }
}

#[test]
fn outcomes_lead_where_the_design_says() {
    let key = Some(24 * HOUR);
    let transient = Outcome::Transient(failure(), None);
    let hinted = Outcome::Transient(failure(), Some(RetryAfter::Seconds(100)));
    let table = [
        // outcome, attempt, unknown before, key retention, expected
        (Outcome::Completed(Success::default()), 1, false, None, "complete"),
        (Outcome::Completed(Success::default()), 3, true, key, "complete"),
        (Outcome::Waiting(Success::default(), WaitingFor::Customer), 1, true, key, "wait"),
        (Outcome::Declined(failure()), 1, false, None, "declined"),
        (Outcome::Declined(failure()), 2, true, key, "declined"),
        (Outcome::Rejected(failure()), 1, false, key, "rejected"),
        (Outcome::Rejected(failure()), 2, true, key, "unresolved"),
        (transient.clone(), 1, false, None, "5s"),
        (transient.clone(), 2, false, key, "30s"),
        (transient.clone(), 3, true, key, "2m"),
        (hinted, 1, false, None, "2m"),
        (transient.clone(), 8, false, None, "unavailable"),
        (transient, 8, true, key, "unresolved"),
        (Outcome::Unknown(failure()), 1, true, None, "unresolved"),
        (Outcome::Unknown(failure()), 1, true, key, "5s"),
        (Outcome::Unknown(failure()), 8, true, key, "unresolved"),
    ];
    for (outcome, attempt, unknown, retention, expected) in table {
        let decision = decide_after_call(
            outcome.clone(),
            &progress(attempt, unknown),
            &limits(retention),
            at(1),
            0.5,
        );
        assert_eq!(
            name_of(&decision),
            expected,
            "{outcome:?} attempt {attempt} unknown {unknown} key {retention:?}"
        );
    }
}

/// Limits with a lookup, whether or not "not found" proves anything.
fn looked_up(key_retention: Option<u64>) -> AttemptLimits {
    let lookup = LookupPolicy {
        after: Duration::from_secs(90),
        proves_absence: false,
        needs_reference: false,
    };
    AttemptLimits { lookup: Some(lookup), ..limits(key_retention) }
}

#[test]
fn where_a_lookup_is_possible_no_command_is_left_to_a_person_without_one() {
    let key = Some(24 * HOUR);
    let transient = || Outcome::Transient(failure(), None);
    let expiring = AttemptLimits { expires_at: Some(at(2)), ..looked_up(key) };
    let table = [
        // outcome, attempt, unknown before, limits, expected
        (Outcome::Unknown(failure()), 1, false, looked_up(None), "query"),
        (Outcome::Unknown(failure()), 1, false, looked_up(key), "5s"),
        (Outcome::Unknown(failure()), 8, false, looked_up(key), "query"),
        (Outcome::Rejected(failure()), 2, true, looked_up(key), "query"),
        (Outcome::Rejected(failure()), 2, false, looked_up(key), "rejected"),
        (transient(), 8, true, looked_up(key), "query"),
        (transient(), 8, false, looked_up(key), "unavailable"),
        (transient(), 2, true, expiring, "query"),
        (Outcome::Declined(failure()), 2, true, looked_up(key), "declined"),
        // A rule requires a lookup, whatever the key would allow.
        (Outcome::Lookup(failure()), 1, false, looked_up(key), "query"),
        (Outcome::Lookup(failure()), 1, false, looked_up(None), "query"),
        (Outcome::Lookup(failure()), 1, false, limits(key), "5s"),
        (Outcome::Lookup(failure()), 1, false, limits(None), "unresolved"),
    ];
    for (outcome, attempt, unknown, limits, expected) in table {
        let mut progress = progress(attempt, unknown);
        note_outcome(&mut progress, &outcome, at(1));
        let decision = decide_after_call(outcome.clone(), &progress, &limits, at(1), 0.5);
        assert_eq!(
            name_of(&decision),
            expected,
            "{outcome:?} attempt {attempt} unknown {unknown} {limits:?}"
        );
    }
}

#[test]
fn a_call_that_may_not_be_made_any_more_is_looked_up_instead() {
    let decided =
        |progress: &GenerationProgress, limits: &AttemptLimits, second| match decide_before_call(
            progress,
            limits,
            at(second),
        ) {
            Admission::Instead(decision) => name_of(&decision),
            other => panic!("{other:?}"),
        };
    let expiring = |limits| AttemptLimits { expires_at: Some(at(10)), ..limits };
    let (key, too_late) = (Some(24 * HOUR), 24 * 3600 + 1);
    assert_eq!(decided(&progress(1, true), &looked_up(None), 1), "query");
    assert_eq!(decided(&progress(2, true), &looked_up(key), 23 * 3600 + 1), "query");
    assert_eq!(decided(&progress(2, true), &expiring(looked_up(key)), 11), "query");
    assert_eq!(decided(&progress(2, false), &expiring(looked_up(key)), 11), "expired");
    assert_eq!(decided(&progress(2, false), &looked_up(None), too_late), "unavailable");
}

#[test]
fn what_is_accepted_and_cannot_be_called_any_more_is_not_claimed_to_have_failed() {
    let accepted = GenerationProgress { deadline: Some(at(100)), ..progress(1, false) };
    assert_eq!(misfit_kind(&accepted), FailureKind::Unresolved);
}

#[test]
fn no_attempt_is_scheduled_after_expiry_give_up_or_the_keys_retention() {
    let transient = || Outcome::Transient(failure(), None);
    let expiring = AttemptLimits { expires_at: Some(at(5)), ..limits(None) };
    assert_eq!(
        name_of(&decide_after_call(transient(), &progress(1, false), &expiring, at(1), 0.5)),
        "expired"
    );
    assert_eq!(
        name_of(&decide_after_call(transient(), &progress(1, true), &expiring, at(1), 0.5)),
        "unresolved"
    );
    assert_eq!(
        name_of(&decide_after_call(transient(), &progress(1, false), &expiring, at(0), 0.5)),
        "5s"
    );

    let mut short = limits(None);
    short.policy.give_up_after = Duration::from_secs(20);
    assert_eq!(
        name_of(&decide_after_call(transient(), &progress(2, false), &short, at(1), 0.5)),
        "unavailable"
    );

    let two_hours = limits(Some(2 * HOUR));
    assert_eq!(
        name_of(&decide_after_call(
            Outcome::Unknown(failure()),
            &progress(5, true),
            &two_hours,
            at(1),
            0.5
        )),
        "30m"
    );
    assert_eq!(
        name_of(&decide_after_call(
            Outcome::Unknown(failure()),
            &progress(5, true),
            &two_hours,
            at(1_801),
            0.5
        )),
        "unresolved"
    );
}

#[test]
fn calls_are_admitted_only_when_safe_and_in_time() {
    let admit =
        |progress: &GenerationProgress, limits: &AttemptLimits, second| match decide_before_call(
            progress,
            limits,
            at(second),
        ) {
            Admission::Call => "call",
            Admission::Park(rung) => rung.name(),
            Admission::Instead(decision) => match *decision {
                Decision::GiveUp(kind, _) => kind.as_str(),
                other => panic!("{other:?}"),
            },
        };
    let expiring = AttemptLimits { expires_at: Some(at(10)), ..limits(Some(24 * HOUR)) };
    let scheduled = AttemptLimits { not_before: Some(at(100)), ..limits(None) };
    let table = [
        (progress(1, false), limits(None), 1, "call"),
        (progress(1, true), limits(None), 1, "unresolved"),
        (progress(2, true), limits(Some(24 * HOUR)), 60, "call"),
        (progress(2, true), limits(Some(24 * HOUR)), 23 * 3600 + 1, "unresolved"),
        (
            GenerationProgress { first_sent: None, ..progress(1, true) },
            limits(Some(24 * HOUR)),
            1,
            "call",
        ),
        (progress(2, false), limits(None), 24 * 3600 + 1, "unavailable"),
        (progress(1, false), limits(None), 24 * 3600 + 1, "call"),
        (progress(1, false), expiring.clone(), 10, "call"),
        (progress(1, false), expiring.clone(), 11, "expired"),
        (progress(2, true), expiring, 11, "unresolved"),
        (progress(1, false), scheduled.clone(), 1, "1m"),
        (progress(1, false), scheduled.clone(), 99, "1s"),
        (progress(1, false), scheduled, 100, "call"),
    ];
    for (progress, limits, second, expected) in table {
        assert_eq!(
            admit(&progress, &limits, second),
            expected,
            "{progress:?} {limits:?} at {second}"
        );
    }
}

#[test]
fn an_unknown_outcome_sticks() {
    let mut progress = progress(1, false);
    note_outcome(&mut progress, &Outcome::Unknown(failure()), at(0));
    assert!(progress.unknown);
    note_outcome(&mut progress, &Outcome::Transient(failure(), None), at(5));
    assert!(progress.unknown);
    assert_eq!(progress.unknown_since, Some(at(0)));
    note_outcome(&mut progress, &Outcome::Lookup(failure()), at(9));
    assert_eq!(progress.unknown_since, Some(at(9)), "the latest call counts");
}

#[test]
fn the_providers_own_id_is_kept_from_whichever_answer_contains_it() {
    let id = |text: &str| Some(text.to_owned());
    let success = Success { provider_reference: id("a"), ..Success::default() };
    let refusal = Failure { provider_reference: id("b"), ..failure() };
    let mut progress = progress(1, false);
    for (outcome, expected) in [
        (Outcome::Transient(failure(), None), None),
        (Outcome::Waiting(success, WaitingFor::Provider), id("a")),
        (Outcome::Unknown(failure()), id("a")),
        (Outcome::Rejected(refusal), id("b")),
    ] {
        note_outcome(&mut progress, &outcome, at(0));
        assert_eq!(progress.provider_reference, expected, "{outcome:?}");
    }
}

#[test]
fn what_was_called_once_is_never_its_publishers_mistake() {
    let called = |unknown| {
        let mut progress = progress(2, unknown);
        let outcome = Outcome::Transient(failure(), None);
        progress.record_attempt(AttemptSummary::new(1, at(0), Duration::ZERO, &outcome));
        progress
    };
    let table = [
        (progress(1, false), FailureKind::Invalid),
        (progress(1, true), FailureKind::Unresolved),
        (called(false), FailureKind::Unavailable),
        (called(true), FailureKind::Unresolved),
    ];
    for (progress, kind) in table {
        assert_eq!(misfit_kind(&progress), kind, "{progress:?}");
    }
}

#[test]
fn every_terminal_kind_but_the_providers_and_peoples_decisions_leaves_a_dead_letter() {
    let without: Vec<_> =
        FailureKind::ALL.into_iter().filter(|kind| !kind.dead_letters()).collect();
    assert_eq!(without, [FailureKind::Declined, FailureKind::Cancelled, FailureKind::Discarded]);
}

#[test]
fn completed_is_the_only_state_nothing_follows() {
    for state in LifecycleState::ALL {
        assert_eq!(state.next().is_empty(), state == LifecycleState::Completed, "{state:?}");
    }
}
