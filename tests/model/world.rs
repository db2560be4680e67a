//! What there is in the model: messages, instances, records on their way, and what was seen so far.

use ferryd::domain::event::sequence;
use ferryd::domain::lifecycle::State;

use crate::ledger::{Effects, Errand, Guard, Id, Ledger, Rec, Step, Told, What};
use crate::refusal::REFUSAL;
use crate::stray::Way;

/// What an operator wants of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Job {
    Replay,
    Force,
    Discard,
}

/// A message of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A command, or a continuation of one.
    Command {
        step: Step,
        errand: Errand,
        recorded: bool,
        content: u8,
        unknown: bool,
        key: Option<u8>,
        waited_out: Option<Id>,
    },
    /// A dead letter; with the job that has begun on it.
    Dead { generation: u8, unknown: bool, key: Option<u8>, job: Option<Job> },
    /// A wish to cancel.
    Cancel,
    /// A late answer of the provider.
    Callback(What),
}

/// A message, and whether somebody had it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Message {
    pub kind: Kind,
    pub redelivered: bool,
    pub way: Way,
}

impl Message {
    /// A message that was just published.
    pub fn new(kind: Kind) -> Self {
        Self { kind, redelivered: false, way: Way::Lane }
    }
}

/// Where an instance is in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    Idle,
    /// It has appended a record and waits for reading it.
    Sent(Id, Rec),
    /// It has read the record, and not yet done what the ruling says.
    Read(Id, Rec, u16),
    /// The provider is being called; it may have acted by now.
    Calling {
        start: Id,
        unknown: bool,
        acted: bool,
    },
    /// The provider is being asked.
    Asking,
    /// It publishes the event, then the message that is carried on.
    Event {
        by: Option<Id>,
        effects: Effects,
    },
    Carry {
        by: Option<Id>,
        effects: Effects,
    },
    /// It sends the message on, changed.
    Forward(Kind),
    /// All is published.
    Ack {
        by: Option<Id>,
    },
}

/// An instance, at most one message at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    pub message: Option<Message>,
    /// Whether the broker still takes the message to be here.
    pub linked: bool,
    /// Whether more than half of the time for its claim has passed.
    pub late: bool,
    /// The step to which the ledger has put its message, whose own word for it does not do.
    pub placed: Option<Step>,
    pub at: At,
}

impl Instance {
    pub const IDLE: Self = Self { message: None, linked: false, late: false, placed: None, at: At::Idle };
}

/// What must not happen. Bits of [`Seen::wrong`].
pub mod wrong {
    pub const CALLED_TWICE: u16 = 1;
    pub const CALLED_AFTER_UNKNOWN: u16 = 2;
    pub const TWO_KEYS: u16 = 4;
    pub const TOLD_WITHOUT_RECORD: u16 = 8;
    pub const TWO_ENDS: u16 = 16;
    pub const TOLD_TOO_LATE: u16 = 32;
    pub const CALLED_AFTER_CANCEL: u16 = 64;
    pub const TWO_REPLAYS: u16 = 128;
    pub const ACTED_TWICE: u16 = 256;
    pub const DENIED: u16 = 512;
    pub const REFUSED_KNOWN: u16 = 1024;
}

/// How many generations a run can have.
pub const GENERATIONS: usize = 4;

/// What happened so far, as far as a property needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Seen {
    /// The steps that were called without a key.
    pub called: Vec<Step>,
    /// The generations in which a call without a key has an unknown end.
    pub lost: Vec<u8>,
    /// The key of each generation.
    pub keys: [Option<u8>; GENERATIONS],
    /// What the provider has done under each key.
    pub truth: [Option<What>; GENERATIONS],
    /// How often the provider acted.
    pub acts: u8,
    /// How often a named person took the risk of that.
    pub forced: u8,
    /// The generations that were replayed.
    pub replayed: Vec<u8>,
    /// The generations that have a final end.
    pub ended: Vec<u8>,
    /// The terminal events that count.
    pub counted: Vec<Told>,
    /// The terminal events that were published.
    pub told: Vec<Told>,
    /// The highest number a subscriber may have seen.
    pub highest: u64,
    pub cancelled: bool,
    /// Whether it was told that a message was refused, as that or as a conflict.
    pub told_refusal: bool,
    /// Whether the command has ended in a way that says that nothing was done.
    pub denied: bool,
    pub wrong: u16,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    /// The ledger: what its records, in their order, have come to.
    pub case: u16,
    /// What the ledger says of the message that was refused, under an id of its own.
    pub refusal: u16,
    /// Records on their way into it, in no order.
    pub transit: Vec<(Id, Rec)>,
    pub queue: Vec<Message>,
    pub instances: Vec<Instance>,
    pub seen: Seen,
    pub faults: u8,
    pub callbacks: u8,
    pub jobs: u8,
    pub waits: u8,
    pub strays: u8,
    pub erasures: u8,
    pub expired: bool,
}

/// The number of an event.
pub fn number(step: Step, state: State) -> u64 {
    sequence(step.generation.into(), step.attempt.into(), state)
}

fn note<T: Ord>(list: &mut Vec<T>, item: T) -> bool {
    match list.binary_search(&item) {
        Ok(_) => false,
        Err(place) => {
            list.insert(place, item);
            true
        }
    }
}

impl Seen {
    fn fail_if(&mut self, failed: bool, what: u16) {
        self.wrong |= if failed { what } else { 0 };
    }

