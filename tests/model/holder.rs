//! The actions of an instance, one effect at a time.

use ferryd_domain::inquiry::{LookupPolicy, PollPolicy};
use ferryd_domain::lifecycle::{Admission, Decision, Limits, after_call, before_call, mark};
use ferryd_domain::outcome::{Failure, Outcome, Party, Success};
use ferryd_domain::progress::Progress;
use ferryd_domain::retry::RetryPolicy;
use jiff::Timestamp;

use crate::inquiry::{inquiry_of, short_inquiry};
use crate::ledger::{
    By, Carried, Effects, Errand, Failed, Finish, Guard, Held, Id, Ledger, Part, Plan, Rec, Said, Start, Step, Told,
    View, What, is_fresh,
};
use crate::refusal::REFUSED;
use crate::stray::Way;
use crate::world::{At, Instance, Job, Kind, Message, World};
use crate::{Mistake, Setup};

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
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
pub struct Turn<'a> {
    pub setup: &'a Setup,
    pub ledger: &'a mut Ledger,
    pub world: &'a mut World,
    /// The instance that acts.
    pub who: usize,
}

pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The progress that a held command's message claims.
#[derive(Clone, Copy)]
pub struct Parcel {
    pub step: Step,
    pub errand: Errand,
    pub recorded: bool,
    content: u8,
    pub unknown: bool,
    key: Option<u8>,
    waited_out: Option<Id>,
}

