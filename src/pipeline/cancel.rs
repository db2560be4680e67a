//! Cancels a command that was not sent yet.
//!
//! The ledger decides between a cancel and a call: the one recorded first holds. A command that the
//! ledger does not know yet, because its message still waits in its queue, is cancelled when the
//! message is taken up. A command whose message has not come within a day ends as cancelled, and a
//! message that comes under its id later is not carried out.

use jiff::Timestamp;
use tracing::info;

use super::Pipeline;
use super::follow_ruling::cancelled_failure;
use super::messages::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command::{EchoedIdentity, EncodedIdentity};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{EncodedEvent, Event, EventKind, EventMoment, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::{
    Actor, CancelRequested, DecidedBy, FinishedRecord, Record, RecordBody, RecordId, Step,
};
use ferryd_domain::ledger::ruling::{DecidedCommand, TooLate};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_ledger::RuledRecord;

/// The result of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelResult {
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
enum CancelTry {
    Done(CancelResult),
    /// The command has changed meanwhile.
    Again(u32),
}

impl Pipeline {
    /// Cancels a command, and returns when its end is published.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]; the command may be cancelled all the same.
    pub async fn cancel(
        &self,
        id: &CommandId,
        person: &Actor,
    ) -> Result<CancelResult, BrokerError> {
        let mut least_attempt = 0;
        loop {
            let state = self.ledger_gate.command_state(id);
            let tried =
                match state.as_deref().and_then(|state| Some((state, state.identity.as_ref()?))) {
                    Some((state, identity)) => {
                        let event =
                            cancel_event(state, identity.command.clone(), person, least_attempt);
                        self.try_to_cancel(state.step, event, person).await?
                    }
                    None => self.record_cancel_request(id, person).await?,
                };
            match tried {
                CancelTry::Done(cancellation) => return Ok(cancellation),
                CancelTry::Again(attempt) => least_attempt = attempt,
            }
        }
    }

    /// Records that a command with a cancel request, whose message has not come, ends. The place of
    /// the record in the ledger decides between this end and the message's coming, and between
    /// several instances that do this. The event is published like any terminal event that was left
    /// unpublished.
    pub(super) async fn cancel_for_good(&self, id: &CommandId) -> Result<(), BrokerError> {
        let Some(state) =
            self.ledger_gate.command_state(id).filter(|state| state.is_cancel_request())
        else {
            return Ok(());
        };
        let Some(person) = &state.cancel else { return Ok(()) };
        info!(
            command.id = id.as_str(),
            "a command whose cancellation was requested has not arrived; it ends as cancelled"
        );
        let event = cancel_event(&state, EchoedIdentity::unknown(id.clone()).into(), person, 0);
        // Where the message has come meanwhile, its holder ends the command.
        self.ledger_gate.ledger.append(cancel_record(state.step, &event, person)).await.map(drop)
    }

    async fn try_to_cancel(
        &self,
        step: Step,
        event: EncodedEvent,
        person: &Actor,
    ) -> Result<CancelTry, BrokerError> {
        let id = &event.data.command.id;
        let RuledRecord { id: record, ruling, .. } =
            self.ledger_gate.ledger.append(cancel_record(step, &event, person)).await?;
        let next = match next_action(RulingRole::Canceller, ruling) {
            NextAction::Proceed(granted) => {
                let effects =
                    RecordedEffects { event: event.clone(), publish_event: true, message: None };
                NextAction::Publish(Box::new(DecidedCommand {
                    by: record,
                    effects,
                    replies: granted.replies,
                }))
            }
            next => next,
        };
        self.follow_cancel(id, next, event.data.attempt).await
    }

    /// Records that a command is to be cancelled when its message comes.
    async fn record_cancel_request(
        &self,
        id: &CommandId,
        person: &Actor,
    ) -> Result<CancelTry, BrokerError> {
        let body = RecordBody::CancelRequested(CancelRequested { actor: person.clone() });
        let RuledRecord { ruling, .. } = self
            .ledger_gate
            .ledger
            .append(Record { at: Timestamp::now(), command: id.clone(), fact: body })
            .await?;
        match next_action(RulingRole::Canceller, ruling) {
            NextAction::Proceed(_) => Ok(CancelTry::Done(CancelResult::Noted)),
            next => self.follow_cancel(id, next, 0).await,
        }
    }

    /// Follows the ruling about a cancel, also where another cancel was recorded first.
    async fn follow_cancel(
        &self,
        id: &CommandId,
        next: NextAction,
        least_attempt: u32,
    ) -> Result<CancelTry, BrokerError> {
        Ok(match next {
            NextAction::Publish(decided) => {
                let DecidedCommand { by, effects, replies } = *decided;
                self.publish_ending(
                    id,
                    by,
                    self.messages.ending_messages(&effects.event, &replies),
                )
                .await?;
                CancelTry::Done(CancelResult::Cancelled)
            }
            NextAction::Drop => CancelTry::Done(CancelResult::Cancelled),
            NextAction::Refuse(reason) => CancelTry::Done(CancelResult::TooLate { reason }),
            NextAction::Renumber { attempt } => CancelTry::Again(attempt),
            _ => CancelTry::Again(least_attempt),
        })
    }

    /// Publishes a terminal event that leaves no message behind, and records that it is published.
    pub(super) async fn publish_ending(
        &self,
        id: &CommandId,
        record: RecordId,
        effects: Effects,
    ) -> Result<(), BrokerError> {
        self.publish(&effects).await?;
        self.settle_and_reply(id, record, &effects).await;
        Ok(())
    }

    /// Records that a terminal event is published, and replies to the reply targets.
    pub(super) async fn settle_and_reply(
        &self,
        id: &CommandId,
        record: RecordId,
        effects: &Effects,
    ) {
        self.ledger_gate.settle(id, record);
        for reply in &effects.replies {
            self.broker.publish_once(reply).await;
        }
    }
}

/// Builds the record that ends a command as cancelled, if that is still possible at its step.
fn cancel_record(step: Step, event: &EncodedEvent, person: &Actor) -> Record {
    let finished =
        FinishedRecord::for_event(step, DecidedBy::Canceller(person.clone()), event.clone(), true);
    Record {
        at: event.time,
        command: event.data.command.id.clone(),
        fact: RecordBody::Finished(Box::new(finished)),
    }
}

fn cancel_event(
    state: &CommandState,
    identity: EncodedIdentity,
    person: &Actor,
    least_attempt: u32,
) -> EncodedEvent {
    let (generation, attempt) = (state.step.generation, state.step.attempt.max(least_attempt));
    let moment = EventMoment { generation, attempt, at: Timestamp::now() };
    let kind = EventKind::Failed(FailureKind::Cancelled, cancelled_failure(person));
    Event::new(identity, moment, kind, TraceContext::default()).into()
}
