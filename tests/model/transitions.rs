//! The results of the actions in a world of the model.

use crate::holder::InstanceStep;
use crate::ledger::{
    ModelContinuation, ModelDecider, ModelEventKind, ModelFailure, ModelLedger, ModelRecord,
    ModelRuling,
};
use crate::moves::WorldAction;
use crate::search::SearchProtocol;
use crate::setup::PlantedMistake;
use crate::unroutable::ArrivalWay;
use crate::world::{
    BrokerMessage, BrokerMessageKind, InstancePlace, ModelInstance, OperatorJob, WorldState,
};

impl SearchProtocol {
    pub fn apply(&self, ledger: &mut ModelLedger, world: &mut WorldState, action: WorldAction) {
        match action {
            WorldAction::Deliver(place, job) => self.deliver(ledger, world, place, job),
            WorldAction::Defer(place) => {
                world.waits -= 1;
                let (message, who) = (world.queue.remove(place), idle(world));
                InstanceStep { setup: &self.setup, ledger, world, who }.defer(message);
            }
            WorldAction::Land(place) => land(ledger, world, place),
            WorldAction::Go(who) => self.go(ledger, world, who),
            WorldAction::Answered(who, answer) => {
                let InstancePlace::Calling { unknown, acted, .. } = world.instances[who].at else {
                    return;
                };
                InstanceStep { setup: &self.setup, ledger, world, who }
                    .answered(unknown, acted, answer);
            }
            WorldAction::QueryAnswered(who, answer) => {
                InstanceStep { setup: &self.setup, ledger, world, who }.query_answered(answer);
            }
            WorldAction::RecoverEnding => {
                let Some((by, effects)) = ledger.view(world.case).unsettled else { return };
                let who = idle(world);
                world.instances[who].at = InstancePlace::Event { by: Some(by), effects };
            }
            WorldAction::Crash(who, what) => self.crash(world, who, what),
            WorldAction::Unlink(who) => {
                world.faults -= 1;
                world.instances[who].linked = false;
                world.queue.extend(
                    world.instances[who]
                        .message
                        .map(|message| BrokerMessage { redelivered: true, ..message }),
                );
            }
            WorldAction::Copy(place) => {
                world.faults -= 1;
                world.queue.push(BrokerMessage { redelivered: false, ..world.queue[place] });
            }
            WorldAction::Webhook(who, what) => self.call_back(world, who, what),
            WorldAction::Expire => world.expired = true,
            WorldAction::Stray(place, way) => Self::unroutable_message(world, place, way),
            WorldAction::Erase => {
                world.erasures -= 1;
                world.transit.push((0, ModelRecord::Erased));
            }
            WorldAction::GiveUpWaiting => {
                let who = idle(world);
                let mut turn = InstanceStep { setup: &self.setup, ledger, world, who };
                turn.decide_beside(
                    ModelDecider::Canceller,
                    ModelEventKind::Failed(ModelFailure::Cancelled),
                );
            }
        }
    }

    fn call_back(&self, world: &mut WorldState, who: Option<usize>, what: ModelEventKind) {
        world.webhooks -= 1;
        if let Some(who) = who {
            world.seen.act(self.key_of(world, who), what);
            if let InstancePlace::Calling { acted, .. } = &mut world.instances[who].at {
                *acted = true;
            }
        }
        world.queue.push(BrokerMessage::new(BrokerMessageKind::Webhook(what)));
    }

    fn deliver(
        &self,
        ledger: &mut ModelLedger,
        world: &mut WorldState,
        place: usize,
        chosen: Option<OperatorJob>,
    ) {
        let mut message = world.queue.remove(place);
        match &mut message.kind {
            BrokerMessageKind::Dead { job, .. } => {
                world.jobs -= u8::from(job.is_none());
                *job = chosen;
            }
            BrokerMessageKind::Command { expired_claim: Some(claim), .. }
                if message.way == ArrivalWay::Lane
                    && self.setup.mistake != Some(PlantedMistake::TakesOverEarly) =>
            {
                for other in &mut world.instances {
                    other.late |= matches!(other.at, InstancePlace::Sent(id, ModelRecord::Started(_)) | InstancePlace::Read(id, ModelRecord::Started(_), _) if id == *claim);
                }
            }
            _ => {}
        }
        let who = idle(world);
        InstanceStep { setup: &self.setup, ledger, world, who }.take(message);
    }

