//! What the ledger says of one command, and what each further record about it comes to.
//!
//! ```text
//!            started                finished (retry)              started (next attempt)
//!   open ───────────────► started ───────────────────► decided ───────────────────────► started …
//!    ▲                      │ │
//!    └──────────────────────┘ └─► taken over ──► decided (unresolved, unless the provider was asked)
//!           released           taken_over
//! ```
//!
//! A decision that ends the command is its `ending`. The first definite one stays: `unresolved`, which says that nobody
//! knows, gives way to it, and so does any other dead letter to `completed` and to a person's word.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::effects::Effects;
use super::record::{
    Asked, By, CancelWished, Fact, Finished, Guard, Opened, Opening, Person, Reason, Record, RecordId, Released,
    Replayed, Settled, Started, Step, TakenOver,
};
use super::ruling::{Decided, Granted, Ruling, TooLate};
use crate::domain::event::{Event, EventData, attempt_of, sequence};
use crate::domain::key::IdempotencyKey;
use crate::domain::lifecycle::{Kind, State};

/// The most who are told of the end of one command besides its publisher.
const MAX_REPLIES: usize = 32;

/// The most transitions that are remembered of one command: the first and the latest.
const MAX_HISTORY: usize = 64;

/// What the ledger says of one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Which command; `None` where nothing but a wish to cancel it is known.
    pub opening: Option<Opening>,
    /// The call it is at, or would make next.
    pub step: Step,
    /// How far that call is.
    pub phase: Phase,
    /// Whether a call of this generation may have acted without its end being known. It never becomes false again.
    pub unknown: bool,
    /// The key of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<IdempotencyKey>,
    /// When a request was first sent under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_sent: Option<Timestamp>,
    /// The digest of that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// The highest number of an event that may have been seen.
    pub told: u64,
    /// Who else waits for the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<Asked>,
    /// Who wished it cancelled before it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Person>,
    /// The kind of a record that this version does not understand and must not pass over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// What happened, oldest first.
    pub history: Vec<Transition>,
}

/// How far the call is that a command is at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nobody has begun it.
    Open,
    /// Somebody makes it.
    Started {
        /// The record that says so, the latest where there are several.
        by: RecordId,
        /// What keeps it from acting twice.
        guard: Guard,
    },
    /// Somebody may have made it and does not answer for it any more.
    TakenOver,
    /// It is decided what follows.
    Decided {
        /// The record that says so.
        by: RecordId,
        /// What is to be published; `None` once it has been.
        effects: Option<Box<Effects>>,
    },
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// The record that says so.
    pub by: RecordId,
    /// The event that tells it.
    pub event: Event,
}

/// Something that happened to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// When, by the clock of whoever did it.
    pub at: Timestamp,
    /// The state after it.
    pub state: State,
    /// The call it is about.
    pub step: Step,
    /// In a word or two, for people and programs.
    pub reason: String,
    /// More of it, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Until when the command waits, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Ending {
    /// Why it failed, if it did.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.event.data.error.as_ref().and_then(|error| error.kind)
    }

    /// Whether it is kept as a dead letter, for a person.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.event.data.state == State::Failed && !self.event.data.r#final
    }

    /// Whether a decision of a message's holder may take its place: only an answer of the provider, which says for certain
    /// what became of the command.
    fn gives_way_to(&self, finished: &Finished) -> bool {
        let completed = finished.effects.event.data.state == State::Completed;
        self.is_dead() && is_answer(finished) && (completed || self.kind() == Some(Kind::Unresolved))
    }

    /// Whether `event` says the same.
    fn agrees_with(&self, event: &Event) -> bool {
        self.event.data.state == event.data.state && self.kind() == kind_of(event)
    }
}

fn kind_of(event: &Event) -> Option<Kind> {
    event.data.error.as_ref().and_then(|error| error.kind)
}

