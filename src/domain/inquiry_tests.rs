use super::*;
use crate::domain::retry::RetryPolicy;

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
    PollPolicy { interval: secs(interval), longest: secs(longest) }
}

/// No key, three attempts at 5 s and 30 s, an hour for what was accepted; neither poll nor lookup.
pub(super) fn limits() -> Limits {
    Limits {
        policy: RetryPolicy { schedule: vec![secs(5), secs(30)], jitter: false, ..RetryPolicy::default() },
        key_retention: None,
        not_before: None,
        expires_at: None,
        deadline: secs(3_600),
        poll: None,
        lookup: None,
    }
}

fn inquiry(purpose: Purpose, number: u32, due: i64) -> Inquiry {
    Inquiry::new(number, purpose, at(due))
}

/// A command whose only call ended unknown at second 0.
fn doubted(inquiry: Option<Inquiry>) -> Progress {
    let mut progress = Progress::fresh(at(0));
    progress.suspect(at(0));
    progress.inquiry = inquiry;
    progress
}

/// A command that was accepted and has to end by `deadline`.
fn waiting(deadline: i64, inquiry: Option<Inquiry>) -> Progress {
    Progress { deadline: Some(at(deadline)), inquiry, ..Progress::fresh(at(0)) }
}

pub(super) fn failure() -> Failure {
    Failure::new("code", "message")
}

fn taken(decision: Decision) -> Accepted {
    match decision {
        Decision::Wait(accepted) => *accepted,
        other => panic!("{other:?}"),
    }
}

/// A decision in a word, with the rung of a retry and the purpose of a question.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Complete(_) => "complete",
        Decision::Wait(..) => "wait",
        Decision::Inquire(inquiry, _) => inquiry.purpose.as_str(),
        Decision::Retry { rung, .. } => rung.name(),
        Decision::GiveUp(kind, _) => kind.as_str(),
    }
}

