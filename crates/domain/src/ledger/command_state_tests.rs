use serde_json::json;

use super::super::effects::RecordedEffects;
use super::super::record::*;
use super::*;
use crate::command::{CommandEnvelope, EchoedIdentity};
use crate::command_id::CommandId;
use crate::event::{Event, EventKind, EventMoment, TraceContext};
use crate::outcome::{Failure, OutcomeName, Success};
use crate::progress::AttemptSummary;

pub(super) const FIRST: Step = Step::call(0, 1);

#[test]
fn a_person_ends_a_refused_message_though_none_of_its_events_has_a_higher_number() {
    let refused = "order-1".parse::<CommandId>().unwrap().for_refused(&[b"{}"]);
    let finish = |kind, by| {
        let mut finished = finished(FIRST, EventKind::Failed(kind, Failure::default()));
        let moment = EventMoment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let refuse = |identity: &mut EchoedIdentity| identity.id = refused.clone();
        let identity = sample_identity("c").command.with_changes(refuse);
        let event_kind = EventKind::Failed(kind, Failure::default());
        finished.effects.event =
            Event::new(identity, moment, event_kind, TraceContext::default()).into();
        RecordBody::Finished(Box::new(FinishedRecord { decided_by: by, ..finished }))
    };
    let mut ruled = RuledCommand::default();
    assert!(matches!(
        ruled.rule(finish(FailureKind::Invalid, DecidedBy::Holder)),
        Ruling::Counts(_)
    ));
    let again = ruled.rule(finish(FailureKind::Invalid, DecidedBy::Holder));
    assert!(
        matches!(again, Ruling::Unsettled(_)),
        "a copy of it publishes the same event: {again:?}"
    );
    let person = DecidedBy::Operator(Actor { by: "ann".to_owned(), reason: None });
    assert!(matches!(ruled.rule(finish(FailureKind::Discarded, person)), Ruling::Counts(_)));
    assert_eq!(ruled.state().ending.as_ref().unwrap().kind(), Some(FailureKind::Discarded));
}

/// A command whose records are ruled on one after the other.
#[derive(Clone, Default)]
pub(super) struct RuledCommand {
    pub(super) slot: Option<CommandState>,
    number: u64,
}

impl RuledCommand {
    pub(super) fn rule(&mut self, body: RecordBody) -> Ruling {
        self.number += 1;
        let record =
            Record { at: Timestamp::UNIX_EPOCH, command: "order-1".parse().unwrap(), fact: body };
        CommandState::apply_record(&mut self.slot, id(self.number), &record)
    }

    pub(super) fn start(&mut self, guard: CallGuard) -> Ruling {
        self.rule(RecordBody::Started(Box::new(started(guard))))
    }

    pub(super) fn end(&mut self, kind: EventKind) -> Ruling {
        self.rule(RecordBody::Finished(Box::new(finished(FIRST, kind))))
    }

    pub(super) fn state(&self) -> &CommandState {
        self.slot.as_ref().unwrap()
    }
}

pub(super) fn id(number: u64) -> RecordId {
    RecordId { writer: uuid::Uuid::nil(), number }
}

pub(super) fn sample_identity(content: &str) -> CommandIdentity {
    let body =
        json!({ "id": "order-1", "type": "payment", "provider": "stripe", "operation": "charge" });
    CommandIdentity {
        command: EchoedIdentity::glean_identity(&body, b"", CommandEnvelope::default()).into(),
        content_digest: content.to_owned(),
        reply_target: None,
        publisher: None,
    }
}

pub(super) fn started(guard: CallGuard) -> StartedRecord {
    StartedRecord {
        step: FIRST,
        identity: Some(sample_identity("c")),
        fresh: true,
        recorded: false,
        guard,
        redelivered: false,
        expired_claim: None,
        unknown: false,
        key: None,
        request_digest: "d".to_owned(),
        token: String::new(),
        money: None,
        first_sent: None,
    }
}

