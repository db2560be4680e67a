//! Tests of prompts and queries as the ledger keeps them, for people.

use super::super::prompt::{MadeQuery, NoticePrompt, Prompt, Prompted, QueryNote};
use super::super::record::*;
use super::tests::{FIRST, Told, completed, finished};
use super::*;
use crate::event::Happening;
use crate::inquiry::Purpose;
use crate::outcome::{Failure, Party, Success};

fn waiting() -> Happening {
    Happening::Waiting(Success::default(), Party::Provider)
}

/// Returns the answer to a query of this number.
fn answered(told: &mut Told, inquiry: u32, early: bool, happening: Happening) {
    let step = Step { inquiry, ..FIRST };
    let query = Some(MadeQuery { purpose: Purpose::Lookup, early });
    let mut finished = Finished { call: None, query, ..finished(step, happening) };
    finished.effects.told = finished.effects.event.data.state.is_terminal();
    let ruling = told.rule(Fact::Finished(Box::new(finished)));
    assert!(matches!(ruling, Ruling::Counts(_)), "{ruling:?}");
}

fn prompted(told: &mut Told, prompt: Prompt, asks: bool) {
    told.rule(Fact::Prompted(Prompted { prompt, asks }));
}

fn notice(id: &str) -> Prompt {
    let (id, event) = (Some(id.to_owned()), Some("charge.updated".to_owned()));
    Prompt::Notice(NoticePrompt { id, event, meaning: "lookup".to_owned(), verified: true })
}

fn accepted() -> Told {
    let mut told = Told::default();
    told.start(Guard::Key(9));
    told.end(waiting());
    told
}

fn causes(told: &Told) -> Vec<(u32, u32, Option<String>)> {
    let cause = |query: &QueryNote| (query.step.inquiry, query.times, query.cause.as_ref().map(ToString::to_string));
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
    prompted(&mut told, Prompt::Person("ann".to_owned()), true);
    answered(&mut told, 6, true, completed());
    let because = |text: &str| Some(text.to_owned());
    assert_eq!(
        causes(&told),
        [(3, 3, None), (4, 1, because("notice charge.updated evt_1")), (5, 1, None), (6, 1, because("ann"))]
    );
    assert_eq!(told.case().queries[3].state, State::Completed);
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
    let case = told.case();
    assert_eq!((case.prompts.len(), case.queries.len()), (16, 32));
    assert_eq!(case.prompts[0].prompt, notice("evt_1"));
    assert_eq!(case.prompts[15].prompt, notice("99"));
}

/// Returns a decision by which a query changes the command.
fn asking() -> Happening {
    Happening::Inquiring { accepted: true, due: Timestamp::UNIX_EPOCH, failure: Some(Failure::new("code", "text")) }
}

#[test]
fn of_a_command_that_is_not_known_nothing_is_remembered() {
    let mut told = Told::default();
    assert_eq!(told.rule(Fact::Prompted(Prompted { prompt: notice("evt_1"), asks: true })), Ruling::Passed);
}
