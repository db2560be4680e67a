//! The rulings on decisions: the end of a command, and every other decision about it.
//!
//! The first definite end stays. An `unresolved` command, whose outcome is unknown, gives way to an
//! answer of the provider, any other dead letter to `completed`, and each to a person's decision.
//! An answer counts only where a call was begun that it can answer: a statement of the provider
//! about a command that was never sent is about something else.

use jiff::Timestamp;

use super::command_state::{CallPhase, CommandEnding, CommandState};
use super::effects::RecordedEffects;
use super::job_mark::JobMark;
use super::record::{CallGuard, DecidedBy, FinishedRecord, JobDecision, RecordId, Step};
use super::ruling::{Ruling, RulingGrant, TooLate};
use super::state_slot::StateSlot;
use super::transition::StateTransition;
use crate::event::{Event, EventData, REFUSED_SEQUENCE, attempt_of, sequence};
use crate::lifecycle::{FailureKind, LifecycleState};

impl CommandEnding {
    /// Returns true if a decision of a message's holder may replace the end: only a definite answer
    /// of the provider may.
    fn gives_way_to(&self, finished: &FinishedRecord) -> bool {
        let completed = finished.effects.event.data.state == LifecycleState::Completed;
        self.is_dead()
            && is_answer(finished)
            && (completed || self.kind() == Some(FailureKind::Unresolved))
    }

    /// Returns true if `event` agrees about the provider's action: two refusals of different kinds
    /// agree.
    fn agrees_with(&self, event: &Event) -> bool {
        self.event.data.state == event.data.state
    }
}

fn kind_of(event: &Event) -> Option<FailureKind> {
    event.data.error.as_ref().and_then(|error| error.kind)
}

/// Returns true if a decision is the provider's definite answer, which two calls must not give
/// differently.
fn is_answer(finished: &FinishedRecord) -> bool {
    let event = &finished.effects.event;
    match event.data.state {
        LifecycleState::Completed => true,
        // A refusal that leaves no dead letter came by a webhook of the provider.
        LifecycleState::Failed => {
            event.data.r#final
                && matches!(kind_of(event), Some(FailureKind::Declined | FailureKind::Rejected))
        }
        _ => false,
    }
}

impl CommandState {
    pub(super) fn finish(
        slot: &mut impl StateSlot,
        id: RecordId,
        at: Timestamp,
        finished: &FinishedRecord,
    ) -> Ruling {
        let FinishedRecord { step, identity: command_identity, fresh, decided_by: by, .. } =
            finished;
        let Some(state) = slot.state_mut() else {
            if matches!(by, DecidedBy::Canceller(_)) {
                return Ruling::Superseded;
            }
            let state = slot.get_or_insert_state(|| Self::opened(command_identity.as_ref(), *step));
            return state.decide(id, at, finished);
        };
        if state.is_other(*fresh, command_identity.as_ref()) {
            return Ruling::ContentConflict;
        }
        state.identify(command_identity.as_ref());
        if *by == DecidedBy::Holder {
            state.adopt_replay(*step, true);
        }
        let refusal = match by {
            DecidedBy::Holder => state.refuse_holder(finished),
            DecidedBy::Canceller(_) => state.refuse_canceller(),
            DecidedBy::Operator(_) | DecidedBy::Job(_) => state
                .why_not_dead_letter()
                .map(|too_late| state.unpublished_ending().unwrap_or(Ruling::TooLate(too_late))),
        };
        if let Some(ruling) = refusal {
            return ruling;
        }
        if let Some(attempt) = state.least_attempt(&finished.effects) {
            return Ruling::SequenceTooLow { attempt };
        }
        state.decide(id, at, finished)
    }

    /// Returns the least attempt under which the event has a higher number than any that may have
    /// been published, where its own number is too low.
    pub(super) fn least_attempt(&self, effects: &RecordedEffects) -> Option<u32> {
        let event = &effects.event;
        if !effects.publish_event && !event.data.state.is_terminal() {
            // The event is not published.
            return None;
        }
        let EventData { sequence: number, generation, state, .. } = event.data;
        // A refused message is not part of a command's sequence.
        if number > self.published_sequence || number == REFUSED_SEQUENCE {
            return None;
        }
        let published = attempt_of(self.published_sequence);
        Some(if sequence(generation, published, state) > self.published_sequence {
            published
        } else {
            published.saturating_add(1)
        })
    }

    /// Returns the ruling against a decision of a message's holder, if there is one.
    pub(super) fn refuse_holder(&self, finished: &FinishedRecord) -> Option<Ruling> {
        let FinishedRecord { step, effects, .. } = finished;
        let is_answerable = self.was_called() || finished.call.is_some() || step.query > 0;
        if let Some(ending) = &self.ending {
            if is_answerable
                && step.generation == self.step.generation
                && ending.gives_way_to(finished)
            {
                return None;
            }
            let same = ending.agrees_with(&effects.event) || !is_answer(finished);
            return if same {
                self.ending_event()
            } else {
                Some(Ruling::Contradicts(ending.event.clone()))
            };
        }
        if step.generation != self.step.generation {
            // A late answer to a call of a generation that was given up; the next one is already on
            // its way.
            return Some(Ruling::Superseded);
        }
        if is_answer(finished) {
            return (!is_answerable).then_some(Ruling::Superseded);
        }
        if *step < self.step {
            return Some(Ruling::Superseded);
        }
        if *step == self.step
            && let CallPhase::Decided { .. } = &self.phase
        {
            return Some(self.check_superseded(*step).unwrap_or(Ruling::Superseded));
        }
        self.doubts_decision(finished).then_some(Ruling::Unknown)
    }