    fn go(&self, ledger: &mut ModelLedger, world: &mut WorldState, who: usize) {
        let instance = world.instances[who];
        match instance.at {
            InstancePlace::Read(id, record, ruling) => {
                InstanceStep { setup: &self.setup, ledger, world, who }.read(id, record, ruling);
            }
            // Only by mistake: the ruling is not known yet.
            InstancePlace::Sent(id, _) => {
                InstanceStep { setup: &self.setup, ledger, world, who }.call(id, false);
            }
            InstancePlace::Event { by, effects } => {
                world.seen.publish(effects.event);
                world.instances[who].at = match effects.continuation {
                    ModelContinuation::Nothing => InstancePlace::Ack { by },
                    _ => InstancePlace::Carry { by, effects },
                };
            }
            InstancePlace::Carry { by, effects } => {
                world.queue.extend(message_of(effects.continuation, instance.message));
                world.instances[who].at = InstancePlace::Ack { by };
            }
            InstancePlace::Forward(kind) => {
                world.queue.push(BrokerMessage::new(kind));
                world.instances[who].at = InstancePlace::Ack { by: None };
            }
            InstancePlace::Ack { by } => {
                world.transit.extend(by.map(|by| (0, ModelRecord::Settled(by))));
                world.instances[who] = ModelInstance::IDLE;
            }
            InstancePlace::Idle | InstancePlace::Calling { .. } | InstancePlace::Querying => {}
        }
    }
}

fn idle(world: &WorldState) -> usize {
    world.instances.iter().position(|instance| instance.at == InstancePlace::Idle).unwrap()
}

/// Adds a record to the ledger, and lets the instance that waits for it read it.
fn land(ledger: &mut ModelLedger, world: &mut WorldState, place: usize) {
    let (id, record) = world.transit.remove(place);
    let slot = if record == ModelRecord::Refused { &mut world.refusal } else { &mut world.case };
    let (case, ruling) = ledger.rule(*slot, id, record);
    *slot = case;
    if let ModelRuling::Counts { .. } = ledger.said(ruling) {
        match record {
            ModelRecord::Finished(finish) => {
                if finish.absent {
                    world.seen.acquit(finish.step.generation);
                }
                world.seen.count(finish.effects.event);
                world.seen.cancelled |=
                    finish.effects.event.what == ModelEventKind::Failed(ModelFailure::Cancelled);
            }
            ModelRecord::Replayed { from, forced, .. } => world.seen.replay(from, forced),
            _ => {}
        }
    }
    for instance in &mut world.instances {
        if instance.at == InstancePlace::Sent(id, record) {
            instance.at = InstancePlace::Read(id, record, ruling);
        }
    }
}

/// Returns the message that is sent on, as the broker has it.
fn message_of(
    continuation: ModelContinuation,
    held: Option<BrokerMessage>,
) -> Option<BrokerMessage> {
    let content = match held.map(|message| message.kind) {
        Some(BrokerMessageKind::Command { content, .. }) => content,
        _ => 0,
    };
    let kind = match continuation {
        ModelContinuation::Nothing => return None,
        ModelContinuation::Next { step, errand, unknown, key } => BrokerMessageKind::Command {
            step,
            errand,
            recorded: true,
            content,
            unknown,
            key,
            expired_claim: None,
        },
        ModelContinuation::Dead { generation, unknown, key } => {
            BrokerMessageKind::Dead { generation, unknown, key, job: None }
        }
    };
    Some(BrokerMessage::new(kind))
}
