//! The transitions of the model: the possible actions in a world, and their results.

use crate::Mistake;
use crate::holder::{Answer, Turn};
use crate::inquiry::Heard;
use crate::ledger::{By, Carried, Errand, Failed, Guard, Ledger, Rec, Said, What};
use crate::search::Protocol;
use crate::stray::Way;
use crate::world::{At, Instance, Job, Kind, Message, World};

/// An action in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A message is delivered; a dead letter to an operator with that job.
    Deliver(usize, Option<Job>),
    /// A command is delivered, and its provider is busy.
    Defer(usize),
    /// A record arrives in the ledger.
    Land(usize),
    /// An instance takes its next step.
    Go(usize),
    /// A call ends.
    Answered(usize, Answer),
    /// The search for unpublished ends finds one.
    Sweep,
    /// An instance dies: with what it has sent, or without; its call acted or not.
    Crash(usize, bool),
    /// The broker takes a message back whose holder goes on.
    Unlink(usize),
    /// The broker makes a copy of a message.
    Copy(usize),
    /// The provider answers a query.
    Heard(usize, Heard),
    /// A webhook of the provider arrives, during a call or after it.
    Callback(Option<usize>, What),
    /// The command expires.
    Expire,
    /// A message arrives another way than by its lane.
    Stray(usize, Way),
    /// A command with a request to cancel it has not arrived in time.
    GiveUpWaiting,
    /// A person has an ended command erased.
    Erase,
}

impl Protocol {
    /// Lists the actions that happen by themselves, sooner or later.
    pub fn steps(&self, world: &World, actions: &mut Vec<Action>) {
        let idle = world.instances.iter().any(|instance| instance.at == At::Idle);
        for (place, message) in world.queue.iter().enumerate().filter(|_| idle) {
            match message.kind {
                Kind::Dead { job: None, .. } => {}
                Kind::Dead { job, .. } => actions.push(Action::Deliver(place, job)),
                _ if self.is_due(world, message) => actions.push(Action::Deliver(place, None)),
                _ => {}
            }
        }
        actions.extend((0..world.transit.len()).map(Action::Land));
        for (who, instance) in world.instances.iter().enumerate() {
            match instance.at {
                At::Sent(_, Rec::Started(_)) if self.setup.mistake == Some(Mistake::CallsUnread) => {
                    actions.push(Action::Go(who));
                }
                At::Idle | At::Sent(..) => {}
                At::Calling { acted, .. } => self.answers(world, who, acted, actions),
                At::Asking => self.words(world, who, actions),
                _ => actions.push(Action::Go(who)),
            }
        }
        if self.setup.mistake != Some(Mistake::NobodySweeps) && idle && self.is_to_sweep(world) {
            actions.push(Action::Sweep);
        }
    }

    /// Lists the possible answers to a call.
    fn answers(&self, world: &World, who: usize, acted: bool, actions: &mut Vec<Action>) {
        let key = self.key_of(world, who);
        let truth = key.and_then(|key| world.seen.truth[usize::from(key)]);
        let possible = |answer: &&Answer| match answer {
            Answer::Completed | Answer::Accepted | Answer::Unknown(true) => {
                truth.is_none_or(|truth| truth == What::Completed)
            }
            Answer::Declined => !acted && truth.is_none_or(|truth| truth != What::Completed),
            // A provider that acted does not deny it; under a key it may, to a repetition.
            Answer::Transient | Answer::Rejected | Answer::Unknown(false) => !acted,
        };
        actions.extend(self.setup.answers.iter().filter(possible).map(|answer| Action::Answered(who, *answer)));
    }

    pub fn key_of(&self, world: &World, who: usize) -> Option<u8> {
        match world.instances[who].message?.kind {
            Kind::Command { step, key, .. } if self.setup.guard == Guard::Key => Some(key.unwrap_or(step.generation)),
            _ => None,
        }
    }

    /// Returns true if a message has waited for long enough. The claim that it waits for is over
    /// when its owner has died, or has ended its call, or has not begun it, and will not.
    fn is_due(&self, world: &World, message: &Message) -> bool {
        let Kind::Command { waited_out: Some(claim), .. } = message.kind else { return true };
        message.way != Way::Lane
            || self.setup.guard != Guard::Claim
            || self.setup.mistake == Some(Mistake::TakesOverEarly)
            || !world.instances.iter().any(|other| matches!(other.at, At::Calling { start, .. } if start == claim))
    }

    /// Returns true if an end that needs no message waits to be published.
    fn is_to_sweep(&self, world: &World) -> bool {
        let view = self.ledger.lock().unwrap().view(world.case);
        view.ending.is_some()
            && view.unsettled.is_some_and(|(_, effects)| {
                let event = effects.event;
                let published = world.seen.told.contains(&event);
                let busy = |other: &Instance| matches!(other.at, At::Event { effects, .. } if effects.event == event);
                let found = self.setup.mistake != Some(Mistake::SweepsCancelsAlone)
                    || event.what == What::Failed(Failed::Cancelled);
                found && effects.carried == Carried::Nothing && !published && !world.instances.iter().any(busy)
            })
    }

