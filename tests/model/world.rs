//! A state of the model: messages, instances, records on their way, and the history so far.

use ferryd_domain::event::sequence;
use ferryd_domain::lifecycle::LifecycleState;

use crate::ledger::{
    MessageErrand, ModelEffects, ModelEvent, ModelEventKind, ModelGuard, ModelLedger, ModelRecord,
    ModelStep, RecordKey,
};
use crate::refusal::REFUSAL;
use crate::unroutable::ArrivalWay;

/// The action of an operator on a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorJob {
    Replay,
    Force,
    Discard,
}

/// The kind of a message at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BrokerMessageKind {
    /// A command, or a continuation of one.
    Command {
        step: ModelStep,
        errand: MessageErrand,
        recorded: bool,
        content: u8,
        unknown: bool,
        key: Option<u8>,
        expired_claim: Option<RecordKey>,
    },
    /// A dead letter; with the job that has begun on it.
    Dead { generation: u8, unknown: bool, key: Option<u8>, job: Option<OperatorJob> },
    /// A request to cancel.
    Cancel,
    /// A late answer of the provider, by a webhook.
    Webhook(ModelEventKind),
}

/// A message, with a mark if it was delivered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerMessage {
    pub kind: BrokerMessageKind,
    pub redelivered: bool,
    pub way: ArrivalWay,
}

impl BrokerMessage {
    /// A message that was just published.
    pub fn new(kind: BrokerMessageKind) -> Self {
        Self { kind, redelivered: false, way: ArrivalWay::Lane }
    }
}

/// The place of an instance in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstancePlace {
    Idle,
    /// The instance has appended a record and waits to read it.
    Sent(RecordKey, ModelRecord),
    /// The instance has read the record, and not yet acted on the ruling.
    Read(RecordKey, ModelRecord, u16),
    /// The provider is being called; it may have acted by now.
    Calling {
        start: RecordKey,
        unknown: bool,
        acted: bool,
    },
    /// The provider is being queried.
    Querying,
    /// The instance publishes the event, then the message that is sent on.
    Event {
        by: Option<RecordKey>,
        effects: ModelEffects,
    },
    Carry {
        by: Option<RecordKey>,
        effects: ModelEffects,
    },
    /// The instance sends the message on, changed.
    Forward(BrokerMessageKind),
    /// Everything is published.
    Ack {
        by: Option<RecordKey>,
    },
}

/// An instance, at most one message at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelInstance {
    pub message: Option<BrokerMessage>,
    /// True if the broker still counts the message as delivered to this instance.
    pub linked: bool,
    /// True if more than half of the time for the instance's claim has passed.
    pub late: bool,
    /// The step that the ledger has found for a message whose own headers are not reliable.
    pub placed: Option<ModelStep>,
    pub at: InstancePlace,
}

impl ModelInstance {
    pub const IDLE: Self =
        Self { message: None, linked: false, late: false, placed: None, at: InstancePlace::Idle };
}

/// The violations of properties, as bits of [`SeenHistory::wrong`].
pub mod wrong {
    pub const CALLED_TWICE: u16 = 1;
    pub const CALLED_AFTER_UNKNOWN: u16 = 2;
    pub const TWO_KEYS: u16 = 4;
    pub const PUBLISHED_WITHOUT_RECORD: u16 = 8;
    pub const TWO_ENDS: u16 = 16;
    pub const PUBLISHED_TOO_LATE: u16 = 32;
    pub const CALLED_AFTER_CANCEL: u16 = 64;
    pub const TWO_REPLAYS: u16 = 128;
    pub const ACTED_TWICE: u16 = 256;
    pub const DENIED: u16 = 512;
    pub const REFUSED_KNOWN: u16 = 1024;
}

/// The maximum number of generations of a run.
pub const GENERATIONS: usize = 4;

/// The history so far, as far as a property needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SeenHistory {
    /// The steps that were called without a key.
    pub called: Vec<ModelStep>,
    /// The generations in which a call without a key has an unknown end.
    pub lost: Vec<u8>,
    /// The key of each generation.
    pub keys: [Option<u8>; GENERATIONS],
    /// The provider's action under each key.
    pub truth: [Option<ModelEventKind>; GENERATIONS],
    /// The number of times that the provider acted.
    pub acts: u8,
    /// The number of times that a named person took the risk of acting twice.
    pub forced: u8,
    /// The generations that were replayed.
    pub replayed: Vec<u8>,
    /// The generations that have a final end.
    pub ended: Vec<u8>,
    /// The terminal events that count.
    pub counted: Vec<ModelEvent>,
    /// The terminal events that were published.
    pub published: Vec<ModelEvent>,
    /// The highest number that a subscriber may have seen.
    pub highest: u64,
    pub cancelled: bool,
    /// True if the refusal of a message was published, as a refusal or as a conflict.
    pub published_refusal: bool,
    /// True if the command has ended in a way that denies that anything was done.
    pub denied: bool,
    pub wrong: u16,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorldState {
    /// The number of the command's state in the ledger.
    pub case: u16,
    /// The number of the refused message's state in the ledger, under an id of its own.
    pub refusal: u16,
    /// Records on their way into the ledger, in no order.
    pub transit: Vec<(RecordKey, ModelRecord)>,
    pub queue: Vec<BrokerMessage>,
    pub instances: Vec<ModelInstance>,
    pub seen: SeenHistory,
    pub faults: u8,
    pub webhooks: u8,
    pub jobs: u8,
    pub waits: u8,
    pub unroutable: u8,
    pub erasures: u8,
    pub expired: bool,
}

