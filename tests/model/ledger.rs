//! The ledger in the model: short forms of the real records, and the real
//! [`CommandState::apply_record`] behind a cache.
//!
//! A state of the model must be small and comparable, and a record is long. So the model uses short
//! forms, which are converted to real records for a ruling. The results of the real code are
//! cached: the same record in the same place is ruled on once.

use std::collections::{BTreeMap, HashMap};

use ferryd_domain::command::{Command, CommandEnvelope, EncodedIdentity};
use ferryd_domain::event::{Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::effects::{self, HeaderValue};
use ferryd_domain::ledger::next_action::{
    HeldMessage, HolderIntent, NextAction, RulingRole, next_action,
};
use ferryd_domain::ledger::record as real;
use ferryd_domain::ledger::ruling::{DecidedCommand, Ruling};
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::outcome::{Failure, Success, WaitingFor};
use jiff::Timestamp;
use uuid::Uuid;

use crate::setup::PlantedMistake;

#[path = "answers.rs"]
mod answers;
#[path = "translate.rs"]
mod translate;

use answers::{plan, said, view};
pub use translate::is_fresh;
use translate::record_id;

/// The id of a record while anything refers to it.
pub type RecordKey = u8;

/// One call, or a query about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelStep {
    pub generation: u8,
    pub attempt: u8,
    pub query: u8,
}

impl ModelStep {
    pub const FIRST: Self = Self { generation: 0, attempt: 1, query: 0 };

    /// Returns the call that the step is, or is about.
    pub fn call(self) -> Self {
        Self { query: 0, ..self }
    }
}

impl std::fmt::Debug for ModelStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { generation, attempt, query } = self;
        write!(f, "{generation}/{attempt}")?;
        if *query == 0 { Ok(()) } else { write!(f, "?{query}") }
    }
}

/// The next action that a message is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageErrand {
    Call,
    Poll,
    /// A lookup, after this number of lookups without an answer.
    Lookup(u8),
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelEventKind {
    Pending,
    /// The provider is going to be queried; never published.
    Doubtful,
    Waiting,
    /// The same again; never published.
    Still,
    Completed,
    Failed(ModelFailure),
}

/// The kind of a command's failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelFailure {
    Declined,
    Invalid,
    Rejected,
    Unavailable,
    Poison,
    Expired,
    Unresolved,
    Cancelled,
    Discarded,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelEvent {
    pub step: ModelStep,
    pub what: ModelEventKind,
}

/// The message that a decision sends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelContinuation {
    Nothing,
    Next { step: ModelStep, errand: MessageErrand, unknown: bool, key: Option<u8> },
    Dead { generation: u8, unknown: bool, key: Option<u8> },
}

/// The effects of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelEffects {
    pub event: ModelEvent,
    pub continuation: ModelContinuation,
}

/// The one who made a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelDecider {
    Holder,
    Canceller,
    Operator,
}

/// The guard that keeps calls from acting twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelGuard {
    Key,
    Claim,
}

/// The record of a started call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelStart {
    pub step: ModelStep,
    pub guard: ModelGuard,
    pub content: u8,
    pub recorded: bool,
    pub redelivered: bool,
    pub expired_claim: Option<RecordKey>,
    pub unknown: bool,
    pub key: Option<u8>,
}

/// The record of a decision.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as in the record")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelFinish {
    pub step: ModelStep,
    pub content: u8,
    pub recorded: bool,
    pub called: bool,
    pub unknown: bool,
    /// True if the provider has answered that no call acted.
    pub absent: bool,
    pub by: ModelDecider,
    pub effects: ModelEffects,
}

/// A record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelRecord {
    Opened {
        step: ModelStep,
        content: u8,
        recorded: bool,
    },
    Started(ModelStart),
    Released(RecordKey),
    TakenOver(RecordKey),
    Finished(ModelFinish),
    Settled(RecordKey),
    CancelRequested,
    /// `forced`: a named person sends the command again although a call may have acted.
    Replayed {
        from: u8,
        unknown: bool,
        key: Option<u8>,
        forced: bool,
    },
    Asked,
    /// The refusal of a message, under an id of its own.
    Refused,
    Erased,
}

/// A ruling, as far as the model itself and not [`next_action`] interprets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelRuling {
    Counts { unknown: bool },
    Claimed,
    Unsettled(RecordKey, ModelEffects),
    Ended(ModelEvent),
    Unknown,
    Passed,
    OtherContent,
    Cancelled,
    Contradicts,
    Outrun(u8),
    TooLate,
}

/// The next action, in short form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelPlan {
    Proceed { unknown: bool },
    Doubt,
    WaitOut(RecordKey),
    TakeOver(RecordKey),
    Publish(RecordKey, ModelEffects),
    Answer(ModelEvent),
    Ask,
    Again,
    Renumber(u8),
    Reread,
    Conflict,
    Contradict,
    Cancel,
    Refuse,
    Drop,
}

/// The role that acts on a ruling, in short form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelRole {
    Begins(ModelGuard),
    TakesOver,
    Decides,
    Webhook,
    Canceller,
    Operator,
}

/// A held message, as far as it decides about the next action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ModelMessage {
    pub fresh: bool,
    pub unproven: bool,
    pub expired_claim: Option<RecordKey>,
}

