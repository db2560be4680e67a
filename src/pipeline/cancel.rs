//! Cancels a command that was not sent yet.
//!
//! The ledger decides between a cancel and a call: the one recorded first holds. A command that the
//! ledger does not know yet, because its message still waits in its queue, is cancelled when the
//! message is taken up. A command whose message has not come within a day ends as cancelled, and a
//! message that comes under its id later is not carried out.

use jiff::Timestamp;
use tracing::info;

use super::Pipeline;
use super::follow_ruling::cancelled;
use super::outbox::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command::Identity;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{Event, Happening, Moment, Trace};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{NextAction, Role, next_action};
use ferryd_domain::ledger::record::{By, CancelWished, Fact, Finished, Person, Record, RecordId, Step};
use ferryd_domain::ledger::ruling::{Decided, TooLate};
use ferryd_domain::lifecycle::Kind;
use ferryd_ledger::Ruled;

/// The result of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancellation {
    /// The command has failed, for good, and was never carried out.
    Cancelled,
    /// The command is not known yet. It will be cancelled when it is taken up, if it ever is.
    Noted,
    /// The command cannot be cancelled any more.
    TooLate {
        /// The reason why not.
        reason: TooLate,
    },
}

/// The result of one attempt to cancel.
enum Tried {
    Done(Cancellation),
    /// The command has changed meanwhile.
    Again(u32),
}

impl Pipeline {
    /// Cancels a command, and returns when its end is published.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]; the command may be cancelled all the same.
    pub async fn cancel(&self, id: &CommandId, person: &Person) -> Result<Cancellation, BrokerError> {
        let mut least_attempt = 0;
        loop {
            let case = self.memory.case(id);
            let tried = match case.as_deref().and_then(|case| Some((case, case.opening.as_ref()?))) {
                Some((case, opening)) => {
                    let event = event(case, opening.identity.clone(), person, least_attempt);
                    self.try_to_cancel(case.step, event, person).await?
                }
                None => self.wish(id, person).await?,
            };
            match tried {
                Tried::Done(cancellation) => return Ok(cancellation),
                Tried::Again(attempt) => least_attempt = attempt,
            }
        }
    }

    /// Records that a command with a cancel request, whose message has not come, ends. The place of
    /// the record in the ledger decides between this end and the message's coming, and between
    /// several instances that do this. The event is published like any terminal event that was left
    /// unpublished.
    pub(super) async fn cancel_for_good(&self, id: &CommandId) -> Result<(), BrokerError> {
        let Some(case) = self.memory.case(id).filter(|case| case.is_cancel_request()) else { return Ok(()) };
        let Some(person) = &case.cancel else { return Ok(()) };
        info!(command.id = id.as_str(), "a command that was asked to be cancelled has not come; it ends as cancelled");
        let event = event(&case, Identity::unknown(id.clone()), person, 0);
        // Where the message has come meanwhile, its holder ends the command.
        self.memory.ledger.append(end(case.step, &event, person)).await.map(drop)
    }

    async fn try_to_cancel(&self, step: Step, event: Event, person: &Person) -> Result<Tried, BrokerError> {
        let id = &event.data.command.id;
        let Ruled { id: record, ruling, .. } = self.memory.ledger.append(end(step, &event, person)).await?;
        let next = match next_action(Role::Canceller, ruling) {
            NextAction::Proceed(granted) => {
                let effects = RecordedEffects { event: event.clone(), told: true, carried: None };
                NextAction::Publish(Box::new(Decided { by: record, effects, replies: granted.replies }))
            }
            next => next,
        };
        self.follow_cancel(id, next, event.data.attempt).await
    }

    /// Records that a command is to be cancelled when its message comes.
    async fn wish(&self, id: &CommandId, person: &Person) -> Result<Tried, BrokerError> {
        let fact = Fact::CancelWished(CancelWished { person: person.clone() });
        let Ruled { ruling, .. } =
            self.memory.ledger.append(Record { at: Timestamp::now(), command: id.clone(), fact }).await?;
        match next_action(Role::Canceller, ruling) {
            NextAction::Proceed(_) => Ok(Tried::Done(Cancellation::Noted)),
            next => self.follow_cancel(id, next, 0).await,
        }
    }

    /// Follows the ruling about a cancel, also where another cancel was recorded first.
    async fn follow_cancel(&self, id: &CommandId, next: NextAction, least_attempt: u32) -> Result<Tried, BrokerError> {
        Ok(match next {
            NextAction::Publish(decided) => {
                let Decided { by, effects, replies } = *decided;
                self.announce(id, by, self.outbox.announcement(&effects.event, &replies)).await?;
                Tried::Done(Cancellation::Cancelled)
            }
            NextAction::Drop => Tried::Done(Cancellation::Cancelled),
            NextAction::Refuse(reason) => Tried::Done(Cancellation::TooLate { reason }),
            NextAction::Renumber { attempt } => Tried::Again(attempt),
            _ => Tried::Again(least_attempt),
        })
    }

    /// Publishes a terminal event that leaves no message behind, and records that it is published.
    pub(super) async fn announce(&self, id: &CommandId, record: RecordId, effects: Effects) -> Result<(), BrokerError> {
        self.publish(&effects).await?;
        self.settle_and_reply(id, record, &effects).await;
        Ok(())
    }

    /// Records that a terminal event is published, and replies to those who asked for it.
    pub(super) async fn settle_and_reply(&self, id: &CommandId, record: RecordId, effects: &Effects) {
        self.memory.settle(id, record);
        for reply in &effects.replies {
            self.broker.publish_once(reply).await;
        }
    }
}

/// Builds the record that ends a command as cancelled, if that is still possible at its step.
fn end(step: Step, event: &Event, person: &Person) -> Record {
    let finished = Finished::of_event(step, By::Canceller(person.clone()), event.clone(), true);
    Record { at: event.time, command: event.data.command.id.clone(), fact: Fact::Finished(Box::new(finished)) }
}

fn event(case: &Case, identity: Identity, person: &Person, least_attempt: u32) -> Event {
    let (generation, attempt) = (case.step.generation, case.step.attempt.max(least_attempt));
    let moment = Moment { generation, attempt, at: Timestamp::now() };
    let happening = Happening::Failed(Kind::Cancelled, cancelled(person));
    Event::new(identity, moment, happening, Trace::default())
}