/// Whether an event tells a provider's own last word, which two calls must not give differently.
fn is_answer(finished: &Finished) -> bool {
    let event = &finished.effects.event;
    match event.data.state {
        State::Completed => true,
        State::Failed => matches!(kind_of(event), Some(Kind::Declined)),
        _ => false,
    }
}

impl Case {
    /// Applies a record to what is known of its command, and says what the record comes to. `id` is the record's own;
    /// repeats of a record must not get here.
    pub fn rule(slot: &mut Option<Self>, id: RecordId, record: &Record) -> Ruling {
        if let Some(kind) = slot.as_ref().and_then(|case| case.blocked.clone()) {
            return Ruling::Blocked(kind);
        }
        match &record.fact {
            Fact::Opened(opened) => Self::open(slot, record.at, opened),
            Fact::Started(started) => Self::start(slot, id, record.at, started),
            Fact::Finished(finished) => Self::finish(slot, id, record.at, finished),
            Fact::Replayed(replayed) => Self::replay(slot, record.at, replayed),
            Fact::CancelWished(wish) => Self::wish(slot, record.at, wish),
            Fact::Released(released) => Self::known(slot, |case| case.release(record.at, released)),
            Fact::TakenOver(taken) => Self::known(slot, |case| case.take_over(record.at, taken)),
            Fact::Settled(settled) => Self::known(slot, |case| case.settle(settled)),
            Fact::Asked(asked) => Self::known(slot, |case| case.ask(asked)),
        }
    }

    /// Notes that the ledger holds something about the command that must not be passed over and is not understood.
    pub fn block(slot: &mut Option<Self>, kind: &str) {
        slot.get_or_insert_with(Self::unopened).blocked.get_or_insert_with(|| kind.to_owned());
    }

    /// The state the command is in.
    #[must_use]
    pub fn state(&self) -> State {
        match (&self.ending, &self.phase) {
            (Some(ending), _) => ending.event.data.state,
            (None, Phase::Open) => State::Pending,
            (None, Phase::Started { .. } | Phase::TakenOver) => State::Processing,
            // Unsettled effects always tell the state; settled ones left it in the history.
            (None, Phase::Decided { .. }) => self.history.last().map_or(State::Pending, |last| last.state),
        }
    }

