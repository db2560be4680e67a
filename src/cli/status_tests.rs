use jiff::SignedDuration;
use uuid::Uuid;

use super::*;
use crate::cli::fixture::printed;
use ferryd_domain::command::{Command, CommandEnvelope};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::effects::{ContinuationEffect, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::record::{
    Actor, CallGuard, CancelRequested, CommandIdentity, DecidedBy, FinishedRecord, MadeQuery,
    NoticePrompt, OpenedRecord, PromptRecord, Record, RecordBody, RecordId, SettledRecord,
    StartedRecord, WaitReason,
};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, Success};
use ferryd_domain::query::{DEADLINE_HEADER, QueryPurpose};

const FIRST: Step = Step::call(0, 1);

/// Builds the recorded state of a command from facts at these milliseconds after its start.
fn case(facts: impl IntoIterator<Item = (i64, RecordBody)>) -> CommandState {
    let mut slot = None;
    for ((after, body), number) in facts.into_iter().zip(1..) {
        let record = Record { at: at(after), command: "order-1".parse().unwrap(), fact: body };
        CommandState::apply_record(
            &mut slot,
            RecordId { writer: Uuid::from_u128(7), number },
            &record,
        );
    }
    slot.unwrap()
}

fn at(millis: i64) -> Timestamp {
    "2026-11-25T12:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_millis(millis)
}

fn identity() -> CommandIdentity {
    let body = br#"{"id":"order-1","type":"payment","provider":"stripe","operation":"charge","reference":"r-1"}"#;
    let identity = Command::decode(body, CommandEnvelope::default())
        .unwrap()
        .identity(&"stripe".parse().unwrap());
    CommandIdentity {
        command: identity,
        content_digest: "c".repeat(43),
        reply_target: None,
        publisher: None,
    }
}

fn started(step: Step) -> RecordBody {
    RecordBody::Started(Box::new(StartedRecord {
        step,
        identity: Some(identity()),
        fresh: step == FIRST,
        recorded: false,
        guard: CallGuard::Key(1_000),
        redelivered: false,
        expired_claim: None,
        unknown: false,
        key: None,
        request_digest: "d".repeat(43),
        token: String::new(),
        money: None,
        first_sent: None,
    }))
}

fn finished(step: Step, after: i64, unknown: bool, kind: EventKind) -> RecordBody {
    let moment = EventMoment { generation: step.generation, attempt: step.attempt, at: at(after) };
    let event = Event::new(identity().command, moment, kind, TraceContext::default());
    let effects = RecordedEffects { event: event.into(), publish_event: true, message: None };
    let (command_identity, call, by) = (None, None, DecidedBy::Holder);
    RecordBody::Finished(Box::new(FinishedRecord {
        step,
        identity: command_identity,
        fresh: false,
        call,
        unknown,
        not_found: false,
        retained_message: None,
        query: None,
        decided_by: by,
        effects,
    }))
}

fn settled(number: u64) -> RecordBody {
    RecordBody::Settled(SettledRecord { finished: RecordId { writer: Uuid::from_u128(7), number } })
}

fn story(state: &CommandState) -> CommandStory {
    CommandStory::new("order-1".parse().unwrap(), state, Vec::new())
}

fn shown(state: &CommandState) -> String {
    printed(|out| print(&story(state), at(3_600_000), out).unwrap())
}

fn retried() -> Vec<(i64, RecordBody)> {
    let failure = Failure::new("timeout", "no answer\nwithin 2 s");
    let retry = EventKind::Pending { due: at(3_700_000), failure };
    vec![(0, started(FIRST)), (2_003, finished(FIRST, 2_003, true, retry)), (2_010, settled(2))]
}

#[test]
fn a_command_that_waits_for_its_next_call_says_when_that_is() {
    insta::assert_snapshot!(shown(&case(retried())));
}

#[test]
fn a_dead_letter_names_the_actions_of_a_person() {
    let second = Step { attempt: 2, ..FIRST };
    let failure =
        Failure { http_status: Some(503), ..Failure::new("timeout", "no answer within 2 s") };
    let mut facts = retried();
    facts.push((8_000, started(second)));
    facts.push((
        70_000,
        finished(second, 70_000, true, EventKind::Failed(FailureKind::Unresolved, failure)),
    ));
    insta::assert_snapshot!(shown(&case(facts)));
}

