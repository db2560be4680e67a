//! Queries of the provider: the possible answers, and the decisions that follow.

use ferryd_domain::lifecycle::Decision;
use ferryd_domain::outcome::{Failure, LookupOutcome, Outcome, PollOutcome, Success};
use ferryd_domain::query::{
    ProviderQuery, QueryPurpose, decide_after_lookup, decide_after_poll, decide_unknown,
};

use crate::holder::{HeldCommand, InstanceStep, NOW};
use crate::ledger::{
    MessageErrand, ModelEventKind, ModelFailure, ModelGuard, ModelRecord, ModelStep,
};
use crate::moves::WorldAction;
use crate::search::SearchProtocol;
use crate::setup::PlantedMistake;
use crate::world::{InstancePlace, ModelInstance, WorldState};

/// The provider's answer to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryAnswer {
    /// The operation is done.
    Done,
    /// The provider declined.
    Declined,
    /// The operation is not done yet.
    Still,
    /// The deadline has passed meanwhile.
    Overdue,
    /// The provider has not found the operation.
    Absent,
    /// The answer decides nothing.
    Unclear,
}

/// The number of queries about an attempt after which the deadline has passed.
const PATIENCE: u8 = 2;

/// Returns the query that a message is due for.
pub fn query_of(errand: MessageErrand, step: ModelStep) -> Option<ProviderQuery> {
    let (purpose, tried) = match errand {
        MessageErrand::Call => return None,
        MessageErrand::Poll => (QueryPurpose::Poll, 0),
        MessageErrand::Lookup(tried) => (QueryPurpose::Lookup, tried),
    };
    Some(ProviderQuery {
        tried: tried.into(),
        ..ProviderQuery::new(step.query.into(), purpose, NOW)
    })
}

/// Returns the short form of a query.
pub fn short_query(about: ModelStep, query: ProviderQuery) -> (ModelStep, MessageErrand) {
    let errand = match query.purpose {
        QueryPurpose::Poll => MessageErrand::Poll,
        QueryPurpose::Lookup => MessageErrand::Lookup(u8::try_from(query.tried).unwrap()),
    };
    (ModelStep { query: u8::try_from(query.number).unwrap(), ..about }, errand)
}

impl SearchProtocol {
    /// Lists the possible answers of the provider.
    pub fn query_answers(&self, world: &WorldState, who: usize, actions: &mut Vec<WorldAction>) {
        let Some(message) = world.instances[who].message else { return };
        let crate::world::BrokerMessageKind::Command { step, errand, .. } = message.kind else {
            return;
        };
        let truth = match self.key_of(world, who) {
            Some(key) => world.seen.truth[usize::from(key)],
            None => (world.seen.acts > 0).then_some(ModelEventKind::Completed),
        };
        let answers = match truth {
            Some(ModelEventKind::Completed) => vec![QueryAnswer::Done],
            Some(_) => vec![QueryAnswer::Declined],
            None => Vec::new(),
        };
        let answers = match errand {
            MessageErrand::Call => return,
            MessageErrand::Poll if step.query > PATIENCE => vec![QueryAnswer::Overdue],
            MessageErrand::Poll => {
                answers.into_iter().chain([QueryAnswer::Still, QueryAnswer::Overdue]).collect()
            }
            MessageErrand::Lookup(_) => {
                let absent = truth.is_none() && self.is_over_with(world);
                answers
                    .into_iter()
                    .chain([QueryAnswer::Unclear])
                    .chain(absent.then_some(QueryAnswer::Absent))
                    .collect()
            }
        };
        actions.extend(answers.into_iter().map(|answer| WorldAction::QueryAnswered(who, answer)));
    }

    /// Returns true if every call that was begun has ended: a lookup waits for that.
    fn is_over_with(&self, world: &WorldState) -> bool {
        let calls = |other: &ModelInstance| match other.at {
            InstancePlace::Calling { .. } | InstancePlace::Read(_, ModelRecord::Started(_), _) => {
                true
            }
            // The start is refused or superseded by now, whatever its ruling.
            InstancePlace::Sent(_, ModelRecord::Started(_)) => self.setup.guard == ModelGuard::Key,
            _ => false,
        };
        self.setup.mistake == Some(PlantedMistake::AcceptsNotFoundTooEarly)
            || !world.instances.iter().any(calls)
    }
}

impl InstanceStep<'_> {
    /// Acts on the provider's answer to a query.
    pub fn query_answered(&mut self, answer: QueryAnswer) {
        let HeldCommand { step, errand, unknown, .. } = self.held_command();
        let query = query_of(errand, step).unwrap();
        let mut progress = self.progress(unknown);
        let limits = self.limits(step.generation);
        let decision = match (query.purpose, answer) {
            // An overdue command is looked up with the same message.
            (QueryPurpose::Poll, QueryAnswer::Overdue) => return self.doubt(false),
            (QueryPurpose::Poll, answer) => {
                let polled = match answer {
                    QueryAnswer::Done => PollOutcome::Completed(Success::default()),
                    QueryAnswer::Declined => PollOutcome::Declined(Failure::default()),
                    _ => PollOutcome::Still(None),
                };
                decide_after_poll(polled, query, &progress, &limits, NOW)
            }
            (QueryPurpose::Lookup, answer) => {
                let looked_up = match answer {
                    QueryAnswer::Done => {
                        LookupOutcome::Found(Outcome::Completed(Success::default()))
                    }
                    QueryAnswer::Declined => {
                        LookupOutcome::Found(Outcome::Declined(Failure::default()))
                    }
                    QueryAnswer::Absent => LookupOutcome::Absent(Failure::default()),
                    _ => LookupOutcome::Unclear(Failure::default()),
                };
                decide_after_lookup(looked_up, query, &mut progress, &limits, NOW, 0.5)
            }
        };
        self.decided(decision, false, progress.unknown);
    }

    /// Continues where a call may have acted: by a lookup, or an unresolved end.
    pub fn doubt(&mut self, called: bool) {
        let step = self.held_command().step;
        let progress = self.progress(true);
        match decide_unknown(
            Failure::default(),
            &progress,
            self.limits(step.generation).lookup,
            NOW,
        ) {
            Decision::GiveUp(..) => self.give_up(ModelFailure::Unresolved, called, true),
            decision => self.decided(decision, called, true),
        }
    }
}
