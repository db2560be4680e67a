use super::*;
use crate::domain::outcome::{Party, RetryAfter};
use crate::domain::progress::Attempted;

const HOUR: u64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn limits(key_retention: Option<u64>) -> Limits {
    Limits {
        policy: RetryPolicy { jitter: false, ..RetryPolicy::default() },
        key_retention: key_retention.map(Duration::from_secs),
        not_before: None,
        expires_at: None,
        deadline: Duration::from_secs(HOUR),
        poll: None,
        lookup: None,
    }
}

fn progress(attempt: u32, unknown: bool) -> Progress {
    let mut progress = Progress::fresh(at(0));
    progress.attempt = attempt;
    progress.unknown = unknown;
    progress.first_sent = Some(at(0));
    progress
}

fn failure() -> Failure {
    Failure::new("code", "message")
}

/// The decision in one word, with the rung of a retry.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Complete(_) => "complete",
        Decision::Wait(..) => "wait",
        Decision::Inquire(..) => "inquire",
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
        (Outcome::Waiting(Success::default(), Party::Customer), 1, true, key, "wait"),
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
        let decision = after_call(outcome.clone(), &progress(attempt, unknown), &limits(retention), at(1), 0.5);
        assert_eq!(word(&decision), expected, "{outcome:?} attempt {attempt} unknown {unknown} key {retention:?}");
    }
}

#[test]
fn no_attempt_is_scheduled_after_expiry_give_up_or_the_keys_retention() {
    let transient = || Outcome::Transient(failure(), None);
    let expiring = Limits { expires_at: Some(at(5)), ..limits(None) };
    assert_eq!(word(&after_call(transient(), &progress(1, false), &expiring, at(1), 0.5)), "expired");
    assert_eq!(word(&after_call(transient(), &progress(1, true), &expiring, at(1), 0.5)), "unresolved");
    assert_eq!(word(&after_call(transient(), &progress(1, false), &expiring, at(0), 0.5)), "5s");

    let mut short = limits(None);
    short.policy.give_up_after = Duration::from_secs(20);
    assert_eq!(word(&after_call(transient(), &progress(2, false), &short, at(1), 0.5)), "unavailable");

    let two_hours = limits(Some(2 * HOUR));
    assert_eq!(word(&after_call(Outcome::Unknown(failure()), &progress(5, true), &two_hours, at(1), 0.5)), "30m");
    assert_eq!(
        word(&after_call(Outcome::Unknown(failure()), &progress(5, true), &two_hours, at(1_801), 0.5)),
        "unresolved"
    );
}

#[test]
fn calls_are_admitted_only_when_safe_and_in_time() {
    let admit = |progress: &Progress, limits: &Limits, second| match before_call(progress, limits, at(second)) {
        Admission::Call => "call",
        Admission::Park(rung) => rung.name(),
        Admission::Instead(decision) => match *decision {
            Decision::GiveUp(kind, _) => kind.as_str(),
            other => panic!("{other:?}"),
        },
    };
    let expiring = Limits { expires_at: Some(at(10)), ..limits(Some(24 * HOUR)) };
    let scheduled = Limits { not_before: Some(at(100)), ..limits(None) };
    let table = [
        (progress(1, false), limits(None), 1, "call"),
        (progress(1, true), limits(None), 1, "unresolved"),
        (progress(2, true), limits(Some(24 * HOUR)), 60, "call"),
        (progress(2, true), limits(Some(24 * HOUR)), 23 * 3600 + 1, "unresolved"),
        (Progress { first_sent: None, ..progress(1, true) }, limits(Some(24 * HOUR)), 1, "call"),
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
        assert_eq!(admit(&progress, &limits, second), expected, "{progress:?} {limits:?} at {second}");
    }
}

#[test]
fn an_unknown_outcome_sticks() {
    let mut progress = progress(1, false);
    mark(&mut progress, &Outcome::Unknown(failure()), at(0));
    assert!(progress.unknown);
    mark(&mut progress, &Outcome::Transient(failure(), None), at(0));
    assert!(progress.unknown);
}

#[test]
fn what_was_called_once_is_never_its_publishers_mistake() {
    let called = |unknown| {
        let mut progress = progress(2, unknown);
        let outcome = Outcome::Transient(failure(), None);
        progress.record(Attempted::new(1, at(0), Duration::ZERO, &outcome));
        progress
    };
    let table = [
        (progress(1, false), Kind::Invalid),
        (progress(1, true), Kind::Unresolved),
        (called(false), Kind::Unavailable),
        (called(true), Kind::Unresolved),
    ];
    for (progress, kind) in table {
        assert_eq!(unfit(&progress), kind, "{progress:?}");
    }
}

#[test]
fn every_terminal_kind_but_the_providers_and_peoples_decisions_leaves_a_dead_letter() {
    let without: Vec<_> = Kind::ALL.into_iter().filter(|kind| !kind.dead_letters()).collect();
    assert_eq!(without, [Kind::Declined, Kind::Cancelled, Kind::Discarded]);
}

#[test]
fn completed_is_the_only_state_nothing_follows() {
    for state in State::ALL {
        assert_eq!(state.next().is_empty(), state == State::Completed, "{state:?}");
    }
}
