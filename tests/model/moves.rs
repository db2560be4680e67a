//! The possible actions in a world of the model.

use crate::holder::ModelAnswer;
use crate::ledger::{
    MessageErrand, ModelContinuation, ModelDecider, ModelEventKind, ModelFailure, ModelGuard,
    ModelRecord, ModelRuling,
};
use crate::query::QueryAnswer;
use crate::search::SearchProtocol;
use crate::setup::PlantedMistake;
use crate::unroutable::ArrivalWay;
use crate::world::{
    BrokerMessage, BrokerMessageKind, InstancePlace, ModelInstance, OperatorJob, WorldState,
};

/// An action in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorldAction {
    /// A message is delivered; a dead letter to an operator with that job.
    Deliver(usize, Option<OperatorJob>),
    /// A command is delivered, and its provider is busy.
    Defer(usize),
    /// A record arrives in the ledger.
    Land(usize),
    /// An instance takes its next step.
    Go(usize),
    /// A call ends.
    Answered(usize, ModelAnswer),
    /// The search for unpublished ends finds one.
    RecoverEnding,
    /// An instance dies: with what it has sent, or without; its call acted or not.
    Crash(usize, bool),
    /// The broker takes a message back whose holder goes on.
    Unlink(usize),
    /// The broker makes a copy of a message.
    Copy(usize),
    /// The provider answers a query.
    QueryAnswered(usize, QueryAnswer),
    /// A webhook of the provider arrives, during a call or after it.
    Webhook(Option<usize>, ModelEventKind),
    /// The command expires.
    Expire,
    /// A message arrives another way than by its lane.
    Stray(usize, ArrivalWay),
    /// A command with a request to cancel it has not arrived in time.
    GiveUpWaiting,
    /// A person has an ended command erased.
    Erase,
}

impl SearchProtocol {
    /// Lists the actions that happen by themselves, sooner or later.
    pub fn steps(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        let idle = world.instances.iter().any(|instance| instance.at == InstancePlace::Idle);
        for (place, message) in world.queue.iter().enumerate().filter(|_| idle) {
            match message.kind {
                BrokerMessageKind::Dead { job: None, .. } => {}
                BrokerMessageKind::Dead { job, .. } => {
                    actions.push(WorldAction::Deliver(place, job));
                }
                _ if self.is_due(world, message) => actions.push(WorldAction::Deliver(place, None)),
                _ => {}
            }
        }
        actions.extend((0..world.transit.len()).map(WorldAction::Land));
        for (who, instance) in world.instances.iter().enumerate() {
            match instance.at {
                InstancePlace::Sent(_, ModelRecord::Started(_))
                    if self.setup.mistake == Some(PlantedMistake::CallsUnread) =>
                {
                    actions.push(WorldAction::Go(who));
                }
                InstancePlace::Idle | InstancePlace::Sent(..) => {}
                InstancePlace::Calling { acted, .. } => self.answers(world, who, acted, actions),
                InstancePlace::Querying => self.query_answers(world, who, actions),
                _ => actions.push(WorldAction::Go(who)),
            }
        }
        if self.setup.mistake != Some(PlantedMistake::NobodyRecovers)
            && idle
            && self.needs_recovery(world)
        {
            actions.push(WorldAction::RecoverEnding);
        }
    }

    /// Lists the possible answers to a call.
    fn answers(&self, world: &WorldState, who: usize, acted: bool, actions: &mut Vec<WorldAction>) {
        let key = self.key_of(world, who);
        let truth = key.and_then(|key| world.seen.truth[usize::from(key)]);
        let possible = |answer: &&ModelAnswer| match answer {
            ModelAnswer::Completed | ModelAnswer::Accepted | ModelAnswer::Unknown(true) => {
                truth.is_none_or(|truth| truth == ModelEventKind::Completed)
            }
            ModelAnswer::Declined => {
                !acted && truth.is_none_or(|truth| truth != ModelEventKind::Completed)
            }
            // A provider that acted does not deny it; under a key it may, to a repetition.
            ModelAnswer::Transient | ModelAnswer::Rejected | ModelAnswer::Unknown(false) => !acted,
        };
        actions.extend(
            self.setup
                .answers
                .iter()
                .filter(possible)
                .map(|answer| WorldAction::Answered(who, *answer)),
        );
    }

    pub fn key_of(&self, world: &WorldState, who: usize) -> Option<u8> {
        match world.instances[who].message?.kind {
            BrokerMessageKind::Command { step, key, .. } if self.setup.guard == ModelGuard::Key => {
                Some(key.unwrap_or(step.generation))
            }
            _ => None,
        }
    }

    /// Returns true if a message has waited for long enough. The claim that it waits for is over
    /// when its owner has died, or has ended its call, or has not begun it, and will not.
    fn is_due(&self, world: &WorldState, message: &BrokerMessage) -> bool {
        let BrokerMessageKind::Command { expired_claim: Some(claim), .. } = message.kind else {
            return true;
        };
        message.way != ArrivalWay::Lane
            || self.setup.guard != ModelGuard::Claim
            || self.setup.mistake == Some(PlantedMistake::TakesOverEarly)
            || !world.instances.iter().any(
                |other| matches!(other.at, InstancePlace::Calling { start, .. } if start == claim),
            )
    }

