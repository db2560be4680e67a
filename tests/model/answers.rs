//! The results of the real code, in the short forms of the model.

use super::translate::{short_decided, short_event, short_id, short_key, short_step};
use super::*;

/// Returns the parts of a command's state that the model reads.
pub fn view(case: Option<&CommandState>) -> ModelView {
    let first = ModelStep::FIRST;
    let Some(case) = case else {
        return ModelView {
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
        CallPhase::Started { by, .. } | CallPhase::Decided { by, .. } => Some(*by),
        CallPhase::Open | CallPhase::ClaimExpired => None,
    };
    let ended = case.ending.as_ref().map(|ending| ending.by);
    let ids = by.into_iter().chain(ended).fold(0, |ids, id| ids | 1 << short_id(id));
    ModelView {
        ids,
        step: short_step(case.step),
        awaited: case.identity.as_ref().map(|_| short_step(case.awaited_step())),
        unknown: case.unknown,
        key: case.key.as_ref().map(short_key),
        ending: case.ending.as_ref().map(|ending| short_event(&ending.event)),
        dead: case
            .ending
            .as_ref()
            .is_some_and(ferryd_domain::ledger::command_state::CommandEnding::is_dead),
        content: case.identity.as_ref().map(|identity| identity.content_digest.parse().unwrap()),
        is_cancel_request: case.is_cancel_request(),
        unsettled: case.unsettled_decision().map(|decided| short_decided(&decided)),
    }
}

/// Returns the parts of a ruling that the model reads.
pub fn said(ruling: &Ruling) -> ModelRuling {
    match ruling {
        Ruling::Counts(granted) => ModelRuling::Counts { unknown: granted.unknown },
        Ruling::Claimed { .. } => ModelRuling::Claimed,
        Ruling::Unsettled(decided) => {
            let (by, effects) = short_decided(decided);
            ModelRuling::Unsettled(by, effects)
        }
        Ruling::Ended(event) => ModelRuling::Ended(short_event(event)),
        Ruling::Unknown => ModelRuling::Unknown,
        Ruling::Superseded => ModelRuling::Passed,
        Ruling::ContentConflict => ModelRuling::OtherContent,
        Ruling::Cancelled(_) => ModelRuling::Cancelled,
        Ruling::Contradicts(_) => ModelRuling::Contradicts,
        Ruling::SequenceTooLow { attempt } => ModelRuling::Outrun(u8::try_from(*attempt).unwrap()),
        Ruling::TooLate(_) => ModelRuling::TooLate,
        Ruling::Blocked(kind) => panic!("nothing is blocked here: {kind}"),
    }
}

/// Returns the parts of a next action that the model reads.
pub fn plan(next: NextAction) -> ModelPlan {
    match next {
        NextAction::Proceed(granted) => ModelPlan::Proceed { unknown: granted.unknown },
        NextAction::Doubt => ModelPlan::Doubt,
        NextAction::Renumber { attempt } => ModelPlan::Renumber(u8::try_from(attempt).unwrap()),
        NextAction::Reread => ModelPlan::Reread,
        NextAction::Contradict(_) => ModelPlan::Contradict,
        NextAction::Refuse(_) => ModelPlan::Refuse,
        NextAction::WaitOut { claim, .. } => ModelPlan::WaitOut(short_id(claim)),
        NextAction::TakeOver(claim) => ModelPlan::TakeOver(short_id(claim)),
        NextAction::Publish(decided) => {
            let (by, effects) = short_decided(&decided);
            ModelPlan::Publish(by, effects)
        }
        NextAction::Answer(event) => ModelPlan::Answer(short_event(&event)),
        NextAction::Ask => ModelPlan::Ask,
        NextAction::Again => ModelPlan::Again,
        NextAction::Drop => ModelPlan::Drop,
        NextAction::Conflict => ModelPlan::Conflict,
        NextAction::Cancel(_) => ModelPlan::Cancel,
        NextAction::Wait(kind) => panic!("nothing is blocked here: {kind}"),
    }
}
