//! The actions of an instance on the ruling on its own record.

use crate::holder::{HeldCommand, InstanceStep, bare};
use crate::ledger::{
    MessageErrand, ModelContinuation, ModelDecider, ModelEffects, ModelEventKind, ModelFailure,
    ModelFinish, ModelMessage, ModelPlan, ModelRecord, ModelRole, ModelRuling, ModelStep,
    RecordKey, is_fresh,
};
use crate::setup::PlantedMistake;
use crate::unroutable::ArrivalWay;
use crate::world::{BrokerMessageKind, InstancePlace};

impl InstanceStep<'_> {
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
            ModelRecord::CancelRequested => {
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
        let HeldCommand { step, recorded, expired_claim, .. } = self.held_command();
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
        let (step, guard, key) = (self.held_command().step, self.setup.guard, self.key());
        self.world.seen.call(step, guard, key);
        self.goes(InstancePlace::Calling { start, unknown, acted: false });
    }

    /// Sends the message on unchanged, to be taken up later.
    fn forward(&mut self, expired_claim: Option<RecordKey>) {
        let HeldCommand { step, errand, content, unknown, key, .. } = self.held_command();
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
    pub fn again(&mut self) {
        let HeldCommand { step, content, recorded, .. } = self.held_command();
        self.send(ModelRecord::Opened { step, content, recorded });
    }

    fn after_finish(&mut self, id: RecordKey, finish: ModelFinish, ruling: u16) {
        let command = matches!(self.held(), Some(BrokerMessageKind::Command { .. }));
        let is_unroutable =
            self.me().message.is_some_and(|message| message.way != ArrivalWay::Lane);
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
            ModelPlan::Doubt if is_unroutable => {
                self.give_up(ModelFailure::Unresolved, false, true);
            }
            ModelPlan::Doubt => self.doubt(finish.called),
            ModelPlan::Cancel => self.give_up(ModelFailure::Cancelled, false, false),
            // The command was unknown when this began, or is awaited elsewhere by now, or was sent
            // again meanwhile: the answer is about the current generation.
            ModelPlan::Reread => match part {
                ModelRole::Canceller => self.send(ModelRecord::CancelRequested),
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
                    .is_some_and(|(_, left)| left.continuation == ModelContinuation::Nothing) =>
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
}
