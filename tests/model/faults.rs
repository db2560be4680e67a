//! The faults of the model: crashes, lost links and copies made by the broker.

use crate::ledger::What;
use crate::moves::Action;
use crate::search::Protocol;
use crate::world::{At, Instance, Job, Kind, Message, World};

impl Protocol {
    pub fn faults(&self, world: &World, actions: &mut Vec<Action>) {
        for who in 0..world.instances.len() {
            self.instance_faults(world, who, actions);
        }
        for (place, message) in world.queue.iter().enumerate() {
            if !matches!(message.kind, Kind::Dead { .. }) {
                actions.push(Action::Copy(place));
            }
        }
    }

    pub fn instance_faults(&self, world: &World, who: usize, actions: &mut Vec<Action>) {
        let instance = &world.instances[who];
        match instance.at {
            At::Idle => {}
            At::Sent(..) => actions.extend([Action::Crash(who, true), Action::Crash(who, false)]),
            At::Calling { acted, .. } => {
                let key = self.key_of(world, who);
                let truth = key.and_then(|key| world.seen.truth[usize::from(key)]);
                actions.push(Action::Crash(who, false));
                if !acted && truth.is_none() {
                    actions.push(Action::Crash(who, true));
                }
            }
            _ => actions.push(Action::Crash(who, false)),
        }
        if instance.linked && instance.at != At::Idle {
            actions.push(Action::Unlink(who));
        }
    }

    pub fn crash(&self, world: &mut World, who: usize, what: bool) {
        world.faults -= 1;
        let instance = world.instances[who];
        match instance.at {
            At::Sent(id, _) if what => world.transit.retain(|(other, _)| *other != id),
            At::Calling { .. } => {
                let key = self.key_of(world, who);
                if what {
                    world.seen.act(key, What::Completed);
                }
                if let (None, Some(Kind::Command { step, .. })) = (key, instance.message.map(|message| message.kind)) {
                    world.seen.lose(step.generation);
                }
            }
            _ => {}
        }
        let back = instance.message.filter(|_| instance.linked);
        world.queue.extend(back.map(|message| Message { redelivered: true, kind: forgotten(message.kind), ..message }));
        world.instances[who] = Instance::IDLE;
    }
}

/// Drops an operator's interrupted job on a dead letter, because it need not be repeated. A replay
/// that was begun has to be repeated: there is no other message of the command.
fn forgotten(kind: Kind) -> Kind {
    match kind {
        Kind::Dead { generation, unknown, key, job: Some(Job::Discard) } => {
            Kind::Dead { generation, unknown, key, job: None }
        }
        kind => kind,
    }
}
