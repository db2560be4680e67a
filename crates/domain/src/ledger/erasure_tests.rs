use serde_json::json;

use super::super::content_removal::ContentRemoval;
use super::super::erasure::{AGED_WARNING, ERASED_WARNING};
use super::super::record::*;
use super::tests::{FIRST, RuledCommand, completed, counts, failed, finished, id, retry, started};
use super::*;
use crate::event::{Event, EventKind, EventMoment, TraceContext};
use crate::outcome::{Failure, Success};

/// A text in all contents of a command that its publisher or its provider controls.
const SECRET: &str = "jane.doe@example.com";

fn erase(ruled: &mut RuledCommand) -> Ruling {
    let person = Actor { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
    ruled.rule(RecordBody::Erased(ContentErasure { actor: person }))
}

fn settle(ruled: &mut RuledCommand, finished: u64) {
    ruled.rule(RecordBody::Settled(SettledRecord { finished: id(finished) }));
}

fn identity_with_contents() -> CommandIdentity {
    let mut identity = started(CallGuard::Key(9)).identity.unwrap();
    identity.command = identity.command.with_changes(|command| {
        command.reference = Some(format!("of {SECRET}"));
        command.metadata = [("mail".to_owned(), SECRET.to_owned())].into();
    });
    identity.reply_target =
        Some(ReplyTarget { reply_to: SECRET.to_owned(), correlation_id: Some(SECRET.to_owned()) });
    identity
}

fn end_with_contents(kind: EventKind) -> FinishedRecord {
    let mut finished = finished(FIRST, kind.clone());
    let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
    let trace = TraceContext { parent: Some(SECRET.to_owned()), state: None };
    finished.effects.event =
        Event::new(identity_with_contents().command, moment, kind, trace).into();
    finished
}

fn success() -> EventKind {
    let (result, reference) = (Some(json!({ "mail": SECRET })), Some(format!("pi {SECRET}")));
    EventKind::Completed(Success {
        result,
        provider_reference: reference,
        warnings: vec![SECRET.to_owned()],
        ..Success::default()
    })
}

fn refusal() -> EventKind {
    let failure =
        Failure { details: Some(json!({ "mail": SECRET })), ..Failure::new(SECRET, SECRET) };
    EventKind::Failed(FailureKind::Declined, failure)
}

/// Returns a command that has ended, with contents in all its parts.
fn ended(kind: EventKind) -> RuledCommand {
    let mut ruled = RuledCommand::default();
    ruled.rule(RecordBody::Started(Box::new(StartedRecord {
        identity: Some(identity_with_contents()),
        ..started(CallGuard::Key(9))
    })));
    ruled.rule(RecordBody::Conflicted(Box::new(conflict())));
    assert!(counts(&ruled.rule(RecordBody::Finished(Box::new(end_with_contents(kind))))));
    settle(&mut ruled, 3);
    ruled
}

fn conflict() -> ConflictNote {
    let (conflict, event) = ("content".to_owned(), "order-1/conflict/d".to_owned());
    ConflictNote {
        at: Timestamp::UNIX_EPOCH,
        conflict,
        event,
        message: format!("not for {SECRET}"),
    }
}

fn text(state: &CommandState) -> String {
    serde_json::to_string(state).unwrap()
}

#[test]
fn only_a_command_that_has_ended_for_good_and_has_said_so_is_erased() {
    let mut unknown = RuledCommand::default();
    assert_eq!(erase(&mut unknown), Ruling::Superseded);

    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    assert_eq!(erase(&mut ruled), Ruling::TooLate(TooLate::NotEnded), "called");
    ruled.end(retry());
    assert_eq!(erase(&mut ruled), Ruling::TooLate(TooLate::NotEnded), "waits");
    let step = Step::call(0, 2);
    ruled.rule(RecordBody::Finished(Box::new(finished(step, failed(FailureKind::Unavailable)))));
    assert_eq!(erase(&mut ruled), Ruling::TooLate(TooLate::DeadLetter));
    settle(&mut ruled, 5);
    assert_eq!(erase(&mut ruled), Ruling::TooLate(TooLate::DeadLetter), "settled");
    let by = DecidedBy::Operator(Actor { by: "ann".to_owned(), reason: None });
    let discarded = FinishedRecord {
        decided_by: by,
        ..finished(Step::call(0, 3), failed(FailureKind::Discarded))
    };
    ruled.rule(RecordBody::Finished(Box::new(discarded)));
    assert_eq!(erase(&mut ruled), Ruling::TooLate(TooLate::Unpublished));
    settle(&mut ruled, 9);
    assert!(counts(&erase(&mut ruled)));
    assert_eq!(erase(&mut ruled), Ruling::Superseded, "a second time");

    let mut cancelled = RuledCommand::default();
    cancelled.rule(RecordBody::CancelRequested(CancelRequested {
        actor: Actor { by: "ann".to_owned(), reason: None },
    }));
    assert_eq!(erase(&mut cancelled), Ruling::TooLate(TooLate::NotEnded), "it may come yet");
}

#[test]
fn an_erased_command_holds_what_identifies_a_copy_of_it_and_nothing_else() {
    for kind in [success(), refusal()] {
        let mut ruled = ended(kind);
        assert!(text(ruled.state()).contains(SECRET));
        let before = ruled.state().clone();
        assert!(counts(&erase(&mut ruled)));
        let state = ruled.state();
        assert!(!text(state).contains(SECRET), "{}", text(state));
        let (known, identity) = (before.identity.unwrap(), state.identity.clone().unwrap());
        assert_eq!(
            (&identity.content_digest, &identity.command.id),
            (&known.content_digest, &known.command.id)
        );
        assert_eq!(
            (state.step, state.published_sequence, state.calls),
            (before.step, before.published_sequence, before.calls)
        );
        assert_eq!((&state.key, &state.digest), (&before.key, &before.digest));
        let (event, was) =
            (&state.ending.as_ref().unwrap().event, &before.ending.as_ref().unwrap().event);
        assert_eq!(
            (&event.id, event.data.state, event.data.r#final),
            (&was.id, was.data.state, was.data.r#final)
        );
        assert_eq!(event.data.warnings, [ERASED_WARNING]);
        let person = Actor { by: "ann".to_owned(), reason: Some("request 4711".to_owned()) };
        assert_eq!(
            state.removal,
            Some(ContentRemoval::Erased { at: Timestamp::UNIX_EPOCH, actor: person })
        );
    }
}

#[test]
fn a_duplicate_of_an_erased_command_is_known_and_calls_nobody() {
    let mut ruled = ended(success());
    erase(&mut ruled);
    let again = |content: &str| {
        let command_identity = Some(CommandIdentity {
            content_digest: content.to_owned(),
            ..identity_with_contents()
        });
        RecordBody::Started(Box::new(StartedRecord {
            identity: command_identity,
            ..started(CallGuard::Key(9))
        }))
    };
    let Ruling::Ended(event) = ruled.rule(again("c")) else { panic!("it has ended") };
    assert_eq!((&event.data.result, &event.data.command.reference), (&None, &None));
    assert_eq!(ruled.rule(again("d")), Ruling::ContentConflict);
    assert!(matches!(
        ruled.rule(RecordBody::Finished(Box::new(end_with_contents(success())))),
        Ruling::Ended(_)
    ));
    assert!(matches!(
        ruled.rule(RecordBody::Finished(Box::new(end_with_contents(refusal())))),
        Ruling::Contradicts(_)
    ));
    ruled.rule(RecordBody::Conflicted(Box::new(ConflictNote {
        event: "order-1/conflict/e".to_owned(),
        ..conflict()
    })));
    assert_eq!(ruled.state().conflicts.len(), 2);
    assert!(!text(ruled.state()).contains(SECRET), "{}", text(ruled.state()));
}

#[test]
fn a_command_that_comes_after_it_was_cancelled_and_erased_leaves_nothing() {
    let mut ruled = RuledCommand::default();
    let person = Actor { by: "ann".to_owned(), reason: None };
    ruled.rule(RecordBody::CancelRequested(CancelRequested { actor: person.clone() }));
    let end = FinishedRecord {
        decided_by: DecidedBy::Canceller(person),
        identity: None,
        call: None,
        ..finished(FIRST, failed(FailureKind::Cancelled))
    };
    ruled.rule(RecordBody::Finished(Box::new(end)));
    settle(&mut ruled, 2);
    assert!(counts(&erase(&mut ruled)));
    let (command_identity, step) = (identity_with_contents(), FIRST);
    let reason = WaitReason::Busy;
    ruled.rule(RecordBody::Opened(Box::new(OpenedRecord {
        identity: command_identity,
        step,
        fresh: true,
        recorded: false,
        reason,
        until: None,
        submitted_by: None,
    })));
    assert!(ruled.state().identity.is_some());
    assert!(!text(ruled.state()).contains(SECRET), "{}", text(ruled.state()));
}

#[test]
fn what_is_old_loses_its_contents_and_keeps_the_ids_by_which_others_know_it() {
    let ruled = ended(success());
    let aged = ruled.state().without_contents().unwrap();
    let identity = &aged.identity.as_ref().unwrap().command;
    assert_eq!(identity.reference, identity_with_contents().command.reference);
    assert!(aged.provider_reference.is_some() && identity.metadata.is_empty());
    let data = &aged.ending.as_ref().unwrap().event.data;
    assert_eq!((&data.result, data.warnings.as_slice()), (&None, &[AGED_WARNING.to_owned()][..]));
    assert_eq!(aged.without_contents(), None, "once");

    let mut open = RuledCommand::default();
    open.start(CallGuard::Key(9));
    assert_eq!(open.state().without_contents(), None);
    open.end(completed());
    assert_eq!(open.state().without_contents(), None, "its end is not published");
    settle(&mut open, 2);
    assert!(open.state().without_contents().is_some());
}