    /// Lists the actions that happen a limited number of times.
    pub fn chances(&self, world: &World, actions: &mut Vec<Action>) {
        if world.faults > 0 {
            self.faults(world, actions);
        }
        if world.callbacks > 0 {
            self.callbacks(world, actions);
        }
        if world.strays > 0 {
            Self::strays(world, actions);
        }
        let idle = world.instances.iter().any(|instance| instance.at == At::Idle);
        if world.jobs > 0 && idle {
            for (place, message) in world.queue.iter().enumerate() {
                if let Kind::Dead { job: None, unknown, key, .. } = message.kind {
                    let safe = !unknown || (self.setup.guard == Guard::Key && key.is_some());
                    let jobs = [(Job::Replay, safe), (Job::Force, unknown), (Job::Discard, true)];
                    let jobs = jobs.into_iter().filter(|(_, possible)| *possible);
                    actions.extend(jobs.map(|(job, _)| Action::Deliver(place, Some(job))));
                }
            }
        }
        if world.waits > 0 && idle {
            let commands = world.queue.iter().enumerate().filter(|(_, message)| {
                matches!(message.kind, Kind::Command { errand: Errand::Call, .. })
                    && message.way == Way::Lane
                    && self.is_due(world, message)
            });
            actions.extend(commands.map(|(place, _)| Action::Defer(place)));
        }
        if world.erasures > 0 && self.ledger.lock().unwrap().view(world.case).ending.is_some() {
            actions.push(Action::Erase);
        }
        if self.setup.expires && !world.expired {
            actions.push(Action::Expire);
        }
        let busy = |record: &Rec| matches!(record, Rec::Finished(finish) if finish.by == By::Canceller);
        let is_ending = world.transit.iter().any(|(_, record)| busy(record));
        if self.setup.late && idle && !is_ending && self.ledger.lock().unwrap().view(world.case).is_cancel_request {
            actions.push(Action::GiveUpWaiting);
        }
    }

    /// Returns true if the next step of an instance neither depends on others nor affects them:
    /// publishing (early is the worst case for a later end), acking, and following a ruling. A
    /// claimed call is excluded, because its time may run out.
    pub fn is_apart(&self, instance: &Instance) -> bool {
        match instance.at {
            At::Read(_, Rec::Started(_), ruling) => {
                self.setup.guard != Guard::Claim
                    || !matches!(self.ledger.lock().unwrap().said(ruling), Said::Counts { .. })
            }
            At::Idle | At::Sent(..) | At::Calling { .. } | At::Asking | At::Read(_, Rec::Replayed { .. }, _) => false,
            At::Read(..) | At::Event { .. } | At::Carry { .. } | At::Forward(_) | At::Ack { .. } => true,
        }
    }

    fn callbacks(&self, world: &World, actions: &mut Vec<Action>) {
        let declined = What::Failed(Failed::Declined);
        if world.seen.acts > 0 {
            actions.push(Action::Callback(None, What::Completed));
        }
        let known = !world.seen.called.is_empty() || world.seen.keys.iter().any(Option::is_some);
        if known && (self.setup.contradicts || world.seen.truth.contains(&Some(declined))) {
            actions.push(Action::Callback(None, declined));
        }
        for (who, instance) in world.instances.iter().enumerate() {
            let key = self.key_of(world, who);
            let free = key.is_none_or(|key| world.seen.truth[usize::from(key)].is_none());
            if free && matches!(instance.at, At::Calling { acted: false, .. }) {
                actions.push(Action::Callback(Some(who), What::Completed));
            }
        }
    }

    pub fn is_under_way(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        self.steps(world, &mut actions);
        world.seen.wrong != 0 || !actions.is_empty()
    }

    /// Returns true if the command has ended, its end is published, and a dead letter is there for
    /// an operator.
    pub fn is_over(&self, world: &World) -> bool {
        let view = self.ledger.lock().unwrap().view(world.case);
        let dead = |message: &Message| match message.kind {
            Kind::Dead { generation, .. } => generation == view.step.generation,
            _ => false,
        };
        (self.setup.refused == 0 || world.seen.told_refusal)
            && view.ending.is_some_and(|event| world.seen.told.contains(&event))
            && (!view.dead || world.queue.iter().any(dead))
    }

