//! The results of the real code, in the short forms of the model.

use super::translate::{short_decided, short_event, short_id, short_key, short_step};
use super::*;

/// Returns the parts of a command's state that the model reads.
pub fn view(case: Option<&Case>) -> View {
    let first = Step::FIRST;
    let Some(case) = case else {
        return View {
            ids: 0,
            step: first,
            awaited: None,
            unknown: false,
            key: None,
            ending: None,
            dead: false,
            content: None,
            is_cancel_request: false,
            unsettled: None,
        };
    };
    let by = match &case.phase {
        Phase::Started { by, .. } | Phase::Decided { by, .. } => Some(*by),
        Phase::Open | Phase::TakenOver => None,
    };
    let ended = case.ending.as_ref().map(|ending| ending.by);
    let ids = by.into_iter().chain(ended).fold(0, |ids, id| ids | 1 << short_id(id));
    View {
        ids,
        step: short_step(case.step),
        awaited: case.opening.as_ref().map(|_| short_step(case.awaited_step())),
        unknown: case.unknown,
        key: case.key.as_ref().map(short_key),
        ending: case.ending.as_ref().map(|ending| short_event(&ending.event)),
        dead: case.ending.as_ref().is_some_and(ferryd_domain::ledger::case::Ending::is_dead),
        content: case.opening.as_ref().map(|opening| opening.content.parse().unwrap()),
        is_cancel_request: case.is_cancel_request(),
        unsettled: case.unsettled().map(|decided| short_decided(&decided)),
    }
}

/// Returns the parts of a ruling that the model reads.
pub fn said(ruling: &Ruling) -> Said {
    match ruling {
        Ruling::Counts(granted) => Said::Counts { unknown: granted.unknown },
        Ruling::Claimed { .. } => Said::Claimed,
        Ruling::Unsettled(decided) => {
            let (by, effects) = short_decided(decided);
            Said::Unsettled(by, effects)
        }
        Ruling::Ended(event) => Said::Ended(short_event(event)),
        Ruling::Unknown => Said::Unknown,
        Ruling::Passed => Said::Passed,
        Ruling::OtherContent => Said::OtherContent,
        Ruling::Cancelled(_) => Said::Cancelled,
        Ruling::Contradicts(_) => Said::Contradicts,
        Ruling::Outrun { attempt } => Said::Outrun(u8::try_from(*attempt).unwrap()),
        Ruling::TooLate(_) => Said::TooLate,
        Ruling::Blocked(kind) => panic!("nothing is blocked here: {kind}"),
    }
}

/// Returns the parts of a next action that the model reads.
pub fn plan(next: NextAction) -> Plan {
    match next {
        NextAction::Proceed(granted) => Plan::Proceed { unknown: granted.unknown },
        NextAction::Doubt => Plan::Doubt,
        NextAction::Renumber { attempt } => Plan::Renumber(u8::try_from(attempt).unwrap()),
        NextAction::Reread => Plan::Reread,
        NextAction::Contradict(_) => Plan::Contradict,
        NextAction::Refuse(_) => Plan::Refuse,
        NextAction::WaitOut { claim, .. } => Plan::WaitOut(short_id(claim)),
        NextAction::TakeOver(claim) => Plan::TakeOver(short_id(claim)),
        NextAction::Publish(decided) => {
            let (by, effects) = short_decided(&decided);
            Plan::Publish(by, effects)
        }
        NextAction::Answer(event) => Plan::Answer(short_event(&event)),
        NextAction::Ask => Plan::Ask,
        NextAction::Again => Plan::Again,
        NextAction::Drop => Plan::Drop,
        NextAction::Conflict => Plan::Conflict,
        NextAction::Cancel(_) => Plan::Cancel,
        NextAction::Wait(kind) => panic!("nothing is blocked here: {kind}"),
    }
}