pub(super) fn finished(step: Step, kind: EventKind) -> FinishedRecord {
    let moment = EventMoment {
        generation: step.generation,
        attempt: step.attempt,
        at: Timestamp::UNIX_EPOCH,
    };
    let event = Event::new(sample_identity("c").command, moment, kind, TraceContext::default());
    let effects = RecordedEffects { event: event.into(), publish_event: true, message: None };
    let call = Some(AttemptSummary {
        attempt: step.attempt,
        at: Timestamp::UNIX_EPOCH,
        duration_ms: 12,
        outcome: OutcomeName::Rejected,
        code: None,
        http_status: None,
        message: None,
    });
    FinishedRecord {
        step,
        identity: Some(sample_identity("c")),
        fresh: false,
        call,
        unknown: false,
        not_found: false,
        retained_message: None,
        query: None,
        decided_by: DecidedBy::Holder,
        effects,
    }
}

pub(super) fn completed() -> EventKind {
    EventKind::Completed(Success::default())
}

pub(super) fn failed(kind: FailureKind) -> EventKind {
    EventKind::Failed(kind, Failure::new("code", "text"))
}

pub(super) fn retry() -> EventKind {
    EventKind::Pending { due: Timestamp::UNIX_EPOCH, failure: Failure::new("code", "text") }
}

pub(super) fn counts(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Counts(granted) if !granted.unknown)
}

#[test]
fn the_first_to_start_a_step_without_a_key_has_it_to_itself() {
    let mut ruled = RuledCommand::default();
    assert!(counts(&ruled.start(CallGuard::Claim(9))));
    assert_eq!(ruled.start(CallGuard::Claim(9)), Ruling::Claimed { claim: id(1), ttl_ms: 9 });
    let ruling = ruled.rule(RecordBody::ClaimExpired(ClaimExpired { claim: id(1) }));
    assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    assert_eq!(
        ruled.end(failed(FailureKind::Rejected)),
        Ruling::Unknown,
        "only an answer, or `unresolved`, counts now"
    );
    assert!(matches!(ruled.end(failed(FailureKind::Unresolved)), Ruling::Counts(_)));
}

#[test]
fn under_a_key_a_copy_waits_and_a_message_whose_holder_died_does_not() {
    let mut ruled = RuledCommand::default();
    assert!(counts(&ruled.start(CallGuard::Key(9))));
    assert_eq!(ruled.start(CallGuard::Key(9)), Ruling::Claimed { claim: id(1), ttl_ms: 9 });
    for impatient in [
        StartedRecord { redelivered: true, ..started(CallGuard::Key(9)) },
        StartedRecord { expired_claim: Some(id(3)), ..started(CallGuard::Key(9)) },
    ] {
        let ruling = ruled.rule(RecordBody::Started(Box::new(impatient)));
        assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    }
}

#[test]
fn a_call_that_was_released_can_be_started_again() {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Claim(9));
    assert!(counts(&ruled.rule(RecordBody::Released(ReleasedRecord { started: id(1) }))));
    assert!(counts(&ruled.start(CallGuard::Claim(9))));
}

#[test]
fn what_was_decided_is_published_by_whoever_finds_it_until_it_is_settled() {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    assert!(counts(&ruled.end(completed())));
    assert!(
        matches!(ruled.start(CallGuard::Key(9)), Ruling::Unsettled(decided) if decided.by == id(2))
    );
    ruled.rule(RecordBody::Settled(SettledRecord { finished: id(2) }));
    assert!(matches!(ruled.start(CallGuard::Key(9)), Ruling::Ended(_)));
    let other =
        StartedRecord { identity: Some(sample_identity("other")), ..started(CallGuard::Key(9)) };
    assert_eq!(ruled.rule(RecordBody::Started(Box::new(other))), Ruling::ContentConflict);
}