    /// Whether a call of this generation may have acted without its end being known by now.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        let calling = matches!(&self.phase, Phase::Started { guard, .. } if *guard != Guard::Harmless);
        self.unknown || calling || self.phase == Phase::TakenOver
    }

    /// Whether the effects of its latest decision are not known to be published.
    #[must_use]
    pub fn unsettled(&self) -> Option<Decided> {
        match &self.phase {
            Phase::Decided { by, effects: Some(effects) } => {
                let effects = effects.as_ref().clone();
                Some(Decided { by: *by, effects, replies: self.replies.clone() })
            }
            _ => None,
        }
    }

    /// What a message of `step` would come to, where nothing is left to begin. What it says stays true: a command that has
    /// gone on does not go back.
    #[must_use]
    pub fn glance(&self, fresh: Option<&Opening>, step: Step) -> Option<Ruling> {
        // A later generation may be on record further on than this has been read.
        if self.blocked.is_some() || step.generation > self.step.generation {
            return None;
        }
        if self.is_other(true, fresh) {
            return Some(Ruling::OtherContent);
        }
        self.passed(step)
    }

    fn unopened() -> Self {
        Self {
            opening: None,
            step: Step { generation: 0, attempt: 1 },
            phase: Phase::Open,
            unknown: false,
            key: None,
            first_sent: None,
            digest: None,
            ending: None,
            told: 0,
            replies: Vec::new(),
            cancel: None,
            blocked: None,
            history: Vec::new(),
        }
    }

    fn opened(opening: Option<&Opening>, step: Step) -> Self {
        let mut case = Self { step, ..Self::unopened() };
        case.identify(opening);
        case
    }

    /// Takes on an identity, where none is known yet.
    fn identify(&mut self, opening: Option<&Opening>) {
        if let (None, Some(opening)) = (&self.opening, opening) {
            self.replies.extend(opening.asked.clone());
            self.opening = Some(opening.clone());
        }
    }

    fn known(slot: &mut Option<Self>, then: impl FnOnce(&mut Self) -> Ruling) -> Ruling {
        slot.as_mut().map_or(Ruling::Passed, then)
    }

    /// Whether a command is another than the one known by its id. Only a publisher can mean another: what ferryd sends on
    /// to itself was compared when it came.
    fn is_other(&self, fresh: bool, opening: Option<&Opening>) -> bool {
        let (Some(known), Some(opening)) = (&self.opening, opening) else { return false };
        fresh && known.content != opening.content
    }

    fn open(slot: &mut Option<Self>, at: Timestamp, opened: &Opened) -> Ruling {
        let Opened { opening, step, fresh, recorded, reason, until } = opened;
        let new = slot.is_none();
        let case = slot.get_or_insert_with(Self::unopened);
        if case.is_other(*fresh, Some(opening)) {
            return Ruling::OtherContent;
        }
        if let Some(ruling) = case.adopt(Some(opening), *step, *recorded) {
            return ruling;
        }
        if let Some(ruling) = case.passed(*step) {
            return ruling;
        }
        if new || (case.step == *step && matches!(case.phase, Phase::Open)) {
            let detail = until.map(|until| format!("until {until}"));
            let word = match reason {
                Reason::Submitted => "submitted",
                Reason::Early => "early",
                Reason::Busy => "busy",
                Reason::Stopping => "stopping",
            };
            // A command that hops along the ladder says so once.
            if case.history.last().is_none_or(|last| last.reason != word) {
                case.note(at, State::Pending, *step, word, detail);
                case.wait(*until);
            }
        }
        Ruling::Counts(Granted::default())
    }

    /// Takes on a command of which nothing was known, or nothing but a wish to cancel it. Where its message says that the
    /// ledger knew it, what became of its calls is lost: it is unknown, never new.
    fn adopt(&mut self, opening: Option<&Opening>, step: Step, lost: bool) -> Option<Ruling> {
        if self.opening.is_none() {
            self.identify(opening);
            self.step = step;
            self.unknown |= lost;
        }
        match (&self.cancel, &self.ending, &self.phase) {
            (Some(person), None, Phase::Open) if !self.unknown => Some(Ruling::Cancelled(person.clone())),
            _ => None,
        }
    }

    fn start(slot: &mut Option<Self>, id: RecordId, at: Timestamp, started: &Started) -> Ruling {
        let Started { step, opening, fresh, recorded, .. } = started;
        let lost = *recorded && started.guard != Guard::Harmless;
        let case = slot.get_or_insert_with(Self::unopened);
        if case.is_other(*fresh, opening.as_ref()) {
            return Ruling::OtherContent;
        }
        if let Some(ruling) = case.adopt(opening.as_ref(), *step, lost) {
            return ruling;
        }
        if !recorded && step.generation > case.step.generation && case.not_dead().is_none() {
            // Replayed by an operator whose ferryd had no ledger.
            (case.step, case.phase, case.ending) = (*step, Phase::Open, None);
            (case.unknown, case.key, case.first_sent, case.digest) = (false, None, None, None);
        }
        if let Some(ruling) = case.passed(*step) {
            return ruling;
        }
        if *step == case.step {
            match &case.phase {
                Phase::Started { by, guard: Guard::Claim(ttl_ms) } => {
                    return Ruling::Claimed { claim: *by, ttl_ms: *ttl_ms };
                }
                // Under the same key a call may be repeated at once; a mere copy of the message does not need to.
                Phase::Started { by, guard: Guard::Key(ttl_ms) }
                    if !started.redelivered && started.waited_out != Some(*by) =>
                {
                    return Ruling::Claimed { claim: *by, ttl_ms: *ttl_ms };
                }
                Phase::Started { guard: Guard::Key(_), .. } => case.unknown = true,
                Phase::TakenOver => return Ruling::Counts(Granted { unknown: true, replies: Vec::new() }),
                Phase::Open | Phase::Started { guard: Guard::Harmless, .. } | Phase::Decided { .. } => {}
            }
        } else if matches!(
            &case.phase,
            Phase::Started { guard: Guard::Key(_) | Guard::Claim(_), .. } | Phase::TakenOver
        ) {
            case.unknown = true;
        }
        case.begin(id, at, started);
        Ruling::Counts(Granted { unknown: case.unknown, replies: Vec::new() })
    }

    /// What a message of `step` finds, where nothing is left to begin.
    fn passed(&self, step: Step) -> Option<Ruling> {
        if step.generation != self.step.generation {
            return Some(self.over().unwrap_or(Ruling::Passed));
        }
        if self.ending.is_some() || step < self.step {
            return Some(self.over().unwrap_or(Ruling::Passed));
        }
        if step == self.step
            && let Phase::Decided { .. } = self.phase
        {
            return Some(self.unsettled().map_or(Ruling::Passed, |decided| Ruling::Unsettled(Box::new(decided))));
        }
        None
    }

    /// How the command ended, if it has.
    fn over(&self) -> Option<Ruling> {
        let ending = self.ending.as_ref()?;
        Some(match self.unsettled() {
            Some(decided) => Ruling::Unsettled(Box::new(decided)),
            None => Ruling::Ended(Box::new(ending.event.clone())),
        })
    }

    fn begin(&mut self, id: RecordId, at: Timestamp, started: &Started) {
        let Started { step, guard, unknown, key, digest, first_sent, .. } = started;
        self.step = *step;
        self.phase = Phase::Started { by: id, guard: *guard };
        self.unknown |= unknown;
        if self.key.is_none() {
            self.key.clone_from(key);
        }
        self.digest.get_or_insert_with(|| digest.clone());
        self.first_sent.get_or_insert(first_sent.unwrap_or(at));
        self.note(at, State::Processing, *step, "started", None);
    }

    fn release(&mut self, at: Timestamp, released: &Released) -> Ruling {
        match &self.phase {
            Phase::Started { by, .. } if *by == released.started => {
                self.phase = Phase::Open;
                self.note(at, State::Pending, self.step, "released", None);
                Ruling::Counts(Granted::default())
            }
            _ => Ruling::Passed,
        }
    }

    fn take_over(&mut self, at: Timestamp, taken: &TakenOver) -> Ruling {
        match &self.phase {
            Phase::Started { by, guard: Guard::Claim(_) } if *by == taken.claim && self.ending.is_none() => {
                self.phase = Phase::TakenOver;
                self.unknown = true;
                self.note(at, State::Processing, self.step, "taken_over", None);
                Ruling::Counts(Granted { unknown: true, replies: Vec::new() })
            }
            Phase::TakenOver => Ruling::Counts(Granted { unknown: true, replies: Vec::new() }),
            _ => self.passed(self.step).unwrap_or(Ruling::Passed),
        }
    }

    fn settle(&mut self, settled: &Settled) -> Ruling {
        if let Phase::Decided { by, effects } = &mut self.phase
            && *by == settled.finished
        {
            *effects = None;
            if self.ending.is_some() {
                self.replies.clear();
            }
        }
        Ruling::Counts(Granted::default())
    }

    fn ask(&mut self, asked: &Asked) -> Ruling {
        if let Some(ending) = &self.ending {
            return Ruling::Ended(Box::new(ending.event.clone()));
        }
        if self.replies.len() < MAX_REPLIES && !self.replies.contains(asked) {
            self.replies.push(asked.clone());
        }
        Ruling::Counts(Granted::default())
    }

    fn wish(slot: &mut Option<Self>, at: Timestamp, wish: &CancelWished) -> Ruling {
        let new = slot.is_none();
        let case = slot.get_or_insert_with(Self::unopened);
        if case.opening.is_some() {
            return Ruling::Passed;
        }
        if new {
            case.note(at, State::Pending, case.step, "cancel_wished", Some(wish.person.to_string()));
        }
        case.cancel.get_or_insert_with(|| wish.person.clone());
        Ruling::Counts(Granted::default())
    }

    fn replay(slot: &mut Option<Self>, at: Timestamp, replayed: &Replayed) -> Ruling {
        let Replayed { opening, from, unknown, key, first_sent, digest, person } = replayed;
        let step = Step { generation: from.saturating_add(1), attempt: 1 };
        if let Some(case) = slot {
            if case.step.generation > *from {
                return Ruling::TooLate(TooLate::Replayed);
            }
            if let Some(too_late) = case.not_dead() {
                return Ruling::TooLate(too_late);
            }
        }
        let case = slot.get_or_insert_with(|| Self::opened(Some(opening), step));
        case.identify(Some(opening));
        (case.step, case.phase, case.ending) = (step, Phase::Open, None);
        case.unknown = *unknown;
        case.key.clone_from(key);
        case.first_sent = *first_sent;
        case.digest.clone_from(digest);
        case.note(at, State::Pending, step, "replayed", Some(person.to_string()));
        Ruling::Counts(Granted::default())
    }

    /// An end that was decided and is not known to be published.
    fn unsaid(&self) -> Option<Ruling> {
        self.ending.as_ref()?;
        self.unsettled().map(|decided| Ruling::Unsettled(Box::new(decided)))
    }

    /// Why the command is no dead letter, if it is none.
    fn not_dead(&self) -> Option<TooLate> {
        match &self.ending {
            Some(ending) if ending.is_dead() => None,
            Some(ending) if ending.event.data.state == State::Completed => Some(TooLate::Completed),
            Some(_) => Some(TooLate::Failed),
            None => Some(TooLate::NotDead),
        }
    }

    fn finish(slot: &mut Option<Self>, id: RecordId, at: Timestamp, finished: &Finished) -> Ruling {
        let Finished { step, opening, fresh, by, .. } = finished;
        let Some(case) = slot else {
            if matches!(by, By::Canceller(_)) {
                return Ruling::Passed;
            }
            let case = slot.insert(Self::opened(opening.as_ref(), *step));
            return case.decide(id, at, finished);
        };
        if case.is_other(*fresh, opening.as_ref()) {
            return Ruling::OtherContent;
        }
        case.identify(opening.as_ref());
        let refusal = match by {
            By::Holder => case.refuse_holder(finished),
            By::Canceller(_) => case.refuse_canceller(),
            By::Operator(_) => case.not_dead().map(|too_late| case.unsaid().unwrap_or(Ruling::TooLate(too_late))),
        };
        if let Some(ruling) = refusal {
            return ruling;
        }
        if let Some(attempt) = case.outrun(&finished.effects.event) {
            return Ruling::Outrun { attempt };
        }
        case.decide(id, at, finished)
    }

    /// The least attempt under which the event has a higher number than any that may have been seen, where its own does not
    /// do.
    fn outrun(&self, event: &Event) -> Option<u32> {
        let EventData { sequence: number, generation, state, .. } = event.data;
        if number > self.told {
            return None;
        }
        let told = attempt_of(self.told);
        Some(if sequence(generation, told, state) > self.told { told } else { told.saturating_add(1) })
    }

    /// What keeps a decision of a message's holder from counting.
    fn refuse_holder(&self, finished: &Finished) -> Option<Ruling> {
        let Finished { step, effects, .. } = finished;
        if let Some(ending) = &self.ending {
            if step.generation == self.step.generation && ending.gives_way_to(finished) {
                return None;
            }
            let same = ending.agrees_with(&effects.event) || !is_answer(finished);
            return if same { self.over() } else { Some(Ruling::Contradicts(Box::new(ending.event.clone()))) };
        }
        if step.generation != self.step.generation {
            // A late answer to a call of a generation that was given up; the next one is already on its way.
            return Some(Ruling::Passed);
        }
        if is_answer(finished) {
            return None;
        }
        if *step < self.step {
            return Some(Ruling::Passed);
        }
        if *step == self.step
            && let Phase::Decided { .. } = &self.phase
        {
            return Some(self.passed(*step).unwrap_or(Ruling::Passed));
        }
        self.doubts(finished).then_some(Ruling::Unknown)
    }

    /// Whether a decision that is no answer of the provider claims to know what the ledger knows better: some call may have
    /// acted, or acts now.
    fn doubts(&self, finished: &Finished) -> bool {
        let event = &finished.effects.event;
        let unresolved = kind_of(event) == Some(Kind::Unresolved);
        match &self.phase {
            Phase::TakenOver => !unresolved,
            _ if unresolved || !event.data.state.is_terminal() => false,
            // Given up without a call, while somebody makes one.
            Phase::Started { guard: Guard::Key(_) | Guard::Claim(_), .. } if finished.call.is_none() => true,
            _ => self.unknown || finished.unknown,
        }
    }

    /// What keeps a command from being cancelled.
    fn refuse_canceller(&self) -> Option<Ruling> {
        let too_late = match (&self.ending, &self.phase) {
            (Some(_), _) => return self.over(),
            (None, Phase::Started { .. }) => TooLate::InFlight,
            (None, Phase::TakenOver) => TooLate::Unknown,
            (None, Phase::Open | Phase::Decided { .. }) if self.unknown => TooLate::Unknown,
            (None, Phase::Decided { .. }) if self.state() == State::Waiting => TooLate::Accepted,
            (None, Phase::Open | Phase::Decided { .. }) => return None,
        };
        Some(Ruling::TooLate(too_late))
    }

    fn decide(&mut self, id: RecordId, at: Timestamp, finished: &Finished) -> Ruling {
        let Finished { step, effects, unknown, by, .. } = finished;
        let event = &effects.event;
        self.step = self.step.max(*step);
        self.told = event.data.sequence;
        self.unknown |= unknown;
        self.phase = Phase::Decided { by: id, effects: Some(Box::new(effects.clone())) };
        let mut granted = Granted { unknown: self.unknown, replies: Vec::new() };
        if event.data.state.is_terminal() {
            self.ending = Some(Ending { by: id, event: event.clone() });
            granted.replies.clone_from(&self.replies);
        }
        let (word, detail) = describe(finished);
        let shown = Step { generation: event.data.generation, attempt: step.attempt.max(1) };
        let detail = match by {
            By::Holder => detail,
            By::Canceller(person) | By::Operator(person) => Some(person.to_string()),
        };
        self.note(at, event.data.state, shown, word, detail);
        self.wait(event.data.next_attempt_at);
        Ruling::Counts(granted)
    }

    /// Says until when the command waits after what was noted last.
    fn wait(&mut self, until: Option<Timestamp>) {
        if let Some(last) = self.history.last_mut() {
            last.until = until;
        }
    }

    fn note(&mut self, at: Timestamp, state: State, step: Step, reason: &str, detail: Option<String>) {
        if self.history.len() >= MAX_HISTORY {
            self.history.remove(MAX_HISTORY / 2);
        }
        self.history.push(Transition { at, state, step, reason: reason.to_owned(), detail, until: None });
    }
}

/// A decision in a word, and more of it.
fn describe(finished: &Finished) -> (&str, Option<String>) {
    let data = &finished.effects.event.data;
    let message = data.error.as_ref().map(|error| {
        let code = error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        format!("{code}{}", error.message)
    });
    match (data.state, data.error.as_ref().and_then(|error| error.kind)) {
        (State::Pending, _) => ("retry", message),
        (_, Some(kind)) => (kind.as_str(), message),
        (state, None) => (state.as_str(), data.provider_reference.clone()),
    }
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "by {}: {reason}", self.by),
            None => write!(f, "by {}", self.by),
        }
    }
}

#[cfg(test)]
#[path = "case_tests.rs"]
mod tests;
