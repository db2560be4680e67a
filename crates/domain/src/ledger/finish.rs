//! The rulings on decisions: the end of a command, and every other decision about it.
//!
//! The first definite end stays. An `unresolved` command, whose outcome is unknown, gives way to an
//! answer of the provider, any other dead letter to `completed`, and each to a person's decision.
//! An answer counts only where a call was begun that it can answer: a statement of the provider
//! about a command that was never sent is about something else.

use jiff::Timestamp;

use super::case::{Case, Ending, Phase};
use super::effects::RecordedEffects;
use super::job_mark::JobMark;
use super::record::{By, Finished, Guard, JobDecision, RecordId, Step};
use super::ruling::{Granted, Ruling, TooLate};
use super::transition::Transition;
use crate::event::{Event, EventData, REFUSED_SEQUENCE, attempt_of, sequence};
use crate::lifecycle::{Kind, State};

impl Ending {
    /// Returns true if a decision of a message's holder may replace the end: only a definite answer
    /// of the provider may.
    fn gives_way_to(&self, finished: &Finished) -> bool {
        let completed = finished.effects.event.data.state == State::Completed;
        self.is_dead() && is_answer(finished) && (completed || self.kind() == Some(Kind::Unresolved))
    }

    /// Returns true if `event` agrees about the provider's action: two refusals of different kinds
    /// agree.
    fn agrees_with(&self, event: &Event) -> bool {
        self.event.data.state == event.data.state
    }
}

fn kind_of(event: &Event) -> Option<Kind> {
    event.data.error.as_ref().and_then(|error| error.kind)
}

/// Returns true if a decision is the provider's definite answer, which two calls must not give
/// differently.
fn is_answer(finished: &Finished) -> bool {
    let event = &finished.effects.event;
    match event.data.state {
        State::Completed => true,
        // A refusal that leaves no dead letter came by a webhook of the provider.
        State::Failed => event.data.r#final && matches!(kind_of(event), Some(Kind::Declined | Kind::Rejected)),
        _ => false,
    }
}

impl Case {
    pub(super) fn finish(slot: &mut Option<Self>, id: RecordId, at: Timestamp, finished: &Finished) -> Ruling {
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
        if *by == By::Holder {
            case.adopt_replay(*step, true);
        }
        let refusal = match by {
            By::Holder => case.refuse_holder(finished),
            By::Canceller(_) => case.refuse_canceller(),
            By::Operator(_) | By::Job(_) => {
                case.not_dead().map(|too_late| case.unsaid().unwrap_or(Ruling::TooLate(too_late)))
            }
        };
        if let Some(ruling) = refusal {
            return ruling;
        }
        if let Some(attempt) = case.outrun(&finished.effects) {
            return Ruling::Outrun { attempt };
        }
        case.decide(id, at, finished)
    }

    /// Returns the least attempt under which the event has a higher number than any that may have
    /// been published, where its own number is too low.
    pub(super) fn outrun(&self, effects: &RecordedEffects) -> Option<u32> {
        let event = &effects.event;
        if !effects.told && !event.data.state.is_terminal() {
            // The event is not published.
            return None;
        }
        let EventData { sequence: number, generation, state, .. } = event.data;
        // A refused message is not part of a command's sequence.
        if number > self.told || number == REFUSED_SEQUENCE {
            return None;
        }
        let told = attempt_of(self.told);
        Some(if sequence(generation, told, state) > self.told { told } else { told.saturating_add(1) })
    }