    /// Returns true if an end that needs no message waits to be published.
    fn needs_recovery(&self, world: &WorldState) -> bool {
        let view = self.ledger.lock().unwrap().view(world.case);
        view.ending.is_some()
            && view.unsettled.is_some_and(|(_, effects)| {
                let event = effects.event;
                let published = world.seen.published.contains(&event);
                let busy = |other: &ModelInstance| matches!(other.at, InstancePlace::Event { effects, .. } if effects.event == event);
                let found = self.setup.mistake != Some(PlantedMistake::RecoversCancelsAlone)
                    || event.what == ModelEventKind::Failed(ModelFailure::Cancelled);
                found && effects.continuation == ModelContinuation::Nothing && !published && !world.instances.iter().any(busy)
            })
    }

    /// Lists the actions that happen a limited number of times.
    pub fn chances(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        if world.faults > 0 {
            self.faults(world, actions);
        }
        if world.webhooks > 0 {
            self.webhooks(world, actions);
        }
        if world.unroutable > 0 {
            Self::unroutable_messages(world, actions);
        }
        let idle = world.instances.iter().any(|instance| instance.at == InstancePlace::Idle);
        if world.jobs > 0 && idle {
            for (place, message) in world.queue.iter().enumerate() {
                if let BrokerMessageKind::Dead { job: None, unknown, key, .. } = message.kind {
                    let safe = !unknown || (self.setup.guard == ModelGuard::Key && key.is_some());
                    let jobs = [
                        (OperatorJob::Replay, safe),
                        (OperatorJob::Force, unknown),
                        (OperatorJob::Discard, true),
                    ];
                    let jobs = jobs.into_iter().filter(|(_, possible)| *possible);
                    actions.extend(jobs.map(|(job, _)| WorldAction::Deliver(place, Some(job))));
                }
            }
        }
        if world.waits > 0 && idle {
            let commands = world.queue.iter().enumerate().filter(|(_, message)| {
                matches!(
                    message.kind,
                    BrokerMessageKind::Command { errand: MessageErrand::Call, .. }
                ) && message.way == ArrivalWay::Lane
                    && self.is_due(world, message)
            });
            actions.extend(commands.map(|(place, _)| WorldAction::Defer(place)));
        }
        if world.erasures > 0 && self.ledger.lock().unwrap().view(world.case).ending.is_some() {
            actions.push(WorldAction::Erase);
        }
        if self.setup.expires && !world.expired {
            actions.push(WorldAction::Expire);
        }
        let busy = |record: &ModelRecord| matches!(record, ModelRecord::Finished(finish) if finish.by == ModelDecider::Canceller);
        let is_ending = world.transit.iter().any(|(_, record)| busy(record));
        if self.setup.late
            && idle
            && !is_ending
            && self.ledger.lock().unwrap().view(world.case).is_cancel_request
        {
            actions.push(WorldAction::GiveUpWaiting);
        }
    }

    /// Returns true if the next step of an instance neither depends on others nor affects them:
    /// publishing (early is the worst case for a later end), acking, and following a ruling. A
    /// claimed call is excluded, because its time may run out.
    pub fn is_apart(&self, instance: &ModelInstance) -> bool {
        match instance.at {
            InstancePlace::Read(_, ModelRecord::Started(_), ruling) => {
                self.setup.guard != ModelGuard::Claim
                    || !matches!(
                        self.ledger.lock().unwrap().said(ruling),
                        ModelRuling::Counts { .. }
                    )
            }
            InstancePlace::Idle
            | InstancePlace::Sent(..)
            | InstancePlace::Calling { .. }
            | InstancePlace::Querying
            | InstancePlace::Read(_, ModelRecord::Replayed { .. }, _) => false,
            InstancePlace::Read(..)
            | InstancePlace::Event { .. }
            | InstancePlace::Carry { .. }
            | InstancePlace::Forward(_)
            | InstancePlace::Ack { .. } => true,
        }
    }

    fn webhooks(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        let declined = ModelEventKind::Failed(ModelFailure::Declined);
        if world.seen.acts > 0 {
            actions.push(WorldAction::Webhook(None, ModelEventKind::Completed));
        }
        let known = !world.seen.called.is_empty() || world.seen.keys.iter().any(Option::is_some);
        if known && (self.setup.contradicts || world.seen.truth.contains(&Some(declined))) {
            actions.push(WorldAction::Webhook(None, declined));
        }
        for (who, instance) in world.instances.iter().enumerate() {
            let key = self.key_of(world, who);
            let free = key.is_none_or(|key| world.seen.truth[usize::from(key)].is_none());
            if free && matches!(instance.at, InstancePlace::Calling { acted: false, .. }) {
                actions.push(WorldAction::Webhook(Some(who), ModelEventKind::Completed));
            }
        }
    }

    pub fn is_under_way(&self, world: &WorldState) -> bool {
        let mut actions = Vec::new();
        self.steps(world, &mut actions);
        world.seen.wrong != 0 || !actions.is_empty()
    }

    /// Returns true if the command has ended, its end is published, and a dead letter is there for
    /// an operator.
    pub fn is_over(&self, world: &WorldState) -> bool {
        let view = self.ledger.lock().unwrap().view(world.case);
        let dead = |message: &BrokerMessage| match message.kind {
            BrokerMessageKind::Dead { generation, .. } => generation == view.step.generation,
            _ => false,
        };
        (self.setup.refused == 0 || world.seen.published_refusal)
            && view.ending.is_some_and(|event| world.seen.published.contains(&event))
            && (!view.dead || world.queue.iter().any(dead))
    }
}
