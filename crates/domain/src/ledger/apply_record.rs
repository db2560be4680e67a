//! The rulings on the records about a command; the module `finish` has those on decisions.

use jiff::Timestamp;

use super::command_state::{CallPhase, CommandState, MAX_CONFLICTS, MAX_REPLIES};
use super::job_mark::JobMark;
use super::record::{
    CallGuard, CancelRequested, ClaimExpired, CommandIdentity, OpenedRecord, Record, RecordBody,
    RecordId, ReleasedRecord, ReplayedRecord, ReplyTarget, SettledRecord, StartedRecord, Step,
    WaitReason,
};
use super::ruling::{Ruling, RulingGrant, TooLate};
use super::state_slot::StateSlot;
use crate::conflict::ConflictNote;
use crate::lifecycle::LifecycleState;

impl CommandState {
    /// Applies a record to the state of its command, and returns the ruling on the record. `id` is
    /// the record's own; repeats of a record must not get here.
    pub fn apply_record(slot: &mut impl StateSlot, id: RecordId, record: &Record) -> Ruling {
        if let Some(kind) = slot.state().and_then(|state| state.blocked.clone()) {
            return Ruling::Blocked(kind);
        }
        let ruling = Self::apply_body(slot, id, record);
        if let Some(state) = slot.state_mut() {
            state.keep_erased();
        }
        ruling
    }

    /// Records that the ledger holds a record about the command that must not be skipped and is not
    /// understood.
    pub fn block(slot: &mut impl StateSlot, kind: &str) {
        slot.get_or_insert_state(Self::unopened).blocked.get_or_insert_with(|| kind.to_owned());
    }

    fn apply_body(slot: &mut impl StateSlot, id: RecordId, record: &Record) -> Ruling {
        match &record.fact {
            RecordBody::Opened(opened) => Self::open(slot, record.at, opened),
            RecordBody::Started(started) => Self::start(slot, id, record.at, started),
            RecordBody::Finished(finished) => Self::finish(slot, id, record.at, finished),
            RecordBody::Replayed(replayed) => Self::replay(slot, record.at, replayed),
            RecordBody::CancelRequested(request) => Self::request_cancel(slot, record.at, request),
            RecordBody::Released(released) => {
                Self::known(slot, |state| state.release_claim(record.at, released))
            }
            RecordBody::ClaimExpired(taken) => {
                Self::known(slot, |state| state.take_over(record.at, taken))
            }
            RecordBody::Settled(settled) => {
                Self::known(slot, |state| state.settle_decision(settled))
            }
            RecordBody::ReplyRequested(target) => {
                Self::known(slot, |state| state.add_reply_target(target))
            }
            RecordBody::Conflicted(note) => Self::known(slot, |state| state.note_conflict(note)),
            RecordBody::Erased(erased) => Self::known(slot, |state| state.erase(record.at, erased)),
            RecordBody::Prompted(prompted) => {
                Self::known(slot, |state| state.note_prompt(record.at, prompted))
            }
        }
    }

    fn known(slot: &mut impl StateSlot, then: impl FnOnce(&mut Self) -> Ruling) -> Ruling {
        slot.state_mut().map_or(Ruling::Superseded, then)
    }

    fn open(slot: &mut impl StateSlot, at: Timestamp, opened: &OpenedRecord) -> Ruling {
        let OpenedRecord {
            identity: command_identity,
            step,
            fresh,
            recorded,
            reason,
            until,
            submitted_by: by,
        } = opened;
        let new = slot.state().is_none();
        let state = slot.get_or_insert_state(Self::unopened);
        if state.is_other(*fresh, Some(command_identity)) {
            return Ruling::ContentConflict;
        }
        if let Some(ruling) = state.adopt_identity(Some(command_identity), *step, *recorded) {
            return ruling;
        }
        state.adopt_replay(*step, true);
        if let Some(ruling) = state.check_superseded(*step) {
            return ruling;
        }
        if new || (state.step == *step && matches!(state.phase, CallPhase::Open)) {
            let submitter = by.as_ref().map(|by| format!("by {by}"));
            let detail = until.map(|until| format!("until {until}")).or(submitter);
            let reason = match reason {
                WaitReason::Submitted => "submitted",
                WaitReason::Early => "early",
                WaitReason::Busy => "busy",
                WaitReason::Stopping => "stopping",
            };
            // A command that passes along the ladder has one transition for that.
            if state.history.last().is_none_or(|last| last.reason != reason) {
                state.note_transition(at, LifecycleState::Pending, *step, reason, detail);
                state.note_wait(*until);
            }
        }
        Ruling::Counts(RulingGrant::default())
    }