/// The parts of a command's state that the model reads.
#[derive(Debug, Clone, Copy)]
pub struct ModelView {
    /// The records that the state refers to, as bits.
    pub ids: u64,
    pub step: ModelStep,
    /// The step at which the command's message is awaited, where that is known.
    pub awaited: Option<ModelStep>,
    pub unknown: bool,
    pub key: Option<u8>,
    pub ending: Option<ModelEvent>,
    pub dead: bool,
    /// The content of the command that has the id.
    pub content: Option<u8>,
    /// True where only a request to cancel the command is known.
    pub is_cancel_request: bool,
    /// The decision whose effects are not known to be published.
    pub unsettled: Option<(RecordKey, ModelEffects)>,
}

/// The real code, and a cache of its results.
pub struct ModelLedger {
    cases: Vec<Option<CommandState>>,
    views: Vec<ModelView>,
    known: HashMap<String, u16>,
    rulings: Vec<Ruling>,
    said: Vec<ModelRuling>,
    ruled: HashMap<String, u16>,
    memory: HashMap<(u16, RecordKey, ModelRecord), (u16, u16)>,
    plans: HashMap<(u16, ModelRole, ModelMessage), ModelPlan>,
    /// A mistake made on purpose: the highest published number is lost.
    forgets_published: bool,
    /// Another mistake: an erasure removes the whole command.
    erases_all: bool,
}

impl ModelLedger {
    pub fn new(mistake: Option<PlantedMistake>) -> Self {
        let mut ledger = Self {
            cases: Vec::new(),
            views: Vec::new(),
            known: HashMap::new(),
            rulings: Vec::new(),
            said: Vec::new(),
            ruled: HashMap::new(),
            memory: HashMap::new(),
            plans: HashMap::new(),
            forgets_published: mistake == Some(PlantedMistake::ForgetsPublished),
            erases_all: mistake == Some(PlantedMistake::ErasesAll),
        };
        ledger.keep(None);
        ledger
    }

    /// Returns the number of different states that occurred.
    pub fn cases(&self) -> usize {
        self.cases.len()
    }

    pub fn view(&self, case: u16) -> ModelView {
        self.views[usize::from(case)]
    }

    pub fn said(&self, ruling: u16) -> ModelRuling {
        self.said[usize::from(ruling)]
    }

    /// Returns the state after a record, and the ruling on the record.
    pub fn rule(&mut self, case: u16, id: RecordKey, record: ModelRecord) -> (u16, u16) {
        if let Some(known) = self.memory.get(&(case, id, record)) {
            return *known;
        }
        let mut slot = self.cases[usize::from(case)].clone();
        if let Some(case) = slot.as_mut().filter(|_| self.forgets_published) {
            case.published_sequence = 0;
        }
        let ruling = CommandState::apply_record(&mut slot, record_id(id), &record.real());
        if self.erases_all && record == ModelRecord::Erased && matches!(ruling, Ruling::Counts(_)) {
            slot = None;
        }
        let result = (self.keep(slot), self.keep_ruling(ruling));
        self.memory.insert((case, id, record), result);
        result
    }

    /// Returns the next action of the appender of a record, by its ruling.
    pub fn plan(&mut self, ruling: u16, part: ModelRole, held: ModelMessage) -> ModelPlan {
        let rulings = &self.rulings;
        *self.plans.entry((ruling, part, held)).or_insert_with(|| {
            let ModelMessage { fresh: is_fresh, unproven: is_unproven, expired_claim } = held;
            let held =
                HeldMessage { is_fresh, is_unproven, expired_claim: expired_claim.map(record_id) };
            let role = match part {
                ModelRole::Begins(guard) => {
                    RulingRole::Holder(held, HolderIntent::Begin(guard.real()))
                }
                ModelRole::TakesOver => RulingRole::Holder(held, HolderIntent::TakeOver),
                ModelRole::Decides => RulingRole::Holder(held, HolderIntent::Decide),
                ModelRole::Webhook => RulingRole::Webhook,
                ModelRole::Canceller => RulingRole::Canceller,
                ModelRole::Operator => RulingRole::Operator,
            };
            plan(next_action(role, rulings[usize::from(ruling)].clone()))
        })
    }

    fn keep(&mut self, mut slot: Option<CommandState>) -> u16 {
        if let Some(case) = &mut slot {
            // Only the last entry of the history decides anything: the state of a settled command.
            let last = case.history.pop();
            case.history = last.into_iter().collect();
        }
        let text = serde_json::to_string(&slot).unwrap();
        let fresh = u16::try_from(self.cases.len()).unwrap();
        let case = *self.known.entry(text).or_insert(fresh);
        if case == fresh {
            self.views.push(view(slot.as_ref()));
            self.cases.push(slot);
        }
        case
    }

    fn keep_ruling(&mut self, ruling: Ruling) -> u16 {
        let fresh = u16::try_from(self.rulings.len()).unwrap();
        let index = *self.ruled.entry(format!("{ruling:?}")).or_insert(fresh);
        if index == fresh {
            self.said.push(said(&ruling));
            self.rulings.push(ruling);
        }
        index
    }
}