    /// Returns true if a decision without an answer of the provider claims a definite outcome,
    /// while some call may have acted, or acts now.
    pub(super) fn doubts_decision(&self, finished: &FinishedRecord) -> bool {
        let event = &finished.effects.event;
        let unresolved = kind_of(event) == Some(FailureKind::Unresolved);
        match &self.phase {
            // A query of the provider claims no outcome.
            CallPhase::ClaimExpired => {
                !unresolved && event.data.state != LifecycleState::Processing
            }
            _ if unresolved || !event.data.state.is_terminal() => false,
            _ if self.state() == LifecycleState::Waiting => true,
            // The command is given up without a call, while an instance makes one.
            CallPhase::Started { guard: CallGuard::Key(_) | CallGuard::Claim(_), .. }
                if finished.call.is_none() =>
            {
                true
            }
            _ => (self.unknown && !finished.not_found) || finished.unknown,
        }
    }

    /// Returns the ruling against a cancellation, if there is one.
    pub(super) fn refuse_canceller(&self) -> Option<Ruling> {
        let too_late = match (&self.ending, &self.phase) {
            (Some(_), _) => return self.ending_event(),
            (None, CallPhase::Started { .. }) => TooLate::InFlight,
            (None, CallPhase::ClaimExpired) => TooLate::Unknown,
            (None, CallPhase::Open | CallPhase::Decided { .. }) if self.unknown => TooLate::Unknown,
            (None, CallPhase::Decided { .. }) if self.state() == LifecycleState::Waiting => {
                TooLate::Accepted
            }
            (None, CallPhase::Open | CallPhase::Decided { .. }) => return None,
        };
        Some(Ruling::TooLate(too_late))
    }

    /// Keeps the message of a command that waits, and its next headers; drops both once the command
    /// waits no more.
    fn retain_message(&mut self, finished: &FinishedRecord) {
        let waits = matches!(
            finished.effects.event.data.state,
            LifecycleState::Waiting | LifecycleState::Processing
        );
        let kept =
            finished.retained_message.clone().or(self.retained_message.take()).filter(|_| waits);
        let headers = finished.effects.message.as_ref().map(|message| message.headers.clone());
        self.asking = headers.filter(|_| kept.is_some());
        self.retained_message = kept;
    }

    pub(super) fn decide(
        &mut self,
        id: RecordId,
        at: Timestamp,
        finished: &FinishedRecord,
    ) -> Ruling {
        let FinishedRecord { step, effects, unknown, not_found: absent, decided_by: by, .. } =
            finished;
        let event = &effects.event;
        self.step = self.step.max(*step);
        self.published_sequence = self.published_sequence.max(event.data.sequence);
        self.unknown = (self.unknown && !absent) || *unknown;
        self.retain_message(finished);
        self.note_query(at, finished);
        // An id in an answer after which the call is made again names no result.
        if event.data.provider_reference.is_some() && event.data.state != LifecycleState::Pending {
            self.provider_reference.clone_from(&event.data.provider_reference);
        }
        if let Some(reference) = self.provider_reference.clone() {
            self.remember_reference(&reference);
        }
        if finished.call.is_some() {
            // The start may be older than the retention of the ledger.
            self.calls = self.calls.max(1);
        }
        if let DecidedBy::Job(decision) = by {
            self.job = Some(JobMark { id: decision.id, awaits_end: false });
        }
        self.phase = CallPhase::Decided { by: id, effects: Some(Box::new(effects.clone())) };
        self.deadline = effects.deadline();
        let mut granted = RulingGrant { unknown: self.unknown, replies: Vec::new() };
        if event.data.state.is_terminal() {
            let letter = effects.dead_letter().map(Box::new);
            self.ending = Some(CommandEnding { by: id, event: event.clone(), letter });
            granted.replies.clone_from(&self.replies);
        }
        let (reason, detail) = describe_decision(finished);
        let shown = Step::call(event.data.generation, step.attempt.max(1));
        let detail = match by {
            DecidedBy::Holder => detail,
            DecidedBy::Canceller(person)
            | DecidedBy::Operator(person)
            | DecidedBy::Job(JobDecision { actor: person, .. }) => Some(person.to_string()),
        };
        // A command that waits through repeated queries has one transition for that.
        let said = |last: &StateTransition| last.reason == reason && last.step == shown;
        if effects.publish_event
            || event.data.state.is_terminal()
            || !self.history.last().is_some_and(said)
        {
            self.note_transition(at, event.data.state, shown, reason, detail);
        }
        self.note_wait(event.data.next_attempt_at);
        Ruling::Counts(granted)
    }
}

/// Describes a decision by the reason of its transition, with a detail.
fn describe_decision(finished: &FinishedRecord) -> (&str, Option<String>) {
    let data = &finished.effects.event.data;
    let message = data.error.as_ref().map(|error| {
        let code = error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
        format!("{code}{}", error.message)
    });
    match (data.state, data.error.as_ref().and_then(|error| error.kind)) {
        (LifecycleState::Pending, _) => ("retry", message),
        (LifecycleState::Processing, _) => ("lookup", message),
        (_, Some(kind)) => (kind.as_str(), message),
        (state, None) => (state.as_str(), data.provider_reference.clone()),
    }
}
