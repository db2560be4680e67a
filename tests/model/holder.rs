//! The actions of an instance, one effect at a time.

use ferryd_domain::lifecycle::{
    Admission, AttemptLimits, Decision, decide_after_call, decide_before_call, note_outcome,
};
use ferryd_domain::outcome::{Failure, Outcome, Success, WaitingFor};
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{LookupPolicy, PollPolicy};
use ferryd_domain::retry::RetryPolicy;
use jiff::Timestamp;

use crate::ledger::{
    MessageErrand, ModelContinuation, ModelDecider, ModelEffects, ModelEvent, ModelEventKind,
    ModelFailure, ModelFinish, ModelGuard, ModelLedger, ModelRecord, ModelStart, ModelStep,
    ModelView, RecordKey,
};
use crate::query::{query_of, short_query};
use crate::refusal::REFUSED;
use crate::setup::{PlantedMistake, WorldSetup};
use crate::unroutable::ArrivalWay;
use crate::world::{
    BrokerMessage, BrokerMessageKind, InstancePlace, ModelInstance, OperatorJob, WorldState,
};

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelAnswer {
    Completed,
    /// The provider acts, and publishes the result later.
    Accepted,
    Declined,
    Transient,
    Rejected,
    /// No answer arrives, and the provider acted or not.
    Unknown(bool),
}

/// One step of one instance, with everything that it needs to know.
pub struct InstanceStep<'a> {
    pub setup: &'a WorldSetup,
    pub ledger: &'a mut ModelLedger,
    pub world: &'a mut WorldState,
    /// The instance that acts.
    pub who: usize,
}

pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The progress that a held command's message claims.
#[derive(Clone, Copy)]
pub struct HeldCommand {
    pub step: ModelStep,
    pub errand: MessageErrand,
    pub recorded: bool,
    pub content: u8,
    pub unknown: bool,
    pub key: Option<u8>,
    pub expired_claim: Option<RecordKey>,
}

