//! The faults of the model: crashes, lost links and copies made by the broker.

use crate::ledger::ModelEventKind;
use crate::moves::WorldAction;
use crate::search::SearchProtocol;
use crate::world::{
    BrokerMessage, BrokerMessageKind, InstancePlace, ModelInstance, OperatorJob, WorldState,
};

impl SearchProtocol {
    pub fn faults(&self, world: &WorldState, actions: &mut Vec<WorldAction>) {
        for who in 0..world.instances.len() {
            self.instance_faults(world, who, actions);
        }
        for (place, message) in world.queue.iter().enumerate() {
            if !matches!(message.kind, BrokerMessageKind::Dead { .. }) {
                actions.push(WorldAction::Copy(place));
            }
        }
    }

    pub fn instance_faults(&self, world: &WorldState, who: usize, actions: &mut Vec<WorldAction>) {
        let instance = &world.instances[who];
        match instance.at {
            InstancePlace::Idle => {}
            InstancePlace::Sent(..) => {
                actions.extend([WorldAction::Crash(who, true), WorldAction::Crash(who, false)]);
            }
            InstancePlace::Calling { acted, .. } => {
                let key = self.key_of(world, who);
                let truth = key.and_then(|key| world.seen.truth[usize::from(key)]);
                actions.push(WorldAction::Crash(who, false));
                if !acted && truth.is_none() {
                    actions.push(WorldAction::Crash(who, true));
                }
            }
            _ => actions.push(WorldAction::Crash(who, false)),
        }
        if instance.linked && instance.at != InstancePlace::Idle {
            actions.push(WorldAction::Unlink(who));
        }
    }

    pub fn crash(&self, world: &mut WorldState, who: usize, what: bool) {
        world.faults -= 1;
        let instance = world.instances[who];
        match instance.at {
            InstancePlace::Sent(id, _) if what => world.transit.retain(|(other, _)| *other != id),
            InstancePlace::Calling { .. } => {
                let key = self.key_of(world, who);
                if what {
                    world.seen.act(key, ModelEventKind::Completed);
                }
                if let (None, Some(BrokerMessageKind::Command { step, .. })) =
                    (key, instance.message.map(|message| message.kind))
                {
                    world.seen.lose(step.generation);
                }
            }
            _ => {}
        }
        let back = instance.message.filter(|_| instance.linked);
        world.queue.extend(back.map(|message| BrokerMessage {
            redelivered: true,
            kind: forgotten(message.kind),
            ..message
        }));
        world.instances[who] = ModelInstance::IDLE;
    }
}

/// Drops an operator's interrupted job on a dead letter, because it need not be repeated. A replay
/// that was begun has to be repeated: there is no other message of the command.
fn forgotten(kind: BrokerMessageKind) -> BrokerMessageKind {
    match kind {
        BrokerMessageKind::Dead { generation, unknown, key, job: Some(OperatorJob::Discard) } => {
            BrokerMessageKind::Dead { generation, unknown, key, job: None }
        }
        kind => kind,
    }
}
