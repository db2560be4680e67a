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
fn answered(ruled: &mut RuledCommand, query: u32, early: bool, kind: EventKind) {
    let step = Step { query, ..FIRST };
    let query = Some(MadeQuery { purpose: QueryPurpose::Lookup, early });
    let mut finished = FinishedRecord { call: None, query, ..finished(step, kind) };
    finished.effects.publish_event = finished.effects.event.data.state.is_terminal();
    let ruling = ruled.rule(RecordBody::Finished(Box::new(finished)));
    assert!(matches!(ruling, Ruling::Counts(_)), "{ruling:?}");
}

fn prompted(ruled: &mut RuledCommand, prompt: CommandPrompt, starts_query: bool) {
    ruled.rule(RecordBody::Prompted(PromptRecord { prompt, starts_query }));
}

fn notice(id: &str) -> CommandPrompt {
    let (id, event) = (Some(id.to_owned()), Some("charge.updated".to_owned()));
    CommandPrompt::Notice(NoticePrompt { id, event, meaning: "lookup".to_owned(), verified: true })
}

fn accepted() -> RuledCommand {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    ruled.end(waiting());
    ruled
}

fn causes(ruled: &RuledCommand) -> Vec<(u32, u32, Option<String>)> {
    let cause = |query: &QueryNote| {
        (query.step.query, query.times, query.cause.as_ref().map(ToString::to_string))
    };
    ruled.state().queries.iter().map(cause).collect()
}

#[test]
fn each_query_names_its_cause_and_planned_ones_that_change_nothing_are_one() {
    let mut ruled = accepted();
    for query in 1..=3 {
        answered(&mut ruled, query, false, waiting());
    }
    prompted(&mut ruled, notice("evt_1"), true);
    answered(&mut ruled, 4, true, waiting());
    answered(&mut ruled, 5, false, waiting());
    prompted(&mut ruled, CommandPrompt::Actor("ann".to_owned()), true);
    answered(&mut ruled, 6, true, completed());
    let because = |text: &str| Some(text.to_owned());
    assert_eq!(
        causes(&ruled),
        [
            (3, 3, None),
            (4, 1, because("notice charge.updated evt_1")),
            (5, 1, None),
            (6, 1, because("ann"))
        ]
    );
    assert_eq!(ruled.state().queries[3].state, LifecycleState::Completed);
    assert_eq!(ruled.state().prompts.len(), 2);
}

#[test]
fn a_notice_that_a_provider_repeats_is_remembered_once_and_no_more_than_some_are() {
    let mut ruled = accepted();
    for _ in 0..2 {
        prompted(&mut ruled, notice("evt_1"), false);
    }
    assert_eq!(ruled.state().prompts.len(), 1);
    assert_eq!(ruled.state().history.len(), 2, "what is decided by is not touched");
    for number in 0..100 {
        prompted(&mut ruled, notice(&number.to_string()), false);
        answered(
            &mut ruled,
            number + 1,
            false,
            if number % 2 == 0 { waiting() } else { querying() },
        );
    }
    let state = ruled.state();
    assert_eq!((state.prompts.len(), state.queries.len()), (16, 32));
    assert_eq!(state.prompts[0].prompt, notice("evt_1"));
    assert_eq!(state.prompts[15].prompt, notice("99"));
}

/// Returns a decision by which a query changes the command.
fn querying() -> EventKind {
    EventKind::Querying {
        accepted: true,
        due: Timestamp::UNIX_EPOCH,
        failure: Some(Failure::new("code", "text")),
    }
}

#[test]
fn of_a_command_that_is_not_known_nothing_is_remembered() {
    let mut ruled = RuledCommand::default();
    assert_eq!(
        ruled.rule(RecordBody::Prompted(PromptRecord {
            prompt: notice("evt_1"),
            starts_query: true
        })),
        Ruling::Superseded
    );
}