#[test]
fn the_first_definite_end_stays_and_unresolved_gives_way_to_it() {
    // first record, second record, does the second count?
    let table = [
        (completed(), failed(FailureKind::Declined), false),
        (failed(FailureKind::Declined), completed(), false),
        (failed(FailureKind::Unresolved), failed(FailureKind::Unresolved), false),
        (failed(FailureKind::Unresolved), completed(), true),
        (failed(FailureKind::Rejected), completed(), true),
    ];
    for (first, second, expected) in table {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Key(9));
        ruled.end(first.clone());
        let ruling = ruled.end(second.clone());
        assert_eq!(
            matches!(ruling, Ruling::Counts(_)),
            expected,
            "{first:?} {second:?} {ruling:?}"
        );
    }
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    ruled.end(failed(FailureKind::Unresolved));
    assert_eq!(
        ruled.end(failed(FailureKind::Declined)),
        Ruling::SequenceTooLow { attempt: 2 },
        "its event would repeat an id"
    );
}

#[test]
fn an_answer_to_a_command_that_was_never_called_decides_nothing() {
    let noticed = || {
        RecordBody::Finished(Box::new(FinishedRecord {
            call: None,
            ..finished(FIRST, completed())
        }))
    };
    let given_up = |kind| {
        RecordBody::Finished(Box::new(FinishedRecord {
            call: None,
            ..finished(FIRST, failed(kind))
        }))
    };
    for kind in [
        FailureKind::Invalid,
        FailureKind::Rejected,
        FailureKind::Expired,
        FailureKind::Unavailable,
        FailureKind::Poison,
    ] {
        let mut ruled = RuledCommand::default();
        ruled.rule(given_up(kind));
        assert!(matches!(ruled.rule(noticed()), Ruling::Contradicts(_)), "{kind:?}");
        assert_eq!(ruled.state().state(), LifecycleState::Failed);
    }
    // The command may have been called, and the outcome is unknown: that is `unresolved`.
    let mut ruled = RuledCommand::default();
    let unknown = FinishedRecord {
        call: None,
        unknown: true,
        ..finished(FIRST, failed(FailureKind::Unresolved))
    };
    ruled.rule(RecordBody::Finished(Box::new(unknown)));
    assert!(counts_or_outrun(&ruled.rule(noticed())));
    // A command that waits for its first call may still be cancelled, even after a start was
    // released.
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    ruled.rule(RecordBody::Released(ReleasedRecord { started: id(1) }));
    assert_eq!(ruled.rule(noticed()), Ruling::Superseded);
    ruled.start(CallGuard::Key(9));
    assert!(counts(&ruled.rule(noticed())));
    // A call that was answered with a refusal may have been answered by a proxy in between.
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    ruled.end(failed(FailureKind::Rejected));
    assert!(counts_or_outrun(&ruled.rule(noticed())));
}

fn counts_or_outrun(ruling: &Ruling) -> bool {
    matches!(ruling, Ruling::Counts(_) | Ruling::SequenceTooLow { .. })
}

#[test]
fn a_conflict_is_remembered_once_and_changes_nothing_else() {
    let note = |event: &str| ConflictNote {
        at: Timestamp::UNIX_EPOCH,
        conflict: "content".to_owned(),
        event: event.to_owned(),
        message: "another content".to_owned(),
    };
    let mut ruled = RuledCommand::default();
    assert_eq!(
        ruled.rule(RecordBody::Conflicted(Box::new(note("a")))),
        Ruling::Superseded,
        "of a command that is not known"
    );
    ruled.start(CallGuard::Key(9));
    ruled.end(completed());
    let before = ruled.state().clone();
    assert!(counts(&ruled.rule(RecordBody::Conflicted(Box::new(note("a"))))));
    assert_eq!(ruled.rule(RecordBody::Conflicted(Box::new(note("a")))), Ruling::Superseded);
    for number in 0..100 {
        ruled.rule(RecordBody::Conflicted(Box::new(note(&number.to_string()))));
    }
    assert_eq!(
        (ruled.state().conflicts.len(), &ruled.state().conflicts[0]),
        (MAX_CONFLICTS, &note("a"))
    );
    assert_eq!(CommandState { conflicts: Vec::new(), ..ruled.state().clone() }, before);
}

