//! Tests of the step at which the ledger awaits a command's message.

use super::super::record::{Actor, CallGuard, RecordBody, ReplayedRecord, SettledRecord, Step};
use super::tests::{FIRST, RuledCommand, completed, failed, finished, retry, started};
use super::*;
use crate::event::EventKind;
use crate::outcome::{Success, WaitingFor};

fn decide(ruled: &mut RuledCommand, step: Step, kind: EventKind) {
    let mut finished = finished(step, kind);
    finished.effects.publish_event =
        finished.effects.event.data.state != LifecycleState::Processing && step.query == 0;
    ruled.rule(RecordBody::Finished(Box::new(finished)));
}

fn query_step(attempt: u32, query: u32) -> Step {
    Step { query, ..Step::call(0, attempt) }
}

#[test]
fn the_ledger_awaits_the_step_that_follows_from_what_is_recorded() {
    let querying =
        |accepted| EventKind::Querying { accepted, due: Timestamp::UNIX_EPOCH, failure: None };
    let waiting = || EventKind::Waiting(Success::default(), WaitingFor::Provider);
    let table: [(&[(Step, EventKind)], Step); 7] = [
        (&[], FIRST),
        (&[(FIRST, retry())], Step::call(0, 2)),
        (&[(FIRST, retry()), (Step::call(0, 2), retry())], Step::call(0, 3)),
        (&[(FIRST, waiting())], query_step(1, 1)),
        (&[(FIRST, waiting()), (query_step(1, 1), querying(true))], query_step(1, 2)),
        (&[(FIRST, querying(false)), (query_step(1, 1), retry())], Step::call(0, 2)),
        (&[(FIRST, completed())], FIRST),
    ];
    for (decisions, awaited) in table {
        let mut ruled = RuledCommand::default();
        ruled.start(CallGuard::Key(9));
        for (step, kind) in decisions {
            decide(&mut ruled, *step, kind.clone());
        }
        assert_eq!(ruled.state().awaited_step(), awaited, "{decisions:?}");
        // The step stays the same once the effects are published.
        if let CallPhase::Decided { by, .. } = ruled.state().phase {
            ruled.rule(RecordBody::Settled(SettledRecord { finished: by }));
            assert_eq!(ruled.state().awaited_step(), awaited, "{decisions:?}");
        }
    }
}

#[test]
fn a_step_that_nothing_recorded_leads_to_is_not_known() {
    let mut ruled = RuledCommand::default();
    ruled.start(CallGuard::Key(9));
    decide(&mut ruled, FIRST, retry());
    for (step, known) in [
        (FIRST, true),
        (query_step(1, 1), true),
        (Step::call(0, 2), true),
        (query_step(2, 1), false),
        (Step::call(0, 3), false),
        (Step::call(1, 1), false),
    ] {
        assert_eq!(ruled.state().knows_step(step), known, "{step:?}");
    }
    decide(&mut ruled, Step::call(0, 2), failed(FailureKind::Unavailable));
    let person = Actor { by: "somebody".to_owned(), reason: None };
    let command_identity = started(CallGuard::Key(9)).identity.unwrap();
    let replayed = ReplayedRecord {
        identity: command_identity,
        from: 0,
        unknown: false,
        key: None,
        first_sent: None,
        request_digest: None,
        token: String::new(),
        actor: person,
        job: None,
    };
    ruled.rule(RecordBody::Replayed(Box::new(replayed)));
    assert_eq!(ruled.state().awaited_step(), Step::call(1, 1));
    assert!(
        ruled.state().knows_step(Step::call(1, 1)) && !ruled.state().knows_step(Step::call(1, 2))
    );
}
