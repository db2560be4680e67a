//! Tests of the step at which the ledger awaits a command's message.

use super::super::record::{Fact, Guard, Person, Replayed, Settled, Step};
use super::tests::{FIRST, Told, completed, failed, finished, retry, started};
use super::*;
use crate::event::Happening;
use crate::outcome::{Party, Success};

fn decide(told: &mut Told, step: Step, happening: Happening) {
    let mut finished = finished(step, happening);
    finished.effects.told = finished.effects.event.data.state != State::Processing && step.inquiry == 0;
    told.rule(Fact::Finished(Box::new(finished)));
}

fn inquiry(attempt: u32, inquiry: u32) -> Step {
    Step { inquiry, ..Step::call(0, attempt) }
}

#[test]
fn the_ledger_awaits_the_step_that_follows_from_what_is_on_record() {
    let asked = |accepted| Happening::Inquiring { accepted, due: Timestamp::UNIX_EPOCH, failure: None };
    let waiting = || Happening::Waiting(Success::default(), Party::Provider);
    let table: [(&[(Step, Happening)], Step); 7] = [
        (&[], FIRST),
        (&[(FIRST, retry())], Step::call(0, 2)),
        (&[(FIRST, retry()), (Step::call(0, 2), retry())], Step::call(0, 3)),
        (&[(FIRST, waiting())], inquiry(1, 1)),
        (&[(FIRST, waiting()), (inquiry(1, 1), asked(true))], inquiry(1, 2)),
        (&[(FIRST, asked(false)), (inquiry(1, 1), retry())], Step::call(0, 2)),
        (&[(FIRST, completed())], FIRST),
    ];
    for (decisions, awaited) in table {
        let mut told = Told::default();
        told.start(Guard::Key(9));
        for (step, happening) in decisions {
            decide(&mut told, *step, happening.clone());
        }
        assert_eq!(told.case().awaited_step(), awaited, "{decisions:?}");
        // The step stays the same once the effects are published.
        if let Phase::Decided { by, .. } = told.case().phase {
            told.rule(Fact::Settled(Settled { finished: by }));
            assert_eq!(told.case().awaited_step(), awaited, "{decisions:?}");
        }
    }
}

#[test]
fn a_step_that_nothing_on_record_leads_to_is_not_known() {
    let mut told = Told::default();
    told.start(Guard::Key(9));
    decide(&mut told, FIRST, retry());
    for (step, known) in [
        (FIRST, true),
        (inquiry(1, 1), true),
        (Step::call(0, 2), true),
        (inquiry(2, 1), false),
        (Step::call(0, 3), false),
        (Step::call(1, 1), false),
    ] {
        assert_eq!(told.case().knows_step(step), known, "{step:?}");
    }
    decide(&mut told, Step::call(0, 2), failed(Kind::Unavailable));
    let person = Person { by: "somebody".to_owned(), reason: None };
    let opening = started(Guard::Key(9)).opening.unwrap();
    let replayed = Replayed {
        opening,
        from: 0,
        unknown: false,
        key: None,
        first_sent: None,
        digest: None,
        token: None,
        person,
        job: None,
    };
    told.rule(Fact::Replayed(Box::new(replayed)));
    assert_eq!(told.case().awaited_step(), Step::call(1, 1));
    assert!(told.case().knows_step(Step::call(1, 1)) && !told.case().knows_step(Step::call(1, 2)));
}
