use serde_json::json;

use super::super::effects::RecordedEffects;
use super::super::record::*;
use super::*;
use crate::command::{Envelope, Identity};
use crate::command_id::CommandId;
use crate::event::{Event, Happening, Moment, Trace};
use crate::outcome::{Failure, Success, Verdict};
use crate::progress::Attempted;

pub(super) const FIRST: Step = Step::call(0, 1);

#[test]
fn a_person_ends_a_refused_message_though_none_of_its_events_has_a_higher_number() {
    let refused = "order-1".parse::<CommandId>().unwrap().of_refused(&[b"{}"]);
    let finish = |kind, by| {
        let mut finished = finished(FIRST, Happening::Failed(kind, Failure::default()));
        let moment = Moment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let identity = Identity { id: refused.clone(), ..opening("c").identity };
        let happening = Happening::Failed(kind, Failure::default());
        finished.effects.event = Event::new(identity, moment, happening, Trace::default());
        Fact::Finished(Box::new(Finished { by, ..finished }))
    };
    let mut told = Told::default();
    assert!(matches!(told.rule(finish(Kind::Invalid, By::Holder)), Ruling::Counts(_)));
    let again = told.rule(finish(Kind::Invalid, By::Holder));
    assert!(matches!(again, Ruling::Unsettled(_)), "a copy of it tells the same: {again:?}");
    let person = By::Operator(Person { by: "ann".to_owned(), reason: None });
    assert!(matches!(told.rule(finish(Kind::Discarded, person)), Ruling::Counts(_)));
    assert_eq!(told.case().ending.as_ref().unwrap().kind(), Some(Kind::Discarded));
}

/// A command whose records are ruled on one after the other.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) slot: Option<Case>,
    number: u64,
}

impl Told {
    pub(super) fn rule(&mut self, fact: Fact) -> Ruling {
        self.number += 1;
        let record = Record { at: Timestamp::UNIX_EPOCH, command: "order-1".parse().unwrap(), fact };
        Case::rule(&mut self.slot, id(self.number), &record)
    }

    pub(super) fn start(&mut self, guard: Guard) -> Ruling {
        self.rule(Fact::Started(Box::new(started(guard))))
    }

    pub(super) fn end(&mut self, happening: Happening) -> Ruling {
        self.rule(Fact::Finished(Box::new(finished(FIRST, happening))))
    }

    pub(super) fn case(&self) -> &Case {
        self.slot.as_ref().unwrap()
    }
}

pub(super) fn id(number: u64) -> RecordId {
    RecordId { writer: uuid::Uuid::nil(), number }
}

pub(super) fn opening(content: &str) -> Opening {
    let body = json!({ "id": "order-1", "type": "payment", "provider": "stripe", "operation": "charge" });
    Opening {
        identity: Identity::glean(&body, b"", Envelope::default()),
        content: content.to_owned(),
        asked: None,
        publisher: None,
    }
}

pub(super) fn started(guard: Guard) -> Started {
    Started {
        step: FIRST,
        opening: Some(opening("c")),
        fresh: true,
        recorded: false,
        guard,
        redelivered: false,
        waited_out: None,
        unknown: false,
        key: None,
        digest: "d".to_owned(),
        token: None,
        money: None,
        first_sent: None,
    }
}

pub(super) fn finished(step: Step, happening: Happening) -> Finished {
    let moment = Moment { generation: step.generation, attempt: step.attempt, at: Timestamp::UNIX_EPOCH };
    let event = Event::new(opening("c").identity, moment, happening, Trace::default());
    let effects = RecordedEffects { event, told: true, carried: None };
    let call = Some(Attempted {
        attempt: step.attempt,
        at: Timestamp::UNIX_EPOCH,
        duration_ms: 12,
        outcome: Verdict::Rejected,
        code: None,
        http_status: None,
        message: None,
    });
    Finished {
        step,
        opening: Some(opening("c")),
        fresh: false,
        call,
        unknown: false,
        absent: false,
        kept: None,
        query: None,
        by: By::Holder,
        effects,
    }
}

pub(super) fn completed() -> Happening {
    Happening::Completed(Success::default())
}

pub(super) fn failed(kind: Kind) -> Happening {
    Happening::Failed(kind, Failure::new("code", "text"))
}

pub(super) fn retry() -> Happening {
    Happening::Pending { due: Timestamp::UNIX_EPOCH, failure: Failure::new("code", "text") }
}

pub(super) fn counts(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Counts(granted) if !granted.unknown)
}

