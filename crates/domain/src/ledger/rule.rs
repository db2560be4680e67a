//! The rulings on the records about a command; the module `finish` has those on decisions.

use jiff::Timestamp;

use super::case::{Case, MAX_CONFLICTS, MAX_REPLIES, Phase};
use super::job_mark::JobMark;
use super::record::{
    Asked, CancelWished, Fact, Guard, Opened, Opening, Reason, Record, RecordId, Released, Replayed, Settled, Started,
    Step, TakenOver,
};
use super::ruling::{Granted, Ruling, TooLate};
use crate::conflict::ConflictNote;
use crate::lifecycle::State;

impl Case {
    /// Applies a record to the state of its command, and returns the ruling on the record. `id` is
    /// the record's own; repeats of a record must not get here.
    pub fn rule(slot: &mut Option<Self>, id: RecordId, record: &Record) -> Ruling {
        if let Some(kind) = slot.as_ref().and_then(|case| case.blocked.clone()) {
            return Ruling::Blocked(kind);
        }
        let ruling = Self::apply(slot, id, record);
        if let Some(case) = slot {
            case.keep_erased();
        }
        ruling
    }

    fn apply(slot: &mut Option<Self>, id: RecordId, record: &Record) -> Ruling {
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
            Fact::Conflicted(note) => Self::known(slot, |case| case.contradict(note)),
            Fact::Erased(erased) => Self::known(slot, |case| case.erase(record.at, erased)),
            Fact::Prompted(prompted) => Self::known(slot, |case| case.prompt(record.at, prompted)),
        }
    }

    fn known(slot: &mut Option<Self>, then: impl FnOnce(&mut Self) -> Ruling) -> Ruling {
        slot.as_mut().map_or(Ruling::Passed, then)
    }

    fn open(slot: &mut Option<Self>, at: Timestamp, opened: &Opened) -> Ruling {
        let Opened { opening, step, fresh, recorded, reason, until, by } = opened;
        let new = slot.is_none();
        let case = slot.get_or_insert_with(Self::unopened);
        if case.is_other(*fresh, Some(opening)) {
            return Ruling::OtherContent;
        }
        if let Some(ruling) = case.adopt(Some(opening), *step, *recorded) {
            return ruling;
        }
        case.adopt_replay(*step, true);
        if let Some(ruling) = case.passed(*step) {
            return ruling;
        }
        if new || (case.step == *step && matches!(case.phase, Phase::Open)) {
            let submitter = by.as_ref().map(|by| format!("by {by}"));
            let detail = until.map(|until| format!("until {until}")).or(submitter);
            let word = match reason {
                Reason::Submitted => "submitted",
                Reason::Early => "early",
                Reason::Busy => "busy",
                Reason::Stopping => "stopping",
            };
            // A command that passes along the ladder has one transition for that.
            if case.history.last().is_none_or(|last| last.reason != word) {
                case.note(at, State::Pending, *step, word, detail);
                case.wait(*until);
            }
        }
        Ruling::Counts(Granted::default())
    }

    /// Creates the state of a command that was unknown, or known only by a request to cancel it.
    /// Where its message states that the ledger knew it, the records of its calls are lost: their
    /// outcome is unknown.
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

    /// Starts a later generation of a dead letter whose replay is not recorded: the outcome of its
    /// calls is unknown.
    pub(super) fn adopt_replay(&mut self, step: Step, unknown: bool) {
        if step.generation > self.step.generation && self.not_dead().is_none() {
            (self.step, self.phase, self.ending) = (step, Phase::Open, None);
            (self.unknown, self.key, self.first_sent) = (unknown, None, None);
            (self.digest, self.token) = (None, None);
            self.key_since = step.generation;
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
        case.adopt_replay(*step, started.guard != Guard::Harmless);
        if let Some(ruling) = case.passed(*step) {
            return ruling;
        }
        if *step == case.step {
            match &case.phase {
                Phase::Started { by, guard: Guard::Claim(ttl_ms) } => {
                    return Ruling::Claimed { claim: *by, ttl_ms: *ttl_ms };
                }
                // Under the same key a call may be repeated at once; a mere copy of the message
                // does not need to.
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

    fn begin(&mut self, id: RecordId, at: Timestamp, started: &Started) {
        let Started { step, guard, unknown, key, digest, token, money, first_sent, .. } = started;
        self.step = *step;
        self.calls = self.calls.saturating_add(1);
        self.phase = Phase::Started { by: id, guard: *guard };
        self.unknown |= unknown;
        if self.key.is_none() {
            self.key.clone_from(key);
        }
        if self.digest.is_none() {
            (self.digest, self.token) = (Some(digest.clone()), token.clone());
        }
        self.money = money.clone().or(self.money.take());
        self.first_sent.get_or_insert(first_sent.unwrap_or(at));
        self.note(at, State::Processing, *step, "started", None);
    }

    fn release(&mut self, at: Timestamp, released: &Released) -> Ruling {
        match &self.phase {
            Phase::Started { by, .. } if *by == released.started => {
                self.phase = Phase::Open;
                self.calls = self.calls.saturating_sub(1);
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

    /// Adds a conflict; the first ones are kept, and each once.
    fn contradict(&mut self, note: &ConflictNote) -> Ruling {
        let is_known = self.conflicts.iter().any(|known| known.event == note.event);
        if !is_known && self.conflicts.len() < MAX_CONFLICTS {
            self.conflicts.push(note.clone());
        }
        if is_known { Ruling::Passed } else { Ruling::Counts(Granted::default()) }
    }

    fn wish(slot: &mut Option<Self>, at: Timestamp, wish: &CancelWished) -> Ruling {
        let new = slot.is_none();
        let case = slot.get_or_insert_with(Self::unopened);
        if case.opening.is_some() {
            return Ruling::Passed;
        }
        if let Some(over) = case.over() {
            // The command was cancelled without having arrived.
            return over;
        }
        if new {
            case.note(at, State::Pending, case.step, "cancel_wished", Some(wish.person.to_string()));
        }
        case.cancel.get_or_insert_with(|| wish.person.clone());
        Ruling::Counts(Granted::default())
    }

    fn replay(slot: &mut Option<Self>, at: Timestamp, replayed: &Replayed) -> Ruling {
        let Replayed { opening, from, unknown, key, first_sent, digest, token, person, job } = replayed;
        let step = Step::call(from.saturating_add(1), 1);
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
        case.job = job.map(|id| JobMark { id, awaits_end: true });
        case.unknown = *unknown;
        case.key.clone_from(key);
        case.first_sent = *first_sent;
        case.digest.clone_from(digest);
        case.token.clone_from(token);
        (case.kept, case.asking) = (None, None);
        if !unknown {
            // The generation has another key, or another call without one. The provider's id so far
            // is that of an earlier call, and not of the one made now.
            case.key_since = step.generation;
            case.former_reference = case.provider_reference.take().or(case.former_reference.take());
        }
        case.note(at, State::Pending, step, "replayed", Some(person.to_string()));
        Ruling::Counts(Granted::default())
    }
}
