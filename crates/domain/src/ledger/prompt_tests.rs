//! Tests of prompts and queries as the ledger keeps them, for people.

use super::super::prompt::{CommandPrompt, MadeQuery, NoticePrompt, PromptRecord, QueryNote};
use super::super::record::*;
use super::tests::{FIRST, RuledCommand, completed, finished};
use super::*;
use crate::event::EventKind;
use crate::outcome::{Failure, Success, WaitingFor};
use crate::query::QueryPurpose;

fn waiting() -> EventKind {
    EventKind::Waiting(Success::default(), WaitingFor::Provider)
}

/// Returns the answer to a query of this number.
fn answered(told: &mut RuledCommand, inquiry: u32, early: bool, kind: EventKind) {
    let step = Step { query: inquiry, ..FIRST };
    let query = Some(MadeQuery { purpose: QueryPurpose::Lookup, early });
    let mut finished = FinishedRecord { call: None, query, ..finished(step, kind) };
    finished.effects.publish_event = finished.effects.event.data.state.is_terminal();
    let ruling = told.rule(RecordBody::Finished(Box::new(finished)));
    assert!(matches!(ruling, Ruling::Counts(_)), "{ruling:?}");
}

fn prompted(told: &mut RuledCommand, prompt: CommandPrompt, asks: bool) {
    told.rule(RecordBody::Prompted(PromptRecord { prompt, starts_query: asks }));
}

fn notice(id: &str) -> CommandPrompt {
    let (id, event) = (Some(id.to_owned()), Some("charge.updated".to_owned()));
    CommandPrompt::Notice(NoticePrompt { id, event, meaning: "lookup".to_owned(), verified: true })
}

fn accepted() -> RuledCommand {
    let mut told = RuledCommand::default();
    told.start(CallGuard::Key(9));
    told.end(waiting());
    told
}

fn causes(told: &RuledCommand) -> Vec<(u32, u32, Option<String>)> {
    let cause = |query: &QueryNote| {
        (query.step.query, query.times, query.cause.as_ref().map(ToString::to_string))
    };
    told.case().queries.iter().map(cause).collect()
}

#[test]
fn each_question_says_what_caused_it_and_those_of_their_own_time_that_change_nothing_are_one() {
    let mut told = accepted();
    for inquiry in 1..=3 {
        answered(&mut told, inquiry, false, waiting());
    }
    prompted(&mut told, notice("evt_1"), true);
    answered(&mut told, 4, true, waiting());
    answered(&mut told, 5, false, waiting());
    prompted(&mut told, CommandPrompt::Actor("ann".to_owned()), true);
    answered(&mut told, 6, true, completed());
    let because = |text: &str| Some(text.to_owned());
    assert_eq!(
        causes(&told),
        [
            (3, 3, None),
            (4, 1, because("notice charge.updated evt_1")),
            (5, 1, None),
            (6, 1, because("ann"))
        ]
    );
    assert_eq!(told.case().queries[3].state, LifecycleState::Completed);
    assert_eq!(told.case().prompts.len(), 2);
}

#[test]
fn a_notice_that_a_provider_repeats_is_remembered_once_and_no_more_than_some_are() {
    let mut told = accepted();
    for _ in 0..2 {
        prompted(&mut told, notice("evt_1"), false);
    }
    assert_eq!(told.case().prompts.len(), 1);
    assert_eq!(told.case().history.len(), 2, "what is decided by is not touched");
    for number in 0..100 {
        prompted(&mut told, notice(&number.to_string()), false);
        answered(&mut told, number + 1, false, if number % 2 == 0 { waiting() } else { asking() });
    }
    let state = told.case();
    assert_eq!((state.prompts.len(), state.queries.len()), (16, 32));
    assert_eq!(state.prompts[0].prompt, notice("evt_1"));
    assert_eq!(state.prompts[15].prompt, notice("99"));
}

/// Returns a decision by which a query changes the command.
fn asking() -> EventKind {
    EventKind::Inquiring {
        accepted: true,
        due: Timestamp::UNIX_EPOCH,
        failure: Some(Failure::new("code", "text")),
    }
}

#[test]
fn of_a_command_that_is_not_known_nothing_is_remembered() {
    let mut told = RuledCommand::default();
    assert_eq!(
        told.rule(RecordBody::Prompted(PromptRecord {
            prompt: notice("evt_1"),
            starts_query: true
        })),
        Ruling::Superseded
    );
}