impl InstanceStep<'_> {
    pub fn me(&mut self) -> &mut ModelInstance {
        &mut self.world.instances[self.who]
    }

    pub fn goes(&mut self, at: InstancePlace) {
        self.me().at = at;
    }

    pub fn send(&mut self, record: ModelRecord) {
        let id = self.world.free_id(self.ledger);
        self.world.transit.push((id, record));
        self.goes(InstancePlace::Sent(id, record));
    }

    pub fn held(&mut self) -> Option<BrokerMessageKind> {
        self.me().message.map(|message| message.kind)
    }

    pub fn held_command(&mut self) -> HeldCommand {
        match self.held() {
            Some(BrokerMessageKind::Command {
                step,
                errand,
                recorded,
                content,
                unknown,
                key,
                expired_claim,
            }) => {
                let lost = recorded && self.ledger.view(self.world.case).awaited.is_none();
                let unknown = unknown || lost;
                let command =
                    HeldCommand { step, errand, recorded, content, unknown, key, expired_claim };
                self.me().placed.map_or(command, |step| self.placed(command, step))
            }
            other => panic!("no command is held: {other:?}"),
        }
    }

    /// Corrects the progress that a message claims by the ledger.
    fn placed(&self, command: HeldCommand, step: ModelStep) -> HeldCommand {
        let ModelView { awaited, key, .. } = self.ledger.view(self.world.case);
        let key =
            key.filter(|_| awaited.is_some_and(|awaited| awaited.generation == step.generation));
        let errand = if step.query > 0 { MessageErrand::Poll } else { MessageErrand::Call };
        let recorded = self.setup.mistake != Some(PlantedMistake::TakesPoisonForFresh);
        HeldCommand { step, errand, recorded, key, unknown: true, ..command }
    }

    pub fn key(&mut self) -> Option<u8> {
        let HeldCommand { key, step, .. } = self.held_command();
        if self.me().placed.is_some() {
            return key;
        }
        (self.setup.guard == ModelGuard::Key).then(|| key.unwrap_or(step.generation))
    }

    /// Takes a delivered message.
    pub fn take(&mut self, message: BrokerMessage) {
        *self.me() = ModelInstance { message: Some(message), linked: true, ..ModelInstance::IDLE };
        match message.kind {
            BrokerMessageKind::Command { content: REFUSED, .. } => self.refuse(),
            BrokerMessageKind::Command { .. } if message.way != ArrivalWay::Lane => {
                self.take_unroutable(message.way);
            }
            BrokerMessageKind::Command { errand: MessageErrand::Call, .. } => {
                self.admit(message.redelivered);
            }
            BrokerMessageKind::Command { .. } => self.goes(InstancePlace::Querying),
            BrokerMessageKind::Dead { generation, unknown, key, job } => {
                self.operate(generation, unknown, key, job);
            }
            BrokerMessageKind::Cancel => self.decide_beside(
                ModelDecider::Canceller,
                ModelEventKind::Failed(ModelFailure::Cancelled),
            ),
            BrokerMessageKind::Webhook(what) => self.decide_beside(ModelDecider::Holder, what),
        }
    }

    /// Defers a delivered command whose provider is busy.
    pub fn defer(&mut self, message: BrokerMessage) {
        *self.me() = ModelInstance { message: Some(message), linked: true, ..ModelInstance::IDLE };
        self.again();
    }

    pub fn limits(&self, generation: u8) -> AttemptLimits {
        let pauses = usize::from(self.setup.attempts - 1);
        let hour = std::time::Duration::from_hours(1);
        AttemptLimits {
            policy: RetryPolicy {
                schedule: vec![hour / 60; pauses],
                give_up_after: 24 * hour,
                jitter: false,
            },
            key_retention: (self.setup.guard == ModelGuard::Key).then_some(24 * hour),
            not_before: None,
            deadline: hour,
            poll: self
                .setup
                .queries
                .then_some(PollPolicy { interval: hour / 60, max_interval: hour }),
            lookup: self.setup.queries.then_some(LookupPolicy {
                after: std::time::Duration::ZERO,
                proves_absence: true,
                needs_reference: false,
            }),
            expires_at: (self.world.expired && generation == 0)
                .then(|| NOW - std::time::Duration::from_secs(1)),
        }
    }

    pub fn progress(&mut self, unknown: bool) -> GenerationProgress {
        let HeldCommand { step, errand, .. } = self.held_command();
        let mut progress = GenerationProgress::of_generation(step.generation.into(), NOW);
        progress.attempt = step.attempt.into();
        progress.unknown = unknown;
        progress.first_sent = Some(NOW);
        progress.unknown_since = unknown.then_some(NOW);
        progress.deadline =
            (errand == MessageErrand::Poll).then_some(NOW + std::time::Duration::from_hours(1));
        progress.query = query_of(errand, step);
        progress
    }

    fn admit(&mut self, redelivered: bool) {
        let HeldCommand { step, recorded, content, unknown, expired_claim, .. } =
            self.held_command();
        let progress = self.progress(unknown);
        match decide_before_call(&progress, &self.limits(step.generation), NOW) {
            Admission::Call => {
                let (guard, key) = (self.setup.guard, self.key());
                let start = ModelStart {
                    step,
                    guard,
                    content,
                    recorded,
                    redelivered,
                    expired_claim,
                    unknown,
                    key,
                };
                self.send(ModelRecord::Started(start));
            }
            Admission::Instead(decision) => self.decided(*decision, false, unknown),
            Admission::Park(_) => panic!("nothing comes too early here"),
        }
    }

    pub fn give_up(&mut self, why: ModelFailure, called: bool, unknown: bool) {
        let step = self.held_command().step.call();
        let unknown = unknown || why == ModelFailure::Unresolved;
        let dead =
            ModelContinuation::Dead { generation: step.generation, unknown, key: self.key() };
        let continuation =
            if why.kind().dead_letters() { dead } else { ModelContinuation::Nothing };
        self.finish(
            ModelEffects {
                event: ModelEvent { step, what: ModelEventKind::Failed(why) },
                continuation,
            },
            called,
            unknown,
        );
    }

    pub fn finish(&mut self, effects: ModelEffects, called: bool, unknown: bool) {
        let HeldCommand { step, errand, content, recorded, .. } = self.held_command();
        let absent = matches!(errand, MessageErrand::Lookup(_)) && !unknown;
        self.send(ModelRecord::Finished(ModelFinish {
            step,
            content,
            recorded,
            called,
            unknown,
            absent,
            by: ModelDecider::Holder,
            effects,
        }));
    }

    /// Appends a decision without the command's message: it is about the current step of the
    /// command.
    pub fn decide_beside(&mut self, by: ModelDecider, what: ModelEventKind) {
        let view = self.ledger.view(self.world.case);
        let effects = ModelEffects {
            event: ModelEvent { step: view.step.call(), what },
            continuation: ModelContinuation::Nothing,
        };
        let (step, unknown, absent) = (view.step, view.unknown, false);
        self.send(ModelRecord::Finished(ModelFinish {
            step,
            content: 0,
            recorded: true,
            called: false,
            unknown,
            absent,
            by,
            effects,
        }));
    }

    fn operate(
        &mut self,
        generation: u8,
        unknown: bool,
        key: Option<u8>,
        job: Option<OperatorJob>,
    ) {
        let fresh =
            ModelRecord::Replayed { from: generation, unknown: false, key: None, forced: unknown };
        match job {
            Some(OperatorJob::Discard) => self.decide_beside(
                ModelDecider::Operator,
                ModelEventKind::Failed(ModelFailure::Discarded),
            ),
            Some(OperatorJob::Replay) if unknown => {
                self.send(ModelRecord::Replayed { from: generation, unknown, key, forced: false });
            }
            _ => self.send(fresh),
        }
    }

    /// Ends the call.
    pub fn answered(&mut self, unknown: bool, acted: bool, answer: ModelAnswer) {
        let (step, key) = (self.held_command().step, self.key());
        match answer {
            _ if acted => {}
            ModelAnswer::Completed | ModelAnswer::Accepted | ModelAnswer::Unknown(true) => {
                self.world.seen.act(key, ModelEventKind::Completed);
            }
            ModelAnswer::Declined => {
                self.world.seen.act(key, ModelEventKind::Failed(ModelFailure::Declined));
            }
            ModelAnswer::Transient | ModelAnswer::Rejected | ModelAnswer::Unknown(false) => {}
        }
        if matches!(answer, ModelAnswer::Unknown(_)) && key.is_none() {
            self.world.seen.lose(step.generation);
        }
        let outcome = match answer {
            ModelAnswer::Completed => Outcome::Completed(Success::default()),
            ModelAnswer::Accepted => Outcome::Waiting(Success::default(), WaitingFor::Provider),
            ModelAnswer::Declined => Outcome::Declined(Failure::default()),
            ModelAnswer::Transient => Outcome::Transient(Failure::default(), None),
            ModelAnswer::Rejected => Outcome::Rejected(Failure::default()),
            ModelAnswer::Unknown(_) => Outcome::Unknown(Failure::default()),
        };
        let mut progress = self.progress(unknown);
        note_outcome(&mut progress, &outcome, NOW);
        let unknown = progress.unknown;
        let decision =
            decide_after_call(outcome, &progress, &self.limits(step.generation), NOW, 0.5);
        self.decided(decision, true, unknown);
    }

    /// Records a decision.
    pub fn decided(&mut self, decision: Decision, called: bool, unknown: bool) {
        let (step, key) = (self.held_command().step, self.key());
        let next = |step, errand| ModelContinuation::Next { step, errand, unknown, key };
        let (event, continuation) = match decision {
            Decision::GiveUp(kind, _) => {
                return self.give_up(ModelFailure::of(kind), called, unknown);
            }
            Decision::Complete(_) => (
                ModelEvent { step: step.call(), what: ModelEventKind::Completed },
                ModelContinuation::Nothing,
            ),
            Decision::Retry { .. } => {
                let again = ModelStep { attempt: step.attempt + 1, ..step.call() };
                (
                    ModelEvent { step: again, what: ModelEventKind::Pending },
                    next(again, MessageErrand::Call),
                )
            }
            Decision::Wait(accepted) => {
                let (queried, errand) = short_query(step, accepted.query);
                (
                    ModelEvent { step: step.call(), what: ModelEventKind::Waiting },
                    next(queried, errand),
                )
            }
            Decision::Query(query, _) => {
                let (queried, errand) = short_query(step, query);
                let what = if errand == MessageErrand::Poll {
                    ModelEventKind::Still
                } else {
                    ModelEventKind::Doubtful
                };
                (ModelEvent { step: step.call(), what }, next(queried, errand))
            }
        };
        self.finish(ModelEffects { event, continuation }, called, unknown);
    }
}

/// Returns the effects of an event alone.
pub fn bare(event: ModelEvent) -> ModelEffects {
    ModelEffects { event, continuation: ModelContinuation::Nothing }
}