/// Returns the sequence number of an event.
pub fn number(step: ModelStep, state: LifecycleState) -> u64 {
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

impl SeenHistory {
    fn fail_if(&mut self, failed: bool, what: u16) {
        self.wrong |= if failed { what } else { 0 };
    }

    /// Records that a call begins.
    pub fn call(&mut self, step: ModelStep, guard: ModelGuard, key: Option<u8>) {
        let generation = usize::from(step.generation);
        if guard == ModelGuard::Claim {
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
        self.highest = self.highest.max(number(step, LifecycleState::Processing));
    }

    /// Records that the provider acts, or declines for good.
    pub fn act(&mut self, key: Option<u8>, what: ModelEventKind) {
        let truth = key.map(|key| &mut self.truth[usize::from(key)]);
        let again = truth.as_ref().is_some_and(|truth| truth.is_some());
        if let Some(truth) = truth {
            *truth = Some(what);
        }
        if what == ModelEventKind::Completed && !again {
            self.acts += 1;
            // A person who sends again under a new key takes the risk that the earlier call still
            // acts.
            self.fail_if(self.denied && self.forced == 0, wrong::DENIED);
            self.fail_if(self.acts > 1 + self.forced, wrong::ACTED_TWICE);
        }
    }

    /// Records that the outcome of a call without a key is unknown.
    pub fn lose(&mut self, generation: u8) {
        note(&mut self.lost, generation);
    }

    /// Records that the provider's answer counts by which no call acted.
    pub fn acquit(&mut self, generation: u8) {
        self.lost.retain(|lost| *lost != generation);
    }

    /// Records that a decision counts.
    pub fn count(&mut self, event: ModelEvent) {
        if event.what.is_terminal() {
            self.fail_if(
                number(event.step, event.what.state()) <= self.highest,
                wrong::PUBLISHED_TOO_LATE,
            );
            note(&mut self.counted, event);
            self.denied = event.what.denies();
            self.fail_if(self.denied && self.acts > self.forced, wrong::DENIED);
        }
        if event.what.is_final() {
            let first = note(&mut self.ended, event.step.generation);
            self.fail_if(!first, wrong::TWO_ENDS);
        }
    }

    /// Records that a replay counts.
    pub fn replay(&mut self, from: u8, forced: bool) {
        let first = note(&mut self.replayed, from);
        self.fail_if(!first, wrong::TWO_REPLAYS);
        self.forced += u8::from(forced);
        self.denied = false;
    }

    /// Records that a message is refused. A refusal under a command's id is published as a conflict
    /// instead.
    pub fn refuse(&mut self, is_known: bool) {
        self.fail_if(is_known, wrong::REFUSED_KNOWN);
    }

    /// Records that an event is published.
    pub fn publish(&mut self, event: ModelEvent) {
        if event == REFUSAL && !self.counted.contains(&event) {
            // The number of a refusal is lower than any of a command's.
            self.published_refusal = true;
            return;
        }
        if !event.what.is_published() {
            return;
        }
        self.highest = self.highest.max(number(event.step, event.what.state()));
        if event.what.is_terminal() {
            let counted = self.counted.contains(&event);
            self.fail_if(!counted, wrong::PUBLISHED_WITHOUT_RECORD);
            note(&mut self.published, event);
        }
    }
}

impl ModelRecord {
    /// Returns the record that this one refers to.
    fn refers(self) -> Option<RecordKey> {
        match self {
            Self::Started(start) => start.expired_claim,
            Self::Released(id) | Self::TakenOver(id) | Self::Settled(id) => Some(id),
            Self::Opened { .. }
            | Self::Finished(_)
            | Self::CancelRequested
            | Self::Replayed { .. }
            | Self::Asked
            | Self::Refused
            | Self::Erased => None,
        }
    }
}

impl WorldState {
    /// Returns the least id that nothing refers to; 0 is for records that nothing will ever refer
    /// to.
    pub fn free_id(&self, ledger: &ModelLedger) -> RecordKey {
        let mut used = ledger.view(self.case).ids | ledger.view(self.refusal).ids | 1;
        let mut mark = |id: Option<RecordKey>| used |= id.map_or(0, |id| 1_u64 << id);
        for (id, record) in &self.transit {
            mark(Some(*id));
            mark(record.refers());
        }
        for message in &self.queue {
            mark(expired_claim(message));
        }
        for instance in &self.instances {
            mark(instance.message.as_ref().and_then(expired_claim));
            match instance.at {
                InstancePlace::Sent(id, record) | InstancePlace::Read(id, record, _) => {
                    mark(Some(id));
                    mark(record.refers());
                }
                InstancePlace::Calling { start, .. } => mark(Some(start)),
                InstancePlace::Event { by, .. }
                | InstancePlace::Carry { by, .. }
                | InstancePlace::Ack { by } => mark(by),
                InstancePlace::Forward(kind) => mark(expired_claim(&BrokerMessage::new(kind))),
                InstancePlace::Idle | InstancePlace::Querying => {}
            }
        }
        RecordKey::try_from(used.trailing_ones()).unwrap()
    }

    /// Sorts instances and messages: they have no order, so one order stands for all.
    pub fn in_order(mut self, ledger: &ModelLedger) -> Self {
        let unsettled = ledger.view(self.case).unsettled.map(|(by, _)| by);
        // Drops a `settled` that arrives too late to have an effect.
        self.transit.retain(
            |(_, record)| !matches!(record, ModelRecord::Settled(id) if unsettled != Some(*id)),
        );
        self.transit.sort_unstable();
        self.transit.dedup();
        self.queue.sort_unstable();
        self.instances.sort_unstable();
        self
    }
}

fn expired_claim(message: &BrokerMessage) -> Option<RecordKey> {
    match message.kind {
        BrokerMessageKind::Command { expired_claim, .. } => expired_claim,
        _ => None,
    }
}