    pub fn apply(&self, ledger: &mut Ledger, world: &mut World, action: Action) {
        match action {
            Action::Deliver(place, job) => self.deliver(ledger, world, place, job),
            Action::Defer(place) => {
                world.waits -= 1;
                let (message, who) = (world.queue.remove(place), idle(world));
                Turn { setup: &self.setup, ledger, world, who }.defer(message);
            }
            Action::Land(place) => land(ledger, world, place),
            Action::Go(who) => self.go(ledger, world, who),
            Action::Answered(who, answer) => {
                let At::Calling { unknown, acted, .. } = world.instances[who].at else { return };
                Turn { setup: &self.setup, ledger, world, who }.answered(unknown, acted, answer);
            }
            Action::Heard(who, heard) => Turn { setup: &self.setup, ledger, world, who }.heard(heard),
            Action::Sweep => {
                let Some((by, effects)) = ledger.view(world.case).unsettled else { return };
                let who = idle(world);
                world.instances[who].at = At::Event { by: Some(by), effects };
            }
            Action::Crash(who, what) => self.crash(world, who, what),
            Action::Unlink(who) => {
                world.faults -= 1;
                world.instances[who].linked = false;
                world
                    .queue
                    .extend(world.instances[who].message.map(|message| Message { redelivered: true, ..message }));
            }
            Action::Copy(place) => {
                world.faults -= 1;
                world.queue.push(Message { redelivered: false, ..world.queue[place] });
            }
            Action::Callback(who, what) => self.call_back(world, who, what),
            Action::Expire => world.expired = true,
            Action::Stray(place, way) => Self::stray(world, place, way),
            Action::Erase => {
                world.erasures -= 1;
                world.transit.push((0, Rec::Erased));
            }
            Action::GiveUpWaiting => {
                let who = idle(world);
                let mut turn = Turn { setup: &self.setup, ledger, world, who };
                turn.decide_beside(By::Canceller, What::Failed(Failed::Cancelled));
            }
        }
    }

    fn call_back(&self, world: &mut World, who: Option<usize>, what: What) {
        world.callbacks -= 1;
        if let Some(who) = who {
            world.seen.act(self.key_of(world, who), what);
            if let At::Calling { acted, .. } = &mut world.instances[who].at {
                *acted = true;
            }
        }
        world.queue.push(Message::new(Kind::Callback(what)));
    }

    fn deliver(&self, ledger: &mut Ledger, world: &mut World, place: usize, chosen: Option<Job>) {
        let mut message = world.queue.remove(place);
        match &mut message.kind {
            Kind::Dead { job, .. } => {
                world.jobs -= u8::from(job.is_none());
                *job = chosen;
            }
            Kind::Command { waited_out: Some(claim), .. }
                if message.way == Way::Lane && self.setup.mistake != Some(Mistake::TakesOverEarly) =>
            {
                for other in &mut world.instances {
                    other.late |= matches!(other.at, At::Sent(id, Rec::Started(_)) | At::Read(id, Rec::Started(_), _) if id == *claim);
                }
            }
            _ => {}
        }
        let who = idle(world);
        Turn { setup: &self.setup, ledger, world, who }.take(message);
    }

    fn go(&self, ledger: &mut Ledger, world: &mut World, who: usize) {
        let instance = world.instances[who];
        match instance.at {
            At::Read(id, record, ruling) => Turn { setup: &self.setup, ledger, world, who }.read(id, record, ruling),
            // Only by mistake: the ruling is not known yet.
            At::Sent(id, _) => Turn { setup: &self.setup, ledger, world, who }.call(id, false),
            At::Event { by, effects } => {
                world.seen.tell(effects.event);
                world.instances[who].at = match effects.carried {
                    Carried::Nothing => At::Ack { by },
                    _ => At::Carry { by, effects },
                };
            }
            At::Carry { by, effects } => {
                world.queue.extend(message_of(effects.carried, instance.message));
                world.instances[who].at = At::Ack { by };
            }
            At::Forward(kind) => {
                world.queue.push(Message::new(kind));
                world.instances[who].at = At::Ack { by: None };
            }
            At::Ack { by } => {
                world.transit.extend(by.map(|by| (0, Rec::Settled(by))));
                world.instances[who] = Instance::IDLE;
            }
            At::Idle | At::Calling { .. } | At::Asking => {}
        }
    }
}

fn idle(world: &World) -> usize {
    world.instances.iter().position(|instance| instance.at == At::Idle).unwrap()
}

/// Adds a record to the ledger, and lets the instance that waits for it read it.
fn land(ledger: &mut Ledger, world: &mut World, place: usize) {
    let (id, record) = world.transit.remove(place);
    let slot = if record == Rec::Refused { &mut world.refusal } else { &mut world.case };
    let (case, ruling) = ledger.rule(*slot, id, record);
    *slot = case;
    if let Said::Counts { .. } = ledger.said(ruling) {
        match record {
            Rec::Finished(finish) => {
                if finish.absent {
                    world.seen.acquit(finish.step.generation);
                }
                world.seen.count(finish.effects.event);
                world.seen.cancelled |= finish.effects.event.what == What::Failed(Failed::Cancelled);
            }
            Rec::Replayed { from, forced, .. } => world.seen.replay(from, forced),
            _ => {}
        }
    }
    for instance in &mut world.instances {
        if instance.at == At::Sent(id, record) {
            instance.at = At::Read(id, record, ruling);
        }
    }
}

/// Returns the message that is sent on, as the broker has it.
fn message_of(carried: Carried, held: Option<Message>) -> Option<Message> {
    let content = match held.map(|message| message.kind) {
        Some(Kind::Command { content, .. }) => content,
        _ => 0,
    };
    let kind = match carried {
        Carried::Nothing => return None,
        Carried::Next { step, errand, unknown, key } => {
            Kind::Command { step, errand, recorded: true, content, unknown, key, waited_out: None }
        }
        Carried::Dead { generation, unknown, key } => Kind::Dead { generation, unknown, key, job: None },
    };
    Some(Message::new(kind))
}