    /// A call begins.
    pub fn call(&mut self, step: Step, guard: Guard, key: Option<u8>) {
        let generation = usize::from(step.generation);
        if guard == Guard::Claim {
            let lost = self.lost.contains(&step.generation);
            self.fail_if(lost, wrong::CALLED_AFTER_UNKNOWN);
            let first = note(&mut self.called, step);
            self.fail_if(!first, wrong::CALLED_TWICE);
        } else {
            let other = self.keys[generation].is_some_and(|known| Some(known) != key);
            self.fail_if(other, wrong::TWO_KEYS);
            self.keys[generation] = key;
        }
        self.fail_if(self.cancelled, wrong::CALLED_AFTER_CANCEL);
        self.highest = self.highest.max(number(step, State::Processing));
    }

    /// The provider acts, or says "no" for good.
    pub fn act(&mut self, key: Option<u8>, what: What) {
        let truth = key.map(|key| &mut self.truth[usize::from(key)]);
        let again = truth.as_ref().is_some_and(|truth| truth.is_some());
        if let Some(truth) = truth {
            *truth = Some(what);
        }
        if what == What::Completed && !again {
            self.acts += 1;
            // A person who sends again under a new key takes the risk that the earlier call acts yet.
            self.fail_if(self.denied && self.forced == 0, wrong::DENIED);
            self.fail_if(self.acts > 1 + self.forced, wrong::ACTED_TWICE);
        }
    }

    /// What became of a call without a key is not known.
    pub fn lose(&mut self, generation: u8) {
        note(&mut self.lost, generation);
    }

    /// The provider has said that nothing was done, and that counts.
    pub fn acquit(&mut self, generation: u8) {
        self.lost.retain(|lost| *lost != generation);
    }

    /// A decision counts.
    pub fn count(&mut self, event: Told) {
        if event.what.is_terminal() {
            self.fail_if(number(event.step, event.what.state()) <= self.highest, wrong::TOLD_TOO_LATE);
            note(&mut self.counted, event);
            self.denied = event.what.denies();
            self.fail_if(self.denied && self.acts > self.forced, wrong::DENIED);
        }
        if event.what.is_final() {
            let first = note(&mut self.ended, event.step.generation);
            self.fail_if(!first, wrong::TWO_ENDS);
        }
    }

    /// A replay counts.
    pub fn replay(&mut self, from: u8, forced: bool) {
        let first = note(&mut self.replayed, from);
        self.fail_if(!first, wrong::TWO_REPLAYS);
        self.forced += u8::from(forced);
        self.denied = false;
    }

    /// A message is refused. Whoever is refused under a command's id is told of a conflict instead.
    pub fn refuse(&mut self, is_known: bool) {
        self.fail_if(is_known, wrong::REFUSED_KNOWN);
    }

    /// An event is published.
    pub fn tell(&mut self, event: Told) {
        if event == REFUSAL && !self.counted.contains(&event) {
            // Its number is lower than any of a command's.
            self.told_refusal = true;
            return;
        }
        if !event.what.is_told() {
            return;
        }
        self.highest = self.highest.max(number(event.step, event.what.state()));
        if event.what.is_terminal() {
            let counted = self.counted.contains(&event);
            self.fail_if(!counted, wrong::TOLD_WITHOUT_RECORD);
            note(&mut self.told, event);
        }
    }
}

impl Rec {
    /// The record it refers to.
    fn refers(self) -> Option<Id> {
        match self {
            Self::Started(start) => start.waited_out,
            Self::Released(id) | Self::TakenOver(id) | Self::Settled(id) => Some(id),
            Self::Opened { .. }
            | Self::Finished(_)
            | Self::CancelWished
            | Self::Replayed { .. }
            | Self::Asked
            | Self::Refused
            | Self::Erased => None,
        }
    }
}

impl World {
    /// The least id that nothing refers to; 0 is for records that nothing will ever refer to.
    pub fn free_id(&self, ledger: &Ledger) -> Id {
        let mut used = ledger.view(self.case).ids | ledger.view(self.refusal).ids | 1;
        let mut mark = |id: Option<Id>| used |= id.map_or(0, |id| 1_u64 << id);
        for (id, record) in &self.transit {
            mark(Some(*id));
            mark(record.refers());
        }
        for message in &self.queue {
            mark(waited_out(message));
        }
        for instance in &self.instances {
            mark(instance.message.as_ref().and_then(waited_out));
            match instance.at {
                At::Sent(id, record) | At::Read(id, record, _) => {
                    mark(Some(id));
                    mark(record.refers());
                }
                At::Calling { start, .. } => mark(Some(start)),
                At::Event { by, .. } | At::Carry { by, .. } | At::Ack { by } => mark(by),
                At::Forward(kind) => mark(waited_out(&Message::new(kind))),
                At::Idle | At::Asking => {}
            }
        }
        Id::try_from(used.trailing_ones()).unwrap()
    }

    /// Instances and messages have no order: one order stands for all.
    pub fn in_order(mut self, ledger: &Ledger) -> Self {
        let unsettled = ledger.view(self.case).unsettled.map(|(by, _)| by);
        // A `settled` that comes too late for anything.
        self.transit.retain(|(_, record)| !matches!(record, Rec::Settled(id) if unsettled != Some(*id)));
        self.transit.sort_unstable();
        self.transit.dedup();
        self.queue.sort_unstable();
        self.instances.sort_unstable();
        self
    }
}

fn waited_out(message: &Message) -> Option<Id> {
    match message.kind {
        Kind::Command { waited_out, .. } => waited_out,
        _ => None,
    }
}