    /// Creates the state of a command that was unknown, or known only by a request to cancel it.
    /// Where its message states that the ledger knew it, the records of its calls are lost: their
    /// outcome is unknown.
    fn adopt_identity(
        &mut self,
        identity: Option<&CommandIdentity>,
        step: Step,
        lost: bool,
    ) -> Option<Ruling> {
        if self.identity.is_none() {
            self.identify(identity);
            self.step = step;
            self.unknown |= lost;
        }
        match (&self.cancel, &self.ending, &self.phase) {
            (Some(person), None, CallPhase::Open) if !self.unknown => {
                Some(Ruling::Cancelled(person.clone()))
            }
            _ => None,
        }
    }

    /// Starts a later generation of a dead letter whose replay is not recorded: the outcome of its
    /// calls is unknown.
    pub(super) fn adopt_replay(&mut self, step: Step, unknown: bool) {
        if step.generation > self.step.generation && self.why_not_dead_letter().is_none() {
            (self.step, self.phase, self.ending) = (step, CallPhase::Open, None);
            (self.unknown, self.key, self.first_sent) = (unknown, None, None);
            (self.digest, self.token) = (None, String::new());
            self.key_since = step.generation;
        }
    }

    fn start(
        slot: &mut impl StateSlot,
        id: RecordId,
        at: Timestamp,
        started: &StartedRecord,
    ) -> Ruling {
        let StartedRecord { step, identity: command_identity, fresh, recorded, .. } = started;
        let lost = *recorded && started.guard != CallGuard::ReadOnly;
        let state = slot.get_or_insert_state(Self::unopened);
        if state.is_other(*fresh, command_identity.as_ref()) {
            return Ruling::ContentConflict;
        }
        if let Some(ruling) = state.adopt_identity(command_identity.as_ref(), *step, lost) {
            return ruling;
        }
        state.adopt_replay(*step, started.guard != CallGuard::ReadOnly);
        if let Some(ruling) = state.check_superseded(*step) {
            return ruling;
        }
        if *step == state.step {
            match &state.phase {
                CallPhase::Started { by, guard: CallGuard::Claim(ttl_ms) } => {
                    return Ruling::Claimed { claim: *by, ttl_ms: *ttl_ms };
                }
                // Under the same key a call may be repeated at once; a mere copy of the message
                // does not need to.
                CallPhase::Started { by, guard: CallGuard::Key(ttl_ms) }
                    if !started.redelivered && started.expired_claim != Some(*by) =>
                {
                    return Ruling::Claimed { claim: *by, ttl_ms: *ttl_ms };
                }
                CallPhase::Started { guard: CallGuard::Key(_), .. } => state.unknown = true,
                CallPhase::ClaimExpired => {
                    return Ruling::Counts(RulingGrant { unknown: true, replies: Vec::new() });
                }
                CallPhase::Open
                | CallPhase::Started { guard: CallGuard::ReadOnly, .. }
                | CallPhase::Decided { .. } => {}
            }
        } else if matches!(
            &state.phase,
            CallPhase::Started { guard: CallGuard::Key(_) | CallGuard::Claim(_), .. }
                | CallPhase::ClaimExpired
        ) {
            state.unknown = true;
        }
        state.record_start(id, at, started);
        Ruling::Counts(RulingGrant { unknown: state.unknown, replies: Vec::new() })
    }

    fn record_start(&mut self, id: RecordId, at: Timestamp, started: &StartedRecord) {
        let StartedRecord {
            step,
            guard,
            unknown,
            key,
            request_digest: digest,
            token,
            money,
            first_sent,
            ..
        } = started;
        self.step = *step;
        self.calls = self.calls.saturating_add(1);
        self.phase = CallPhase::Started { by: id, guard: *guard };
        self.unknown |= unknown;
        if self.key.is_none() {
            self.key.clone_from(key);
        }
        if self.digest.is_none() {
            (self.digest, self.token) = (Some(digest.clone()), token.clone());
        }
        self.money = money.clone().or(self.money.take());
        self.first_sent.get_or_insert(first_sent.unwrap_or(at));
        self.note_transition(at, LifecycleState::Processing, *step, "started", None);
    }