impl Turn<'_> {
    pub fn me(&mut self) -> &mut Instance {
        &mut self.world.instances[self.who]
    }

    pub fn goes(&mut self, at: At) {
        self.me().at = at;
    }

    pub fn send(&mut self, record: Rec) {
        let id = self.world.free_id(self.ledger);
        self.world.transit.push((id, record));
        self.goes(At::Sent(id, record));
    }

    fn held(&mut self) -> Option<Kind> {
        self.me().message.map(|message| message.kind)
    }

    pub fn parcel(&mut self) -> Parcel {
        match self.held() {
            Some(Kind::Command { step, errand, recorded, content, unknown, key, waited_out }) => {
                let lost = recorded && self.ledger.view(self.world.case).awaited.is_none();
                let unknown = unknown || lost;
                let parcel = Parcel { step, errand, recorded, content, unknown, key, waited_out };
                self.me().placed.map_or(parcel, |step| self.placed(parcel, step))
            }
            other => panic!("no command is held: {other:?}"),
        }
    }

    /// Corrects the progress that a message claims by the ledger.
    fn placed(&self, parcel: Parcel, step: Step) -> Parcel {
        let View { awaited, key, .. } = self.ledger.view(self.world.case);
        let key = key.filter(|_| awaited.is_some_and(|awaited| awaited.generation == step.generation));
        let errand = if step.inquiry > 0 { Errand::Poll } else { Errand::Call };
        let recorded = self.setup.mistake != Some(Mistake::TakesPoisonForFresh);
        Parcel { step, errand, recorded, key, unknown: true, ..parcel }
    }

    pub fn key(&mut self) -> Option<u8> {
        let Parcel { key, step, .. } = self.parcel();
        if self.me().placed.is_some() {
            return key;
        }
        (self.setup.guard == Guard::Key).then(|| key.unwrap_or(step.generation))
    }

    /// Takes a delivered message.
    pub fn take(&mut self, message: Message) {
        *self.me() = Instance { message: Some(message), linked: true, ..Instance::IDLE };
        match message.kind {
            Kind::Command { content: REFUSED, .. } => self.refuse(),
            Kind::Command { .. } if message.way != Way::Lane => self.take_stray(message.way),
            Kind::Command { errand: Errand::Call, .. } => self.admit(message.redelivered),
            Kind::Command { .. } => self.goes(At::Asking),
            Kind::Dead { generation, unknown, key, job } => self.operate(generation, unknown, key, job),
            Kind::Cancel => self.decide_beside(By::Canceller, What::Failed(Failed::Cancelled)),
            Kind::Callback(what) => self.decide_beside(By::Holder, what),
        }
    }

    /// Defers a delivered command whose provider is busy.
    pub fn defer(&mut self, message: Message) {
        *self.me() = Instance { message: Some(message), linked: true, ..Instance::IDLE };
        self.again();
    }

    pub fn limits(&self, generation: u8) -> Limits {
        let pauses = usize::from(self.setup.attempts - 1);
        let hour = std::time::Duration::from_hours(1);
        Limits {
            policy: RetryPolicy { schedule: vec![hour / 60; pauses], give_up_after: 24 * hour, jitter: false },
            key_retention: (self.setup.guard == Guard::Key).then_some(24 * hour),
            not_before: None,
            deadline: hour,
            poll: self.setup.inquiries.then_some(PollPolicy { interval: hour / 60, longest: hour }),
            lookup: self.setup.inquiries.then_some(LookupPolicy {
                after: std::time::Duration::ZERO,
                proves_absence: true,
                needs_reference: false,
            }),
            expires_at: (self.world.expired && generation == 0).then(|| NOW - std::time::Duration::from_secs(1)),
        }
    }

    pub fn progress(&mut self, unknown: bool) -> Progress {
        let Parcel { step, errand, .. } = self.parcel();
        let mut progress = Progress::of_generation(step.generation.into(), NOW);
        progress.attempt = step.attempt.into();
        progress.unknown = unknown;
        progress.first_sent = Some(NOW);
        progress.unknown_since = unknown.then_some(NOW);
        progress.deadline = (errand == Errand::Poll).then_some(NOW + std::time::Duration::from_hours(1));
        progress.inquiry = inquiry_of(errand, step);
        progress
    }

    fn admit(&mut self, redelivered: bool) {
        let Parcel { step, recorded, content, unknown, waited_out, .. } = self.parcel();
        let progress = self.progress(unknown);
        match before_call(&progress, &self.limits(step.generation), NOW) {
            Admission::Call => {
                let (guard, key) = (self.setup.guard, self.key());
                let start = Start { step, guard, content, recorded, redelivered, waited_out, unknown, key };
                self.send(Rec::Started(start));
            }
            Admission::Instead(decision) => self.decided(*decision, false, unknown),
            Admission::Park(_) => panic!("nothing comes too early here"),
        }
    }

    pub fn give_up(&mut self, why: Failed, called: bool, unknown: bool) {
        let step = self.parcel().step.call();
        let unknown = unknown || why == Failed::Unresolved;
        let dead = Carried::Dead { generation: step.generation, unknown, key: self.key() };
        let carried = if why.kind().dead_letters() { dead } else { Carried::Nothing };
        self.finish(Effects { event: Told { step, what: What::Failed(why) }, carried }, called, unknown);
    }

    pub fn finish(&mut self, effects: Effects, called: bool, unknown: bool) {
        let Parcel { step, errand, content, recorded, .. } = self.parcel();
        let absent = matches!(errand, Errand::Lookup(_)) && !unknown;
        self.send(Rec::Finished(Finish { step, content, recorded, called, unknown, absent, by: By::Holder, effects }));
    }

    /// Appends a decision without the command's message: it is about the current step of the
    /// command.
    pub fn decide_beside(&mut self, by: By, what: What) {
        let view = self.ledger.view(self.world.case);
        let effects = Effects { event: Told { step: view.step.call(), what }, carried: Carried::Nothing };
        let (step, unknown, absent) = (view.step, view.unknown, false);
        self.send(Rec::Finished(Finish {
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

    fn operate(&mut self, generation: u8, unknown: bool, key: Option<u8>, job: Option<Job>) {
        let fresh = Rec::Replayed { from: generation, unknown: false, key: None, forced: unknown };
        match job {
            Some(Job::Discard) => self.decide_beside(By::Operator, What::Failed(Failed::Discarded)),
            Some(Job::Replay) if unknown => self.send(Rec::Replayed { from: generation, unknown, key, forced: false }),
            _ => self.send(fresh),
        }
    }

    /// Acts on the ruling on the instance's own record.
    pub fn read(&mut self, id: Id, record: Rec, ruling: u16) {
        let said = self.ledger.said(ruling);
        match record {
            Rec::Opened { .. } if matches!(said, Said::Counts { .. }) => self.forward(None),
            Rec::Opened { .. } | Rec::Started(_) => self.follow(id, ruling, Part::Begins(self.setup.guard)),
            Rec::Released(_) => self.again(),
            Rec::TakenOver(_) => self.follow(id, ruling, Part::TakesOver),
            Rec::Finished(finish) => self.after_finish(id, finish, ruling),
            Rec::CancelWished => match self.ledger.plan(ruling, Part::Canceller, Held::default()) {
                Plan::Reread => self.decide_beside(By::Canceller, What::Failed(Failed::Cancelled)),
                Plan::Publish(by, effects) => self.publish(Some(by), effects),
                _ => self.goes(At::Ack { by: None }),
            },
            Rec::Replayed { from, unknown, key, .. } => self.after_replay(from, unknown, key, said),
            Rec::Asked => match said {
                Said::Ended(event) => self.goes(At::Event { by: None, effects: bare(event) }),
                _ => self.goes(At::Ack { by: None }),
            },
            Rec::Refused => self.after_refusal(said),
            Rec::Settled(_) | Rec::Erased => self.goes(At::Ack { by: None }),
        }
    }

    /// Follows the protocol's next action for a held message.
    fn follow(&mut self, id: Id, ruling: u16, part: Part) {
        let Parcel { step, recorded, waited_out, .. } = self.parcel();
        let held = Held { fresh: is_fresh(recorded, step), unproven: false, waited_out };
        match self.ledger.plan(ruling, part, held) {
            Plan::Proceed { .. } if self.me().late => self.send(Rec::Released(id)),
            Plan::Proceed { unknown } => self.call(id, unknown),
            Plan::Doubt if self.setup.mistake == Some(Mistake::CallsAfterUnknown) => self.call(id, true),
            Plan::Doubt => self.doubt(false),
            Plan::WaitOut(claim) => self.forward(Some(claim)),
            Plan::TakeOver(claim) => self.send(Rec::TakenOver(claim)),
            Plan::Publish(by, effects) => self.publish(Some(by), effects),
            Plan::Answer(event) => self.publish(None, bare(event)),
            Plan::Ask => self.send(Rec::Asked),
            Plan::Again => self.again(),
            Plan::Drop | Plan::Conflict => self.goes(At::Ack { by: None }),
            Plan::Cancel => self.give_up(Failed::Cancelled, false, false),
            other => panic!("nothing is decided yet: {other:?}"),
        }
    }

    pub fn call(&mut self, start: Id, unknown: bool) {
        let (step, guard, key) = (self.parcel().step, self.setup.guard, self.key());
        self.world.seen.call(step, guard, key);
        self.goes(At::Calling { start, unknown, acted: false });
    }

    /// Sends the message on unchanged, to be taken up later.
    fn forward(&mut self, waited_out: Option<Id>) {
        let Parcel { step, errand, content, unknown, key, .. } = self.parcel();
        self.goes(At::Forward(Kind::Command { step, errand, recorded: true, content, unknown, key, waited_out }));
    }

    fn publish(&mut self, by: Option<Id>, effects: Effects) {
        if self.setup.mistake == Some(Mistake::AcksFirst) {
            self.me().linked = false;
        }
        self.goes(At::Event { by, effects });
    }

    /// Lets the message wait a little, and begins the step again.
    fn again(&mut self) {
        let Parcel { step, content, recorded, .. } = self.parcel();
        self.send(Rec::Opened { step, content, recorded });
    }

    fn after_finish(&mut self, id: Id, finish: Finish, ruling: u16) {
        let command = matches!(self.held(), Some(Kind::Command { .. }));
        let strays = self.me().message.is_some_and(|message| message.way != Way::Lane);
        let is_placed = self.me().placed.is_some() && self.setup.mistake != Some(Mistake::TakesPoisonForFresh);
        let part = match finish.by {
            By::Holder if command => Part::Decides,
            By::Holder => Part::Webhook,
            By::Canceller => Part::Canceller,
            By::Operator => Part::Operator,
        };
        let fresh = is_fresh(finish.recorded, finish.step);
        match self.ledger.plan(ruling, part, Held { fresh, unproven: is_placed, waited_out: None }) {
            Plan::Proceed { .. } => self.publish(Some(id), finish.effects),
            Plan::Renumber(attempt) => {
                let mut again = finish;
                again.effects.event.step.attempt = attempt;
                self.send(Rec::Finished(again));
            }
            Plan::Publish(by, effects) => self.publish(Some(by), effects),
            Plan::Answer(event) => self.publish(None, bare(event)),
            Plan::Doubt if strays => self.give_up(Failed::Unresolved, false, true),
            Plan::Doubt => self.doubt(finish.called),
            Plan::Cancel => self.give_up(Failed::Cancelled, false, false),
            // The command was unknown when this began, or is awaited elsewhere by now, or was sent
            // again meanwhile: the answer is about the current generation.
            Plan::Reread => match part {
                Part::Canceller => self.send(Rec::CancelWished),
                Part::Webhook => self.decide_beside(By::Holder, finish.effects.event.what),
                _ => self.locate(),
            },
            Plan::Conflict | Plan::Contradict | Plan::Refuse | Plan::Drop => self.goes(At::Ack { by: None }),
            other => panic!("a step that is decided is not begun: {other:?}"),
        }
    }

    fn after_replay(&mut self, from: u8, unknown: bool, key: Option<u8>, said: Said) {
        let step = Step { generation: from + 1, ..Step::FIRST };
        let view = self.ledger.view(self.world.case);
        let begun = said == Said::TooLate && view.step == step && view.ending.is_none();
        let (unknown, key) = match said {
            Said::Counts { .. } => (unknown, key),
            // The one that began the replay may have died before the message was published: publish
            // it again, as the ledger has it.
            _ if begun && self.setup.mistake != Some(Mistake::DropsReplayed) => (view.unknown, view.key),
            // The command has ended: the dead letter is removed once that is published.
            _ if view.ending.is_some() && view.unsettled.is_some_and(|(_, left)| left.carried == Carried::Nothing) => {
                let (by, effects) = view.unsettled.unwrap();
                return self.publish(Some(by), effects);
            }
            _ => return self.goes(At::Ack { by: None }),
        };
        let errand = Errand::Call;
        self.goes(At::Forward(Kind::Command {
            step,
            errand,
            recorded: true,
            content: 0,
            unknown,
            key,
            waited_out: None,
        }));
    }

    /// Ends the call.
    pub fn answered(&mut self, unknown: bool, acted: bool, answer: Answer) {
        let (step, key) = (self.parcel().step, self.key());
        match answer {
            _ if acted => {}
            Answer::Completed | Answer::Accepted | Answer::Unknown(true) => {
                self.world.seen.act(key, What::Completed);
            }
            Answer::Declined => self.world.seen.act(key, What::Failed(Failed::Declined)),
            Answer::Transient | Answer::Rejected | Answer::Unknown(false) => {}
        }
        if matches!(answer, Answer::Unknown(_)) && key.is_none() {
            self.world.seen.lose(step.generation);
        }
        let outcome = match answer {
            Answer::Completed => Outcome::Completed(Success::default()),
            Answer::Accepted => Outcome::Waiting(Success::default(), Party::Provider),
            Answer::Declined => Outcome::Declined(Failure::default()),
            Answer::Transient => Outcome::Transient(Failure::default(), None),
            Answer::Rejected => Outcome::Rejected(Failure::default()),
            Answer::Unknown(_) => Outcome::Unknown(Failure::default()),
        };
        let mut progress = self.progress(unknown);
        mark(&mut progress, &outcome, NOW);
        let unknown = progress.unknown;
        let decision = after_call(outcome, &progress, &self.limits(step.generation), NOW, 0.5);
        self.decided(decision, true, unknown);
    }

    /// Records a decision.
    pub fn decided(&mut self, decision: Decision, called: bool, unknown: bool) {
        let (step, key) = (self.parcel().step, self.key());
        let next = |step, errand| Carried::Next { step, errand, unknown, key };
        let (event, carried) = match decision {
            Decision::GiveUp(kind, _) => return self.give_up(Failed::of(kind), called, unknown),
            Decision::Complete(_) => (Told { step: step.call(), what: What::Completed }, Carried::Nothing),
            Decision::Retry { .. } => {
                let again = Step { attempt: step.attempt + 1, ..step.call() };
                (Told { step: again, what: What::Pending }, next(again, Errand::Call))
            }
            Decision::Wait(accepted) => {
                let (asked, errand) = short_inquiry(step, accepted.inquiry);
                (Told { step: step.call(), what: What::Waiting }, next(asked, errand))
            }
            Decision::Inquire(inquiry, _) => {
                let (asked, errand) = short_inquiry(step, inquiry);
                let what = if errand == Errand::Poll { What::Still } else { What::Doubtful };
                (Told { step: step.call(), what }, next(asked, errand))
            }
        };
        self.finish(Effects { event, carried }, called, unknown);
    }
}

/// Returns the effects of an event alone.
pub fn bare(event: Told) -> Effects {
    Effects { event, carried: Carried::Nothing }
}