#[test]
fn the_first_to_start_a_step_without_a_key_has_it_to_itself() {
    let mut told = Told::default();
    assert!(counts(&told.start(Guard::Claim(9))));
    assert_eq!(told.start(Guard::Claim(9)), Ruling::Claimed { claim: id(1), ttl_ms: 9 });
    let ruling = told.rule(Fact::TakenOver(TakenOver { claim: id(1) }));
    assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    assert_eq!(told.end(failed(Kind::Rejected)), Ruling::Unknown, "only an answer, or `unresolved`, counts now");
    assert!(matches!(told.end(failed(Kind::Unresolved)), Ruling::Counts(_)));
}

#[test]
fn under_a_key_a_copy_waits_and_a_message_whose_holder_died_does_not() {
    let mut told = Told::default();
    assert!(counts(&told.start(Guard::Key(9))));
    assert_eq!(told.start(Guard::Key(9)), Ruling::Claimed { claim: id(1), ttl_ms: 9 });
    for impatient in [
        Started { redelivered: true, ..started(Guard::Key(9)) },
        Started { waited_out: Some(id(3)), ..started(Guard::Key(9)) },
    ] {
        let ruling = told.rule(Fact::Started(Box::new(impatient)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    }
}

#[test]
fn a_call_that_was_released_can_be_started_again() {
    let mut told = Told::default();
    told.start(Guard::Claim(9));
    assert!(counts(&told.rule(Fact::Released(Released { started: id(1) }))));
    assert!(counts(&told.start(Guard::Claim(9))));
}

#[test]
fn what_was_decided_is_published_by_whoever_finds_it_until_it_is_settled() {
    let mut told = Told::default();
    told.start(Guard::Key(9));
    assert!(counts(&told.end(completed())));
    assert!(matches!(told.start(Guard::Key(9)), Ruling::Unsettled(decided) if decided.by == id(2)));
    told.rule(Fact::Settled(Settled { finished: id(2) }));
    assert!(matches!(told.start(Guard::Key(9)), Ruling::Ended(_)));
    let other = Started { opening: Some(opening("other")), ..started(Guard::Key(9)) };
    assert_eq!(told.rule(Fact::Started(Box::new(other))), Ruling::OtherContent);
}

#[test]
fn the_first_definite_end_stays_and_unresolved_gives_way_to_it() {
    // first record, second record, does the second count?
    let table = [
        (completed(), failed(Kind::Declined), false),
        (failed(Kind::Declined), completed(), false),
        (failed(Kind::Unresolved), failed(Kind::Unresolved), false),
        (failed(Kind::Unresolved), completed(), true),
        (failed(Kind::Rejected), completed(), true),
    ];
    for (first, second, expected) in table {
        let mut told = Told::default();
        told.start(Guard::Key(9));
        told.end(first.clone());
        let ruling = told.end(second.clone());
        assert_eq!(matches!(ruling, Ruling::Counts(_)), expected, "{first:?} {second:?} {ruling:?}");
    }
    let mut told = Told::default();
    told.start(Guard::Key(9));
    told.end(failed(Kind::Unresolved));
    assert_eq!(told.end(failed(Kind::Declined)), Ruling::Outrun { attempt: 2 }, "its event would repeat an id");
}

#[test]
fn an_answer_to_a_command_that_was_never_called_decides_nothing() {
    let noticed = || Fact::Finished(Box::new(Finished { call: None, ..finished(FIRST, completed()) }));
    let given_up = |kind| Fact::Finished(Box::new(Finished { call: None, ..finished(FIRST, failed(kind)) }));
    for kind in [Kind::Invalid, Kind::Rejected, Kind::Expired, Kind::Unavailable, Kind::Poison] {
        let mut told = Told::default();
        told.rule(given_up(kind));
        assert!(matches!(told.rule(noticed()), Ruling::Contradicts(_)), "{kind:?}");
        assert_eq!(told.case().state(), State::Failed);
    }
    // The command may have been called, and the outcome is unknown: that is `unresolved`.
    let mut told = Told::default();
    let unknown = Finished { call: None, unknown: true, ..finished(FIRST, failed(Kind::Unresolved)) };
    told.rule(Fact::Finished(Box::new(unknown)));
    assert!(counts_or_outrun(&told.rule(noticed())));
    // A command that waits for its first call may still be cancelled, even after a start was
    // released.
    let mut told = Told::default();
    told.start(Guard::Key(9));
    told.rule(Fact::Released(Released { started: id(1) }));
    assert_eq!(told.rule(noticed()), Ruling::Passed);
    told.start(Guard::Key(9));
    assert!(counts(&told.rule(noticed())));
    // A call that was answered with a refusal may have been answered by a proxy in between.
    let mut told = Told::default();
    told.start(Guard::Key(9));
    told.end(failed(Kind::Rejected));
    assert!(counts_or_outrun(&told.rule(noticed())));
}

fn counts_or_outrun(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Counts(_) | Ruling::Outrun { .. })
}

#[test]
fn a_conflict_is_remembered_once_and_changes_nothing_else() {
    let note = |event: &str| ConflictNote {
        at: Timestamp::UNIX_EPOCH,
        conflict: "content".to_owned(),
        event: event.to_owned(),
        message: "another content".to_owned(),
    };
    let mut told = Told::default();
    assert_eq!(told.rule(Fact::Conflicted(Box::new(note("a")))), Ruling::Passed, "of a command that is not known");
    told.start(Guard::Key(9));
    told.end(completed());
    let before = told.case().clone();
    assert!(counts(&told.rule(Fact::Conflicted(Box::new(note("a"))))));
    assert_eq!(told.rule(Fact::Conflicted(Box::new(note("a")))), Ruling::Passed);
    for number in 0..100 {
        told.rule(Fact::Conflicted(Box::new(note(&number.to_string()))));
    }
    assert_eq!((told.case().conflicts.len(), &told.case().conflicts[0]), (MAX_CONFLICTS, &note("a")));
    assert_eq!(Case { conflicts: Vec::new(), ..told.case().clone() }, before);
}

#[test]
fn two_answers_of_a_provider_that_differ_are_a_contradiction() {
    let mut told = Told::default();
    told.start(Guard::Key(9));
    told.end(completed());
    told.rule(Fact::Settled(Settled { finished: id(2) }));
    assert!(matches!(told.end(failed(Kind::Declined)), Ruling::Contradicts(_)));
    assert!(matches!(told.end(failed(Kind::Rejected)), Ruling::Ended(_)), "no answer about what was done");
}

#[test]
fn a_command_is_cancelled_only_while_no_call_may_have_acted() {
    let cancel = |attempt| {
        let by = By::Canceller(Person { by: "ann".to_owned(), reason: None });
        let step = Step { attempt, ..FIRST };
        Fact::Finished(Box::new(Finished { by, ..finished(step, failed(Kind::Cancelled)) }))
    };
    let opened = || {
        let opened = Opened {
            opening: opening("c"),
            step: FIRST,
            fresh: true,
            recorded: false,
            reason: Reason::Early,
            until: None,
            by: None,
        };
        Fact::Opened(Box::new(opened))
    };
    let mut told = Told::default();
    told.rule(opened());
    assert!(counts(&told.rule(cancel(1))));
    assert!(matches!(told.start(Guard::Claim(9)), Ruling::Unsettled(_)), "it is told by whoever holds the message");

    let mut told = Told::default();
    told.start(Guard::Claim(9));
    assert_eq!(told.rule(cancel(1)), Ruling::TooLate(TooLate::InFlight));
    told.rule(Fact::Finished(Box::new(Finished { step: FIRST, ..finished(Step { attempt: 2, ..FIRST }, retry()) })));
    assert_eq!(told.case().state(), State::Pending);
    assert!(counts(&told.rule(cancel(2))));

    let mut told = Told::default();
    let person = Person { by: "ann".to_owned(), reason: None };
    told.rule(Fact::CancelWished(CancelWished { person: person.clone() }));
    assert_eq!(told.start(Guard::Claim(9)), Ruling::Cancelled(person));
}

#[test]
fn two_replays_start_one_generation() {
    let replay = || {
        let person = Person { by: "ann".to_owned(), reason: None };
        let (opening, key) = (opening("c"), None);
        let replayed = Replayed {
            opening,
            from: 0,
            unknown: false,
            key,
            first_sent: None,
            digest: None,
            token: None,
            person,
            job: None,
        };
        Fact::Replayed(Box::new(replayed))
    };
    let mut told = Told::default();
    told.start(Guard::Key(9));
    assert_eq!(told.rule(replay()), Ruling::TooLate(TooLate::NotDead));
    told.end(failed(Kind::Unavailable));
    assert!(counts(&told.rule(replay())));
    assert_eq!(told.rule(replay()), Ruling::TooLate(TooLate::Replayed));
    assert_eq!((told.case().step.generation, told.case().state()), (1, State::Pending));
}

#[test]
fn what_the_ledger_has_forgotten_is_unknown_and_what_it_does_not_understand_is_left_alone() {
    let mut told = Told::default();
    let lost = Started { fresh: false, recorded: true, ..started(Guard::Claim(9)) };
    let ruling = told.rule(Fact::Started(Box::new(lost)));
    assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    Case::block(&mut told.slot, "split");
    assert_eq!(told.end(completed()), Ruling::Blocked("split".to_owned()));
}
