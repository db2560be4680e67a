use super::*;
use crate::cli::fixture::printed;
use crate::operator::erase::describe_refusal;
use ferryd_domain::ledger::ruling::TooLate;
use ferryd_domain::lifecycle::LifecycleState;

fn result(
    id: &str,
    state: Option<LifecycleState>,
    outcome: ErasureOutcome,
    why: Option<TooLate>,
) -> ErasureResult {
    let id: CommandId = id.parse().unwrap();
    let reason = why.map(|why| describe_refusal(&id, why));
    ErasureResult { id, state, outcome, reason }
}

#[test]
fn a_report_names_what_stays_and_what_to_do_about_it() {
    let commands = vec![
        result("order-1", Some(LifecycleState::Completed), ErasureOutcome::Erased, None),
        result("order-2", Some(LifecycleState::Failed), ErasureOutcome::AlreadyErased, None),
        result(
            "order-3",
            Some(LifecycleState::Waiting),
            ErasureOutcome::Kept,
            Some(TooLate::NotEnded),
        ),
        result(
            "order-4",
            Some(LifecycleState::Failed),
            ErasureOutcome::Kept,
            Some(TooLate::DeadLetter),
        ),
        result(
            "order-5",
            Some(LifecycleState::Failed),
            ErasureOutcome::Kept,
            Some(TooLate::Unpublished),
        ),
    ];
    let whole = ErasureReport { dry_run: false, commands };
    let dry = ErasureReport { dry_run: true, commands: whole.commands[..1].to_vec() };
    insta::assert_snapshot!(printed(|out| {
        print(&whole, out).unwrap();
        out.print_blank_line().unwrap();
        print(&dry, out).unwrap();
    }));
    insta::assert_json_snapshot!(whole);
}