/// The next question, as seconds and number.
fn asked(decision: &Decision) -> (i64, u32) {
    match decision {
        Decision::Inquire(inquiry, _) => (inquiry.due.as_second() - 1_800_000_000, inquiry.number),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_is_asked_when_it_is_due_and_an_overdue_poll_becomes_a_last_lookup_or_a_persons() {
    use Purpose::{Lookup, Poll};
    let (neither, polled) = (limits(), Limits { poll: Some(poll(5, 60)), ..limits() });
    let (looked_up, both) =
        (Limits { lookup: Some(lookup(true)), ..limits() }, Limits { lookup: Some(lookup(true)), ..polled.clone() });
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
        // Nothing says until when: it is not polled for ever.
        (Poll, None, 100, 100, &both, "lookup"),
        (Poll, None, 100, 100, &neither, "unresolved: deadline"),
        // It has lost its lookup: nobody can be asked any more.
        (Lookup, None, 100, 41, &neither, "30s"),
        (Lookup, None, 100, 100, &neither, "unresolved: no_lookup"),
        (Lookup, None, 100, 41, &looked_up, "30s"),
        (Lookup, None, 100, 100, &looked_up, "lookup"),
        (Lookup, Some(600), 700, 700, &looked_up, "lookup"),
    ];
    for (purpose, deadline, due, now, limits, expected) in table {
        let question = inquiry(purpose, 3, due);
        let progress = Progress { deadline: deadline.map(at), ..doubted(Some(question)) };
        let found = match before_inquiry(question, &progress, limits, at(now)) {
            Asking::Now(asked) => {
                assert_eq!(asked, Inquiry { purpose: asked.purpose, ..question });
                asked.purpose.as_str().to_owned()
            }
            Asking::Park(rung) => rung.name().to_owned(),
            Asking::Instead(decision) => match *decision {
                Decision::GiveUp(kind, failure) => format!("{}: {}", kind.as_str(), failure.code.unwrap()),
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(found, expected, "{purpose:?} due {due} deadline {deadline:?} at {now}");
    }
}

#[test]
fn what_is_accepted_has_a_deadline_and_no_question_comes_after_it() {
    let accept = |progress: &Progress, limits: &Limits| {
        let Accepted { deadline, inquiry, .. } =
            taken(accepted(Success::default(), Party::Customer, progress, limits, at(10)));
        assert_eq!((inquiry.purpose, inquiry.tried), (Purpose::Poll, 0));
        let second = |time: Timestamp| time.as_second() - 1_800_000_000;
        (second(deadline), second(inquiry.due), inquiry.number)
    };
    let fresh = Progress::fresh(at(0));
    let found = doubted(Some(inquiry(Purpose::Lookup, 4, 5)));
    let table = [
        // progress, poll, (deadline, first question, its number)
        (fresh.clone(), None, (3_610, 3_610, 1)),
        (fresh.clone(), Some(poll(5, 60)), (3_610, 15, 1)),
        (fresh.clone(), Some(poll(6, 60)), (3_610, 25, 1)),
        (fresh, Some(poll(7_200, 7_200)), (3_610, 3_610, 1)),
        (found, Some(poll(5, 60)), (3_610, 15, 5)),
        (waiting(12, None), Some(poll(5, 60)), (12, 12, 1)),
    ];
    for (progress, poll, expected) in table {
        assert_eq!(accept(&progress, &Limits { poll, ..limits() }), expected, "{poll:?} {progress:?}");
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
        let limits = Limits { poll: Some(poll(first, longest)), ..limits() };
        let mut progress = waiting(1_000_000, None);
        for (wait, number) in waits.into_iter().zip(1..) {
            let question = inquiry(Purpose::Poll, number, 0);
            progress.inquiry = Some(question);
            let decision = after_poll(Polled::Still(None), question, &progress, &limits, at(0));
            assert_eq!(asked(&decision), (wait, number + 1), "{first} {longest}");
        }
    }
}

#[test]
fn a_poll_ends_the_command_or_is_made_again_by_the_deadline() {
    let limits = Limits { poll: Some(poll(5, 60)), ..limits() };
    let question = inquiry(Purpose::Poll, 1, 0);
    let progress = waiting(12, Some(question));
    let follow = |polled| after_poll(polled, question, &progress, &limits, at(1));
    assert_eq!(word(&follow(Polled::Completed(Success::default()))), "complete");
    assert_eq!(word(&follow(Polled::Declined(failure()))), "declined");
    for wrong in [None, Some(failure())] {
        let decision = follow(Polled::Still(wrong.clone()));
        assert_eq!(asked(&decision), (12, 2), "never beyond the deadline");
        assert!(matches!(decision, Decision::Inquire(_, failure) if failure == wrong));
    }
}

#[test]
fn a_doubtful_call_is_looked_up_once_that_can_prove_something_and_never_from_within_a_lookup() {
    let (poll, found) = (inquiry(Purpose::Poll, 2, 0), inquiry(Purpose::Lookup, 2, 0));
    let table = [
        // progress, lookup, now, expected: when and as which question, or the end
        (doubted(None), None, 1, None),
        (doubted(None), Some(lookup(false)), 1, Some((90, 1))),
        (doubted(None), Some(lookup(true)), 500, Some((500, 1))),
        (Progress { unknown_since: None, ..doubted(None) }, Some(lookup(true)), 7, Some((97, 1))),
        (doubted(Some(poll)), Some(lookup(true)), 1, Some((90, 3))),
        (doubted(Some(found)), Some(lookup(true)), 1, None),
    ];
    for (progress, lookup, now, expected) in table {
        let decision = doubtful(failure(), &progress, lookup, at(now));
        let found = matches!(decision, Decision::Inquire(..)).then(|| asked(&decision));
        assert_eq!(found, expected, "{lookup:?} {progress:?}");
        assert_eq!(word(&decision), if expected.is_some() { "lookup" } else { "unresolved" });
    }
}

#[test]
fn what_a_lookup_finds_is_the_answer_of_the_call() {
    let success = || Success { provider_reference: Some("p1".to_owned()), ..Success::default() };
    let found = [
        // what was found, in doubt, accepted, accepted and overdue
        (Outcome::Completed(success()), "complete", "complete", "complete"),
        (Outcome::Declined(failure()), "declined", "declined", "declined"),
        (Outcome::Waiting(success(), Party::Provider), "wait", "wait", "unresolved"),
        (Outcome::Rejected(failure()), "lookup", "poll", "lookup"),
        (Outcome::Transient(failure(), None), "lookup", "poll", "lookup"),
        (Outcome::Unknown(failure()), "lookup", "poll", "lookup"),
        (Outcome::Lookup(failure()), "lookup", "poll", "lookup"),
    ];
    let limits = Limits { lookup: Some(lookup(true)), poll: Some(poll(5, 60)), ..limits() };
    let question = inquiry(Purpose::Lookup, 1, 90);
    for (outcome, doubtful, accepted, overdue) in found {
        for (deadline, expected) in [(None, doubtful), (Some(1_000), accepted), (Some(100), overdue)] {
            let mut progress = Progress { deadline: deadline.map(at), ..doubted(Some(question)) };
            let looked_up = LookedUp::Found(outcome.clone());
            let decision = after_lookup(looked_up, question, &mut progress, &limits, at(100), 0.5);
            assert_eq!(word(&decision), expected, "{outcome:?} {deadline:?}");
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
    let question = inquiry(Purpose::Lookup, 1, 0);
    for (proof, now, accepted, expected) in table {
        let limits = Limits { lookup: Some(lookup(proof)), ..limits() };
        let deadline = accepted.then(|| at(1_000));
        let mut progress = Progress { deadline, ..doubted(Some(question)) };
        let decision = after_lookup(LookedUp::Absent(failure()), question, &mut progress, &limits, at(now), 0.5);
        assert_eq!(word(&decision), expected, "{proof} {now} {accepted}");
        let acquitted = expected == "5s";
        assert_eq!((progress.unknown, progress.unknown_since.is_none()), (!acquitted, acquitted));
    }
    let limits = Limits { lookup: Some(lookup(true)), ..limits() };
    let mut last = Progress { attempt: 3, ..doubted(Some(question)) };
    let decision = after_lookup(LookedUp::Absent(failure()), question, &mut last, &limits, at(90), 0.5);
    assert!(
        matches!(&decision, Decision::GiveUp(Kind::Unavailable, failure) if failure.code.as_deref() == Some("absent"))
    );
    let mut undated = Progress { unknown_since: None, ..doubted(Some(question)) };
    let decision = after_lookup(LookedUp::Absent(failure()), question, &mut undated, &limits, at(9_999), 0.5);
    assert_eq!(word(&decision), "lookup", "where nothing says since when, nothing is proved");
}

#[test]
fn a_lookup_without_an_answer_goes_on_along_the_schedule_and_then_to_a_person() {
    let limits = Limits { lookup: Some(lookup(true)), ..limits() };
    let mut progress = doubted(None);
    let mut question = inquiry(Purpose::Lookup, 1, 90);
    for (due, number) in [(95, 2), (120, 3)] {
        progress.inquiry = Some(question);
        let decision = after_lookup(LookedUp::Unclear(failure()), question, &mut progress, &limits, at(90), 0.5);
        assert_eq!(asked(&decision), (due, number));
        let Decision::Inquire(next, _) = decision else { unreachable!() };
        question = next;
    }
    progress.inquiry = Some(question);
    let decision = after_lookup(LookedUp::Unclear(failure()), question, &mut progress, &limits, at(90), 0.5);
    let Decision::GiveUp(Kind::Unresolved, told) = decision else { panic!("{decision:?}") };
    assert_eq!(told.code, failure().code);
    assert!(told.message.contains("3 times") && told.message.ends_with("message"), "{}", told.message);
}

/// A question that is asked early, ahead of another.
fn early(purpose: Purpose, planned: PlannedInquiry) -> Inquiry {
    Inquiry { planned: Some(planned), ..inquiry(purpose, 1, 10) }
}

fn planned(purpose: Purpose, due: i64, tried: u32) -> PlannedInquiry {
    PlannedInquiry { purpose, due: at(due), tried }
}

/// The questions that follow from an early one which is never answered, up to the planned one, as seconds.
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
        // the command, what is asked at second 10, what was planned, when it is asked again; the last time as planned
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
        // limits, how often it was asked, when the planned poll is due, when it is asked next
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