    /// Returns the ruling against a decision of a message's holder, if there is one.
    pub(super) fn refuse_holder(&self, finished: &Finished) -> Option<Ruling> {
        let Finished { step, effects, .. } = finished;
        let is_answerable = self.was_called() || finished.call.is_some() || step.inquiry > 0;
        if let Some(ending) = &self.ending {
            if is_answerable && step.generation == self.step.generation && ending.gives_way_to(finished) {
                return None;
            }
            let same = ending.agrees_with(&effects.event) || !is_answer(finished);
            return if same { self.over() } else { Some(Ruling::Contradicts(Box::new(ending.event.clone()))) };
        }
        if step.generation != self.step.generation {
            // A late answer to a call of a generation that was given up; the next one is already on
            // its way.
            return Some(Ruling::Passed);
        }
        if is_answer(finished) {
            return (!is_answerable).then_some(Ruling::Passed);
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

    /// Returns true if a decision without an answer of the provider claims a definite outcome,
    /// while some call may have acted, or acts now.
    pub(super) fn doubts(&self, finished: &Finished) -> bool {
        let event = &finished.effects.event;
        let unresolved = kind_of(event) == Some(Kind::Unresolved);
        match &self.phase {
            // A query of the provider claims no outcome.
            Phase::TakenOver => !unresolved && event.data.state != State::Processing,
            _ if unresolved || !event.data.state.is_terminal() => false,
            _ if self.state() == State::Waiting => true,
            // The command is given up without a call, while an instance makes one.
            Phase::Started { guard: Guard::Key(_) | Guard::Claim(_), .. } if finished.call.is_none() => true,
            _ => (self.unknown && !finished.absent) || finished.unknown,
        }
    }

    /// Returns the ruling against a cancellation, if there is one.
    pub(super) fn refuse_canceller(&self) -> Option<Ruling> {
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

    /// Keeps the message of a command that waits, and its next headers; drops both once the command
    /// waits no more.
    fn keep(&mut self, finished: &Finished) {
        let waits = matches!(finished.effects.event.data.state, State::Waiting | State::Processing);
        let kept = finished.kept.clone().or(self.kept.take()).filter(|_| waits);
        let carried = finished.effects.carried.as_ref().map(|carried| carried.headers.clone());
        self.asking = carried.filter(|_| kept.is_some());
        self.kept = kept;
    }

    pub(super) fn decide(&mut self, id: RecordId, at: Timestamp, finished: &Finished) -> Ruling {
        let Finished { step, effects, unknown, absent, by, .. } = finished;
        let event = &effects.event;
        self.step = self.step.max(*step);
        self.told = self.told.max(event.data.sequence);
        self.unknown = (self.unknown && !absent) || *unknown;
        self.keep(finished);
        self.note_query(at, finished);
        // An id in an answer after which the call is made again names no result.
        if event.data.provider_reference.is_some() && event.data.state != State::Pending {
            self.provider_reference.clone_from(&event.data.provider_reference);
        }
        if let Some(reference) = self.provider_reference.clone() {
            self.remember_reference(&reference);
        }
        if finished.call.is_some() {
            // The start may be older than the retention of the ledger.
            self.calls = self.calls.max(1);
        }
        if let By::Job(decision) = by {
            self.job = Some(JobMark { id: decision.id, awaits_end: false });
        }
        self.phase = Phase::Decided { by: id, effects: Some(Box::new(effects.clone())) };
        self.deadline = effects.deadline();
        let mut granted = Granted { unknown: self.unknown, replies: Vec::new() };
        if event.data.state.is_terminal() {
            let letter = effects.dead_letter().map(Box::new);
            self.ending = Some(Ending { by: id, event: event.clone(), letter });
            granted.replies.clone_from(&self.replies);
        }
        let (word, detail) = describe(finished);
        let shown = Step::call(event.data.generation, step.attempt.max(1));
        let detail = match by {
            By::Holder => detail,
            By::Canceller(person) | By::Operator(person) | By::Job(JobDecision { person, .. }) => {
                Some(person.to_string())
            }
        };
        // A command that waits through repeated queries has one transition for that.
        let said = |last: &Transition| last.reason == word && last.step == shown;
        if effects.told || event.data.state.is_terminal() || !self.history.last().is_some_and(said) {
            self.note(at, event.data.state, shown, word, detail);
        }
        self.wait(event.data.next_attempt_at);
        Ruling::Counts(granted)
    }
}

/// Describes a decision in a word, with a detail.
fn describe(finished: &Finished) -> (&str, Option<String>) {
    let data = &finished.effects.event.data;
    let message = data.error.as_ref().map(|error| {
        let code = error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        format!("{code}{}", error.message)
    });
    match (data.state, data.error.as_ref().and_then(|error| error.kind)) {
        (State::Pending, _) => ("retry", message),
        (State::Processing, _) => ("lookup", message),
        (_, Some(kind)) => (kind.as_str(), message),
        (state, None) => (state.as_str(), data.provider_reference.clone()),
    }
}