    fn release_claim(&mut self, at: Timestamp, released: &ReleasedRecord) -> Ruling {
        match &self.phase {
            CallPhase::Started { by, .. } if *by == released.started => {
                self.phase = CallPhase::Open;
                self.calls = self.calls.saturating_sub(1);
                self.note_transition(at, LifecycleState::Pending, self.step, "released", None);
                Ruling::Counts(RulingGrant::default())
            }
            _ => Ruling::Superseded,
        }
    }

    fn take_over(&mut self, at: Timestamp, taken: &ClaimExpired) -> Ruling {
        match &self.phase {
            CallPhase::Started { by, guard: CallGuard::Claim(_) }
                if *by == taken.claim && self.ending.is_none() =>
            {
                self.phase = CallPhase::ClaimExpired;
                self.unknown = true;
                self.note_transition(
                    at,
                    LifecycleState::Processing,
                    self.step,
                    "claim_expired",
                    None,
                );
                Ruling::Counts(RulingGrant { unknown: true, replies: Vec::new() })
            }
            CallPhase::ClaimExpired => {
                Ruling::Counts(RulingGrant { unknown: true, replies: Vec::new() })
            }
            _ => self.check_superseded(self.step).unwrap_or(Ruling::Superseded),
        }
    }

    fn settle_decision(&mut self, settled: &SettledRecord) -> Ruling {
        if let CallPhase::Decided { by, effects } = &mut self.phase
            && *by == settled.finished
        {
            *effects = None;
            if self.ending.is_some() {
                self.replies.clear();
            }
        }
        Ruling::Counts(RulingGrant::default())
    }

    fn add_reply_target(&mut self, target: &ReplyTarget) -> Ruling {
        if let Some(ending) = &self.ending {
            return Ruling::Ended(ending.event.clone());
        }
        if self.replies.len() < MAX_REPLIES && !self.replies.contains(target) {
            self.replies.push(target.clone());
        }
        Ruling::Counts(RulingGrant::default())
    }

    /// Adds a conflict; the first ones are kept, and each once.
    fn note_conflict(&mut self, note: &ConflictNote) -> Ruling {
        let is_known = self.conflicts.iter().any(|known| known.event == note.event);
        if !is_known && self.conflicts.len() < MAX_CONFLICTS {
            self.conflicts.push(note.clone());
        }
        if is_known { Ruling::Superseded } else { Ruling::Counts(RulingGrant::default()) }
    }

    fn request_cancel(
        slot: &mut impl StateSlot,
        at: Timestamp,
        request: &CancelRequested,
    ) -> Ruling {
        let new = slot.state().is_none();
        let state = slot.get_or_insert_state(Self::unopened);
        if state.identity.is_some() {
            return Ruling::Superseded;
        }
        if let Some(over) = state.ending_event() {
            // The command was cancelled without having arrived.
            return over;
        }
        if new {
            state.note_transition(
                at,
                LifecycleState::Pending,
                state.step,
                "cancel_requested",
                Some(request.actor.to_string()),
            );
        }
        state.cancel.get_or_insert_with(|| request.actor.clone());
        Ruling::Counts(RulingGrant::default())
    }

    fn replay(slot: &mut impl StateSlot, at: Timestamp, replayed: &ReplayedRecord) -> Ruling {
        let ReplayedRecord {
            identity: command_identity,
            from,
            unknown,
            key,
            first_sent,
            request_digest: digest,
            token,
            actor: person,
            job,
        } = replayed;
        let step = Step::call(from.saturating_add(1), 1);
        if let Some(state) = slot.state() {
            if state.step.generation > *from {
                return Ruling::TooLate(TooLate::Replayed);
            }
            if let Some(too_late) = state.why_not_dead_letter() {
                return Ruling::TooLate(too_late);
            }
        }
        let state = slot.get_or_insert_state(|| Self::opened(Some(command_identity), step));
        state.identify(Some(command_identity));
        (state.step, state.phase, state.ending) = (step, CallPhase::Open, None);
        state.job = job.map(|id| JobMark { id, awaits_end: true });
        state.unknown = *unknown;
        state.key.clone_from(key);
        state.first_sent = *first_sent;
        state.digest.clone_from(digest);
        state.token.clone_from(token);
        (state.retained_message, state.asking) = (None, None);
        if !unknown {
            // The generation has another key, or another call without one. The provider's id so far
            // is that of an earlier call, and not of the one made now.
            state.key_since = step.generation;
            state.former_reference =
                state.provider_reference.take().or(state.former_reference.take());
        }
        state.note_transition(
            at,
            LifecycleState::Pending,
            step,
            "replayed",
            Some(person.to_string()),
        );
        Ruling::Counts(RulingGrant::default())
    }
}
