use serde_json::json;

use super::super::content_removal::ContentRemoval;
use super::super::erasure::{AGED_WARNING, ERASED_WARNING};
use super::super::record::*;
use super::tests::{FIRST, Told, completed, counts, failed, finished, id, retry, started};
use super::*;
use crate::event::{Event, Happening, Moment, Trace};
use crate::outcome::{Failure, Success};

/// A text in all contents of a command that its publisher or its provider controls.
const SECRET: &str = "jane.doe@example.com";

fn erase(told: &mut Told) -> Ruling {
    let person = Person { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
    told.rule(Fact::Erased(ContentErasure { person }))
}

fn settle(told: &mut Told, finished: u64) {
    told.rule(Fact::Settled(Settled { finished: id(finished) }));
}

fn opening_with_contents() -> Opening {
    let mut opening = started(Guard::Key(9)).opening.unwrap();
    opening.identity.reference = Some(format!("of {SECRET}"));
    opening.identity.metadata = [("mail".to_owned(), SECRET.to_owned())].into();
    opening.asked = Some(Asked { reply_to: SECRET.to_owned(), correlation_id: Some(SECRET.to_owned()) });
    opening
}

fn end_with_contents(happening: Happening) -> Finished {
    let mut finished = finished(FIRST, happening.clone());
    let moment = Moment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
    let trace = Trace { parent: Some(SECRET.to_owned()), state: None };
    finished.effects.event = Event::new(opening_with_contents().identity, moment, happening, trace);
    finished
}

fn success() -> Happening {
    let (result, reference) = (Some(json!({ "mail": SECRET })), Some(format!("pi {SECRET}")));
    Happening::Completed(Success {
        result,
        provider_reference: reference,
        warnings: vec![SECRET.to_owned()],
        ..Success::default()
    })
}

fn refusal() -> Happening {
    let failure = Failure { details: Some(json!({ "mail": SECRET })), ..Failure::new(SECRET, SECRET) };
    Happening::Failed(Kind::Declined, failure)
}

/// Returns a command that has ended, with contents in all its parts.
fn ended(happening: Happening) -> Told {
    let mut told = Told::default();
    told.rule(Fact::Started(Box::new(Started { opening: Some(opening_with_contents()), ..started(Guard::Key(9)) })));
    told.rule(Fact::Conflicted(Box::new(conflict())));
    assert!(counts(&told.rule(Fact::Finished(Box::new(end_with_contents(happening))))));
    settle(&mut told, 3);
    told
}

fn conflict() -> ConflictNote {
    let (conflict, event) = ("content".to_owned(), "order-1/conflict/d".to_owned());
    ConflictNote { at: Timestamp::UNIX_EPOCH, conflict, event, message: format!("not for {SECRET}") }
}

fn text(case: &Case) -> String {
    serde_json::to_string(case).unwrap()
}

#[test]
fn only_a_command_that_has_ended_for_good_and_has_said_so_is_erased() {
    let mut unknown = Told::default();
    assert_eq!(erase(&mut unknown), Ruling::Passed);

    let mut told = Told::default();
    told.start(Guard::Key(9));
    assert_eq!(erase(&mut told), Ruling::TooLate(TooLate::NotEnded), "called");
    told.end(retry());
    assert_eq!(erase(&mut told), Ruling::TooLate(TooLate::NotEnded), "waits");
    let step = Step::call(0, 2);
    told.rule(Fact::Finished(Box::new(finished(step, failed(Kind::Unavailable)))));
    assert_eq!(erase(&mut told), Ruling::TooLate(TooLate::DeadLetter));
    settle(&mut told, 5);
    assert_eq!(erase(&mut told), Ruling::TooLate(TooLate::DeadLetter), "settled");
    let by = By::Operator(Person { by: "ann".to_owned(), reason: None });
    let discarded = Finished { by, ..finished(Step::call(0, 3), failed(Kind::Discarded)) };
    told.rule(Fact::Finished(Box::new(discarded)));
    assert_eq!(erase(&mut told), Ruling::TooLate(TooLate::Unpublished));
    settle(&mut told, 9);
    assert!(counts(&erase(&mut told)));
    assert_eq!(erase(&mut told), Ruling::Passed, "a second time");

    let mut wished = Told::default();
    wished.rule(Fact::CancelWished(CancelWished { person: Person { by: "ann".to_owned(), reason: None } }));
    assert_eq!(erase(&mut wished), Ruling::TooLate(TooLate::NotEnded), "it may come yet");
}

#[test]
fn an_erased_command_holds_what_tells_a_copy_of_it_and_nothing_else() {
    for happening in [success(), refusal()] {
        let mut told = ended(happening);
        assert!(text(told.case()).contains(SECRET));
        let before = told.case().clone();
        assert!(counts(&erase(&mut told)));
        let case = told.case();
        assert!(!text(case).contains(SECRET), "{}", text(case));
        let (known, opening) = (before.opening.unwrap(), case.opening.clone().unwrap());
        assert_eq!((opening.content, opening.identity.id), (known.content, known.identity.id));
        assert_eq!((case.step, case.told, case.calls), (before.step, before.told, before.calls));
        assert_eq!((&case.key, &case.digest), (&before.key, &before.digest));
        let (event, was) = (&case.ending.as_ref().unwrap().event, &before.ending.as_ref().unwrap().event);
        assert_eq!((&event.id, event.data.state, event.data.r#final), (&was.id, was.data.state, was.data.r#final));
        assert_eq!(event.data.warnings, [ERASED_WARNING]);
        let person = Person { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
        assert_eq!(case.removal, Some(ContentRemoval::Erased { at: Timestamp::UNIX_EPOCH, person }));
    }
}

#[test]
fn a_duplicate_of_an_erased_command_is_known_and_calls_nobody() {
    let mut told = ended(success());
    erase(&mut told);
    let again = |content: &str| {
        let opening = Some(Opening { content: content.to_owned(), ..opening_with_contents() });
        Fact::Started(Box::new(Started { opening, ..started(Guard::Key(9)) }))
    };
    let Ruling::Ended(event) = told.rule(again("c")) else { panic!("it has ended") };
    assert_eq!((event.data.result, event.data.command.reference), (None, None));
    assert_eq!(told.rule(again("d")), Ruling::OtherContent);
    assert!(matches!(told.rule(Fact::Finished(Box::new(end_with_contents(success())))), Ruling::Ended(_)));
    assert!(matches!(told.rule(Fact::Finished(Box::new(end_with_contents(refusal())))), Ruling::Contradicts(_)));
    told.rule(Fact::Conflicted(Box::new(ConflictNote { event: "order-1/conflict/e".to_owned(), ..conflict() })));
    assert_eq!(told.case().conflicts.len(), 2);
    assert!(!text(told.case()).contains(SECRET), "{}", text(told.case()));
}

#[test]
fn a_command_that_comes_after_it_was_cancelled_and_erased_leaves_nothing() {
    let mut told = Told::default();
    let person = Person { by: "ann".to_owned(), reason: None };
    told.rule(Fact::CancelWished(CancelWished { person: person.clone() }));
    let end =
        Finished { by: By::Canceller(person), opening: None, call: None, ..finished(FIRST, failed(Kind::Cancelled)) };
    told.rule(Fact::Finished(Box::new(end)));
    settle(&mut told, 2);
    assert!(counts(&erase(&mut told)));
    let (opening, step) = (opening_with_contents(), FIRST);
    let reason = Reason::Busy;
    told.rule(Fact::Opened(Box::new(Opened {
        opening,
        step,
        fresh: true,
        recorded: false,
        reason,
        until: None,
        by: None,
    })));
    assert!(told.case().opening.is_some());
    assert!(!text(told.case()).contains(SECRET), "{}", text(told.case()));
}

#[test]
fn what_is_old_loses_its_contents_and_keeps_the_ids_by_which_others_know_it() {
    let told = ended(success());
    let aged = told.case().aged().unwrap();
    let identity = &aged.opening.as_ref().unwrap().identity;
    assert_eq!(identity.reference, opening_with_contents().identity.reference);
    assert!(aged.provider_reference.is_some() && identity.metadata.is_empty());
    let data = &aged.ending.as_ref().unwrap().event.data;
    assert_eq!((&data.result, data.warnings.as_slice()), (&None, &[AGED_WARNING.to_owned()][..]));
    assert_eq!(aged.aged(), None, "once");

    let mut open = Told::default();
    open.start(Guard::Key(9));
    assert_eq!(open.case().aged(), None);
    open.end(completed());
    assert_eq!(open.case().aged(), None, "its end is not published");
    settle(&mut open, 2);
    assert!(open.case().aged().is_some());
}