#[test]
fn what_comes_next_fits_where_a_command_is() {
    let success = || Success { provider_reference: Some("pi_1".to_owned()), ..Success::default() };
    let person = Actor { by: "ann".to_owned(), reason: Some("a mistake".to_owned()) };
    let opened = OpenedRecord {
        identity: identity(),
        step: FIRST,
        fresh: true,
        recorded: false,
        reason: WaitReason::Early,
        until: Some(at(0)),
        submitted_by: None,
    };
    let mut blocked = None;
    CommandState::block(&mut blocked, "steps");
    let cases = [
        case([(0, RecordBody::Opened(Box::new(opened)))]),
        case([(0, started(FIRST))]),
        case([
            (0, started(FIRST)),
            (9, finished(FIRST, 9, false, EventKind::Waiting(success(), WaitingFor::Customer))),
        ]),
        case([
            (0, started(FIRST)),
            (9, finished(FIRST, 9, false, EventKind::Completed(success()))),
            (9, settled(2)),
        ]),
        case([(0, RecordBody::CancelRequested(CancelRequested { actor: person }))]),
        blocked.unwrap(),
    ];
    let lines = cases.iter().map(|state| next(&story(state), at(3_600_000)).join(" / "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

/// Builds the record of a decision that sends the message on, to query the provider later.
fn asking(step: Step, after: i64, kind: EventKind, deadline: Option<Timestamp>) -> RecordBody {
    let RecordBody::Finished(mut fact) = finished(step, after, deadline.is_none(), kind) else {
        unreachable!()
    };
    let deadline = deadline
        .map(|deadline| (DEADLINE_HEADER.to_owned(), HeaderValue::Text(deadline.to_string())));
    let headers = deadline.into_iter().collect();
    fact.effects.publish_event = false;
    fact.effects.message =
        Some(ContinuationEffect { exchange: "e".to_owned(), routing_key: "k".to_owned(), headers });
    RecordBody::Finished(fact)
}

#[test]
fn a_queried_command_shows_when_it_is_queried_next_and_until_when() {
    let first = Step { query: 1, ..FIRST };
    let failure = Failure::new("timeout", "no answer");
    let waiting = |next| {
        let RecordBody::Finished(mut fact) = asking(
            FIRST,
            9,
            EventKind::Waiting(Success::default(), WaitingFor::Provider),
            Some(at(90_000_000)),
        ) else {
            unreachable!()
        };
        let named = |event: &mut Event| event.data.next_attempt_at = Some(at(next));
        fact.effects.event = fact.effects.event.with_changes(named);
        RecordBody::Finished(fact)
    };
    let again = |accepted, due| EventKind::Querying { accepted, due: at(due), failure: None };
    let lookup =
        EventKind::Querying { accepted: false, due: at(3_690_000), failure: Some(failure.clone()) };
    let retry = EventKind::Pending { due: at(3_700_000), failure };
    let second = Step { attempt: 2, ..FIRST };
    let RecordBody::Finished(mut absent) = finished(second, 9, false, retry) else {
        unreachable!()
    };
    (absent.step, absent.not_found) = (first, true);
    let cases = [
        case([(0, started(FIRST)), (9, waiting(3_660_000)), (9, settled(2))]),
        case([(0, started(FIRST)), (9, waiting(90_000_000)), (9, settled(2))]),
        case([
            (0, started(FIRST)),
            (9, waiting(30_000)),
            (30_000, asking(first, 30_000, again(true, 3_720_000), Some(at(90_000_000)))),
            (30_001, settled(3)),
        ]),
        case([(0, started(FIRST)), (9, asking(FIRST, 9, lookup.clone(), None)), (9, settled(2))]),
        case([
            (0, started(FIRST)),
            (9, asking(FIRST, 9, lookup, None)),
            (9, RecordBody::Finished(absent)),
            (9, settled(3)),
        ]),
    ];
    let lines = cases.iter().map(|state| next(&story(state), at(3_600_000)).join(" / "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    let story = serde_json::to_value(story(&cases[0])).unwrap();
    assert_eq!(story["deadline"], at(90_000_000).to_string());
}

#[test]
fn programs_get_all_of_it() {
    let shown = story(&case(retried()));
    let story = serde_json::to_value(&shown).unwrap();
    for (pointer, value) in [
        ("/id", "order-1".into()),
        ("/state", "pending".into()),
        ("/provider", "stripe".into()),
        ("/unknown", true.into()),
        ("/timeline/1/reason", "retry".into()),
        ("/timeline/1/until", at(3_700_000).to_string().into()),
    ] {
        assert_eq!(story.pointer(pointer), Some(&value), "{pointer}: {story:#}");
    }
    assert_eq!(serde_json::from_value::<CommandStory>(story).unwrap(), shown);
}

#[test]
fn the_timeline_shows_answers_queries_and_their_causes() {
    let query = |number, after, early, kind| {
        let step = Step { query: number, ..FIRST };
        let RecordBody::Finished(mut fact) = finished(step, after, false, kind) else {
            unreachable!()
        };
        fact.query = Some(MadeQuery { purpose: QueryPurpose::Lookup, early });
        fact.effects.publish_event = fact.effects.event.data.state.is_terminal();
        RecordBody::Finished(fact)
    };
    let waiting = || EventKind::Waiting(Success::default(), WaitingFor::Provider);
    let notice = |meaning: &str| {
        let (id, event) = (Some("evt_1".to_owned()), Some("charge.updated".to_owned()));
        CommandPrompt::Notice(NoticePrompt {
            id,
            event,
            meaning: meaning.to_owned(),
            verified: true,
        })
    };
    let prompted = |prompt, asks| RecordBody::Prompted(PromptRecord { prompt, starts_query: asks });
    let state = case([
        (0, started(FIRST)),
        (9, finished(FIRST, 9, false, waiting())),
        (1_000, query(1, 1_000, false, waiting())),
        (2_000, query(2, 2_000, false, waiting())),
        (3_000, prompted(notice("progress"), false)),
        (4_000, prompted(notice("lookup"), true)),
        (5_000, query(3, 5_000, true, waiting())),
        (6_000, prompted(CommandPrompt::Actor("ann".to_owned()), true)),
        (7_000, query(4, 7_000, true, EventKind::Completed(Success::default()))),
    ]);
    let text = shown(&state);
    let mut rest = text.as_str();
    for line in [
        "#1    started",
        "lookup         its time                     2 times until 2026-11-25 12:00:02.000Z: the command is waiting",
        "notice                                      notice charge.updated evt_1; it means progress",
        "notice                                      notice charge.updated evt_1; it means lookup",
        "lookup         notice charge.updated evt_1  the command is waiting",
        "lookup wanted                               by ann",
        "completed      lookup",
        "lookup         ann                          the command is completed",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line}\n{text}"));
        rest = &rest[at..];
    }
    let story = serde_json::to_value(story(&state)).unwrap();
    assert_eq!(story["queries"][1]["cause"]["notice"]["id"], "evt_1");
    assert_eq!(story["queries"][2]["cause"]["actor"], "ann");
    assert_eq!(story["prompts"][2]["starts_query"], true);
}