#[test]
fn two_answers_of_a_provider_that_differ_are_a_contradiction() {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    ruled.end(completed());
    ruled.rule(RecordBody::Settled(SettledRecord { finished: id(2) }));
    assert!(matches!(ruled.end(failed(FailureKind::Declined)), Ruling::Contradicts(_)));
    assert!(
        matches!(ruled.end(failed(FailureKind::Rejected)), Ruling::Ended(_)),
        "no answer about what was done"
    );
}

#[test]
fn a_command_is_cancelled_only_while_no_call_may_have_acted() {
    let cancel = |attempt| {
        let by = DecidedBy::Canceller(Actor { by: "ann".to_owned(), reason: None });
        let step = Step { attempt, ..FIRST };
        RecordBody::Finished(Box::new(FinishedRecord {
            decided_by: by,
            ..finished(step, failed(FailureKind::Cancelled))
        }))
    };
    let opened = || {
        let opened = OpenedRecord {
            identity: sample_identity("c"),
            step: FIRST,
            fresh: true,
            recorded: false,
            reason: WaitReason::Early,
            until: None,
            submitted_by: None,
        };
        RecordBody::Opened(Box::new(opened))
    };
    let mut ruled = RuledCommand::default();
    ruled.rule(opened());
    assert!(counts(&ruled.rule(cancel(1))));
    assert!(
        matches!(ruled.start(CallGuard::Claim(9)), Ruling::Unsettled(_)),
        "the holder of the message publishes it"
    );

    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Claim(9));
    assert_eq!(ruled.rule(cancel(1)), Ruling::TooLate(TooLate::InFlight));
    ruled.rule(RecordBody::Finished(Box::new(FinishedRecord {
        step: FIRST,
        ..finished(Step { attempt: 2, ..FIRST }, retry())
    })));
    assert_eq!(ruled.state().state(), LifecycleState::Pending);
    assert!(counts(&ruled.rule(cancel(2))));

    let mut ruled = RuledCommand::default();
    let person = Actor { by: "ann".to_owned(), reason: None };
    ruled.rule(RecordBody::CancelRequested(CancelRequested { actor: person.clone() }));
    assert_eq!(ruled.start(CallGuard::Claim(9)), Ruling::Cancelled(person));
}

#[test]
fn two_replays_start_one_generation() {
    let replay = || {
        let person = Actor { by: "ann".to_owned(), reason: None };
        let (command_identity, key) = (sample_identity("c"), None);
        let replayed = ReplayedRecord {
            identity: command_identity,
            from: 0,
            unknown: false,
            key,
            first_sent: None,
            request_digest: None,
            token: String::new(),
            actor: person,
            job: None,
        };
        RecordBody::Replayed(Box::new(replayed))
    };
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    assert_eq!(ruled.rule(replay()), Ruling::TooLate(TooLate::NotDead));
    ruled.end(failed(FailureKind::Unavailable));
    assert!(counts(&ruled.rule(replay())));
    assert_eq!(ruled.rule(replay()), Ruling::TooLate(TooLate::Replayed));
    assert_eq!(
        (ruled.state().step.generation, ruled.state().state()),
        (1, LifecycleState::Pending)
    );
}

#[test]
fn what_the_ledger_has_forgotten_is_unknown_and_what_it_does_not_understand_is_left_alone() {
    let mut ruled = RuledCommand::default();
    let lost = StartedRecord { fresh: false, recorded: true, ..started(CallGuard::Claim(9)) };
    let ruling = ruled.rule(RecordBody::Started(Box::new(lost)));
    assert!(matches!(ruling, Ruling::Counts(granted) if granted.unknown));
    CommandState::block(&mut ruled.slot, "split");
    assert_eq!(ruled.end(completed()), Ruling::Blocked("split".to_owned()));
}
