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
    ModelFailure, ModelFinish, ModelGuard, ModelLedger, ModelMessage, ModelPlan, ModelRecord,
    ModelRole, ModelRuling, ModelStart, ModelStep, ModelView, RecordKey, is_fresh,
};
use crate::query::{query_of, short_query};
use crate::refusal::REFUSED;
use crate::unroutable::ArrivalWay;
use crate::world::{
    BrokerMessage, BrokerMessageKind, InstancePlace, ModelInstance, OperatorJob, WorldState,
};
use crate::{PlantedMistake, WorldSetup};

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
    content: u8,
    pub unknown: bool,
    key: Option<u8>,
    expired_claim: Option<RecordKey>,
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

    fn held(&mut self) -> Option<BrokerMessageKind> {
        self.me().message.map(|message| message.kind)
    }

    pub fn parcel(&mut self) -> HeldCommand {
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
                let parcel =
                    HeldCommand { step, errand, recorded, content, unknown, key, expired_claim };
                self.me().placed.map_or(parcel, |step| self.placed(parcel, step))
            }
            other => panic!("no command is held: {other:?}"),
        }
    }

    /// Corrects the progress that a message claims by the ledger.
    fn placed(&self, parcel: HeldCommand, step: ModelStep) -> HeldCommand {
        let ModelView { awaited, key, .. } = self.ledger.view(self.world.case);
        let key =
            key.filter(|_| awaited.is_some_and(|awaited| awaited.generation == step.generation));
        let errand = if step.inquiry > 0 { MessageErrand::Poll } else { MessageErrand::Call };
        let recorded = self.setup.mistake != Some(PlantedMistake::TakesPoisonForFresh);
        HeldCommand { step, errand, recorded, key, unknown: true, ..parcel }
    }

    pub fn key(&mut self) -> Option<u8> {
        let HeldCommand { key, step, .. } = self.parcel();
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
            BrokerMessageKind::Command { .. } => self.goes(InstancePlace::Asking),
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
                .inquiries
                .then_some(PollPolicy { interval: hour / 60, max_interval: hour }),
            lookup: self.setup.inquiries.then_some(LookupPolicy {
                after: std::time::Duration::ZERO,
                proves_absence: true,
                needs_reference: false,
            }),
            expires_at: (self.world.expired && generation == 0)
                .then(|| NOW - std::time::Duration::from_secs(1)),
        }
    }

    pub fn progress(&mut self, unknown: bool) -> GenerationProgress {
        let HeldCommand { step, errand, .. } = self.parcel();
        let mut progress = GenerationProgress::of_generation(step.generation.into(), NOW);
        progress.attempt = step.attempt.into();
        progress.unknown = unknown;
        progress.first_sent = Some(NOW);
        progress.unknown_since = unknown.then_some(NOW);
        progress.deadline =
            (errand == MessageErrand::Poll).then_some(NOW + std::time::Duration::from_hours(1));
        progress.inquiry = query_of(errand, step);
        progress
    }

    fn admit(&mut self, redelivered: bool) {
        let HeldCommand { step, recorded, content, unknown, expired_claim, .. } = self.parcel();
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
        let step = self.parcel().step.call();
        let unknown = unknown || why == ModelFailure::Unresolved;
        let dead =
            ModelContinuation::Dead { generation: step.generation, unknown, key: self.key() };
        let carried = if why.kind().dead_letters() { dead } else { ModelContinuation::Nothing };
        self.finish(
            ModelEffects { event: ModelEvent { step, what: ModelEventKind::Failed(why) }, carried },
            called,
            unknown,
        );
    }

    pub fn finish(&mut self, effects: ModelEffects, called: bool, unknown: bool) {
        let HeldCommand { step, errand, content, recorded, .. } = self.parcel();
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
            carried: ModelContinuation::Nothing,
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

    /// Acts on the ruling on the instance's own record.
    pub fn read(&mut self, id: RecordKey, record: ModelRecord, ruling: u16) {
        let said = self.ledger.said(ruling);
        match record {
            ModelRecord::Opened { .. } if matches!(said, ModelRuling::Counts { .. }) => {
                self.forward(None);
            }
            ModelRecord::Opened { .. } | ModelRecord::Started(_) => {
                self.follow(id, ruling, ModelRole::Begins(self.setup.guard));
            }
            ModelRecord::Released(_) => self.again(),
            ModelRecord::TakenOver(_) => self.follow(id, ruling, ModelRole::TakesOver),
            ModelRecord::Finished(finish) => self.after_finish(id, finish, ruling),
            ModelRecord::CancelWished => {
                match self.ledger.plan(ruling, ModelRole::Canceller, ModelMessage::default()) {
                    ModelPlan::Reread => self.decide_beside(
                        ModelDecider::Canceller,
                        ModelEventKind::Failed(ModelFailure::Cancelled),
                    ),
                    ModelPlan::Publish(by, effects) => self.publish(Some(by), effects),
                    _ => self.goes(InstancePlace::Ack { by: None }),
                }
            }
            ModelRecord::Replayed { from, unknown, key, .. } => {
                self.after_replay(from, unknown, key, said);
            }
            ModelRecord::Asked => match said {
                ModelRuling::Ended(event) => {
                    self.goes(InstancePlace::Event { by: None, effects: bare(event) });
                }
                _ => self.goes(InstancePlace::Ack { by: None }),
            },
            ModelRecord::Refused => self.after_refusal(said),
            ModelRecord::Settled(_) | ModelRecord::Erased => {
                self.goes(InstancePlace::Ack { by: None });
            }
        }
    }

    /// Follows the protocol's next action for a held message.
    fn follow(&mut self, id: RecordKey, ruling: u16, part: ModelRole) {
        let HeldCommand { step, recorded, expired_claim, .. } = self.parcel();
        let held = ModelMessage { fresh: is_fresh(recorded, step), unproven: false, expired_claim };
        match self.ledger.plan(ruling, part, held) {
            ModelPlan::Proceed { .. } if self.me().late => self.send(ModelRecord::Released(id)),
            ModelPlan::Proceed { unknown } => self.call(id, unknown),
            ModelPlan::Doubt if self.setup.mistake == Some(PlantedMistake::CallsAfterUnknown) => {
                self.call(id, true);
            }
            ModelPlan::Doubt => self.doubt(false),
            ModelPlan::WaitOut(claim) => self.forward(Some(claim)),
            ModelPlan::TakeOver(claim) => self.send(ModelRecord::TakenOver(claim)),
            ModelPlan::Publish(by, effects) => self.publish(Some(by), effects),
            ModelPlan::Answer(event) => self.publish(None, bare(event)),
            ModelPlan::Ask => self.send(ModelRecord::Asked),
            ModelPlan::Again => self.again(),
            ModelPlan::Drop | ModelPlan::Conflict => self.goes(InstancePlace::Ack { by: None }),
            ModelPlan::Cancel => self.give_up(ModelFailure::Cancelled, false, false),
            other => panic!("nothing is decided yet: {other:?}"),
        }
    }

    pub fn call(&mut self, start: RecordKey, unknown: bool) {
        let (step, guard, key) = (self.parcel().step, self.setup.guard, self.key());
        self.world.seen.call(step, guard, key);
        self.goes(InstancePlace::Calling { start, unknown, acted: false });
    }

    /// Sends the message on unchanged, to be taken up later.
    fn forward(&mut self, expired_claim: Option<RecordKey>) {
        let HeldCommand { step, errand, content, unknown, key, .. } = self.parcel();
        self.goes(InstancePlace::Forward(BrokerMessageKind::Command {
            step,
            errand,
            recorded: true,
            content,
            unknown,
            key,
            expired_claim,
        }));
    }

    fn publish(&mut self, by: Option<RecordKey>, effects: ModelEffects) {
        if self.setup.mistake == Some(PlantedMistake::AcksFirst) {
            self.me().linked = false;
        }
        self.goes(InstancePlace::Event { by, effects });
    }

    /// Lets the message wait a little, and begins the step again.
    fn again(&mut self) {
        let HeldCommand { step, content, recorded, .. } = self.parcel();
        self.send(ModelRecord::Opened { step, content, recorded });
    }

    fn after_finish(&mut self, id: RecordKey, finish: ModelFinish, ruling: u16) {
        let command = matches!(self.held(), Some(BrokerMessageKind::Command { .. }));
        let strays = self.me().message.is_some_and(|message| message.way != ArrivalWay::Lane);
        let is_placed = self.me().placed.is_some()
            && self.setup.mistake != Some(PlantedMistake::TakesPoisonForFresh);
        let part = match finish.by {
            ModelDecider::Holder if command => ModelRole::Decides,
            ModelDecider::Holder => ModelRole::Webhook,
            ModelDecider::Canceller => ModelRole::Canceller,
            ModelDecider::Operator => ModelRole::Operator,
        };
        let fresh = is_fresh(finish.recorded, finish.step);
        match self.ledger.plan(
            ruling,
            part,
            ModelMessage { fresh, unproven: is_placed, expired_claim: None },
        ) {
            ModelPlan::Proceed { .. } => self.publish(Some(id), finish.effects),
            ModelPlan::Renumber(attempt) => {
                let mut again = finish;
                again.effects.event.step.attempt = attempt;
                self.send(ModelRecord::Finished(again));
            }
            ModelPlan::Publish(by, effects) => self.publish(Some(by), effects),
            ModelPlan::Answer(event) => self.publish(None, bare(event)),
            ModelPlan::Doubt if strays => self.give_up(ModelFailure::Unresolved, false, true),
            ModelPlan::Doubt => self.doubt(finish.called),
            ModelPlan::Cancel => self.give_up(ModelFailure::Cancelled, false, false),
            // The command was unknown when this began, or is awaited elsewhere by now, or was sent
            // again meanwhile: the answer is about the current generation.
            ModelPlan::Reread => match part {
                ModelRole::Canceller => self.send(ModelRecord::CancelWished),
                ModelRole::Webhook => {
                    self.decide_beside(ModelDecider::Holder, finish.effects.event.what);
                }
                _ => self.locate(),
            },
            ModelPlan::Conflict | ModelPlan::Contradict | ModelPlan::Refuse | ModelPlan::Drop => {
                self.goes(InstancePlace::Ack { by: None });
            }
            other => panic!("a step that is decided is not begun: {other:?}"),
        }
    }

    fn after_replay(&mut self, from: u8, unknown: bool, key: Option<u8>, said: ModelRuling) {
        let step = ModelStep { generation: from + 1, ..ModelStep::FIRST };
        let view = self.ledger.view(self.world.case);
        let begun = said == ModelRuling::TooLate && view.step == step && view.ending.is_none();
        let (unknown, key) = match said {
            ModelRuling::Counts { .. } => (unknown, key),
            // The one that began the replay may have died before the message was published: publish
            // it again, as the ledger has it.
            _ if begun && self.setup.mistake != Some(PlantedMistake::DropsReplayed) => {
                (view.unknown, view.key)
            }
            // The command has ended: the dead letter is removed once that is published.
            _ if view.ending.is_some()
                && view
                    .unsettled
                    .is_some_and(|(_, left)| left.carried == ModelContinuation::Nothing) =>
            {
                let (by, effects) = view.unsettled.unwrap();
                return self.publish(Some(by), effects);
            }
            _ => return self.goes(InstancePlace::Ack { by: None }),
        };
        let errand = MessageErrand::Call;
        self.goes(InstancePlace::Forward(BrokerMessageKind::Command {
            step,
            errand,
            recorded: true,
            content: 0,
            unknown,
            key,
            expired_claim: None,
        }));
    }

    /// Ends the call.
    pub fn answered(&mut self, unknown: bool, acted: bool, answer: ModelAnswer) {
        let (step, key) = (self.parcel().step, self.key());
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
        let (step, key) = (self.parcel().step, self.key());
        let next = |step, errand| ModelContinuation::Next { step, errand, unknown, key };
        let (event, carried) = match decision {
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
                let (asked, errand) = short_query(step, accepted.inquiry);
                (
                    ModelEvent { step: step.call(), what: ModelEventKind::Waiting },
                    next(asked, errand),
                )
            }
            Decision::Inquire(inquiry, _) => {
                let (asked, errand) = short_query(step, inquiry);
                let what = if errand == MessageErrand::Poll {
                    ModelEventKind::Still
                } else {
                    ModelEventKind::Doubtful
                };
                (ModelEvent { step: step.call(), what }, next(asked, errand))
            }
        };
        self.finish(ModelEffects { event, carried }, called, unknown);
    }
}

/// Returns the effects of an event alone.
pub fn bare(event: ModelEvent) -> ModelEffects {
    ModelEffects { event, carried: ModelContinuation::Nothing }
}
