//! Follows the ruling of a record about the message in hand: builds the messages that are published
//! before its ack.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info};

use super::Pipeline;
use super::conflict::content_conflict;
use super::incoming_message::IncomingMessage;
use super::log::log_decision;
use super::messages::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::Event;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::NextAction;
use ferryd_domain::ledger::record::{Actor, WaitReason};
use ferryd_domain::ledger::ruling::DecidedCommand;
use ferryd_domain::lifecycle::{Decision, FailureKind};
use ferryd_domain::money::AMOUNT_MISMATCH;
use ferryd_domain::outcome::Failure;
use ferryd_domain::query::decide_unknown;
use ferryd_domain::retry::Rung;
use ferryd_provider::RecoveryOptions;

/// The wait of a message for a version of ferryd that understands the records about its command.
const FOREIGN_WAIT: Duration = Duration::from_mins(5);

/// Decides about a command whose call may have acted, with an unknown outcome.
fn resolve_unknown(message: &mut IncomingMessage, options: RecoveryOptions) -> Decision {
    let (progress, now) = (&mut message.state.progress, Timestamp::now());
    // Also where an earlier call had no known outcome already: this one is later.
    progress.mark_unknown(now);
    decide_unknown(unanswered_failure(), progress, options.lookup, now)
}

/// Describes a call whose outcome is unknown.
pub(super) fn unanswered_failure() -> Failure {
    let text = "a call was started and its outcome was never recorded; the provider may have acted";
    Failure::new("unanswered", text)
}

/// Describes the cancellation of a command.
#[must_use]
pub fn cancelled_failure(person: &Actor) -> Failure {
    Failure::new("cancelled", format!("cancelled {person}"))
}

impl Pipeline {
    /// Follows a ruling about a message. `decided` holds the effects of the decision that was ruled
    /// on, if there was one.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]: nothing may be published; the message comes back.
    pub(super) async fn follow_ruling(
        &self,
        message: &mut IncomingMessage,
        options: RecoveryOptions,
        mut decided: Option<RecordedEffects>,
        mut next: NextAction,
    ) -> Result<Effects, BrokerError> {
        loop {
            next = match next {
                // A call is never made from here: `attempt` makes it.
                NextAction::Doubt | NextAction::Proceed(_) => {
                    let decision = resolve_unknown(message, options);
                    log_decision(message, &decision);
                    let (effects, next) =
                        Box::pin(self.append_decision(message, decision, options)).await?;
                    decided = effects;
                    next
                }
                NextAction::Cancel(person) => {
                    let decision =
                        Decision::GiveUp(FailureKind::Cancelled, cancelled_failure(&person));
                    let (effects, next) =
                        Box::pin(self.append_decision(message, decision, options)).await?;
                    decided = effects;
                    next
                }
                NextAction::TakeOver(claim) => self.ledger_gate.take_over(message, claim).await?,
                NextAction::WaitOut { claim, ttl_ms } => {
                    if let Some(target) =
                        self.messages.reply_target(message).filter(|_| message.fresh)
                    {
                        self.ledger_gate.add_reply_target(message, target).await?;
                    }
                    message.state.expired_claim = Some(claim);
                    message.state.recorded = true;
                    return Ok(self
                        .messages
                        .park_effects(message, Rung::at_least(Duration::from_millis(ttl_ms))));
                }
                NextAction::Again => {
                    match self.ledger_gate.wait(message, WaitReason::Busy, None).await? {
                        None => return Ok(self.messages.park_effects(message, Rung::SHORTEST)),
                        Some(instead) => instead,
                    }
                }
                NextAction::Ask => match self.messages.reply_target(message) {
                    None => return Ok(drop_copy(message)),
                    Some(target) => match self.ledger_gate.add_reply_target(message, target).await?
                    {
                        None => return Ok(Effects::default()),
                        Some(instead) => instead,
                    },
                },
                NextAction::Publish(decided) => return Ok(self.on_record(message, &decided)),
                NextAction::Answer(event) => {
                    return Ok(self.messages.ending_reply(message, &event));
                }
                NextAction::Conflict => {
                    return Box::pin(self.other_content(message, decided.as_ref())).await;
                }
                NextAction::Contradict(stands) => {
                    return Box::pin(self.publish_contradiction(
                        message,
                        decided.as_ref(),
                        &stands,
                    ))
                    .await;
                }
                NextAction::Wait(kind) => return Ok(self.refuse_foreign(message, &kind)),
                NextAction::Renumber { .. }
                | NextAction::Reread
                | NextAction::Refuse(_)
                | NextAction::Drop => {
                    return Ok(drop_copy(message));
                }
            }
        }
    }

    /// Builds the messages of a recorded decision, made now or before, that is not known to be
    /// published.
    fn on_record(&self, message: &IncomingMessage, decided: &DecidedCommand) -> Effects {
        let DecidedCommand { by, effects, replies } = decided;
        Effects { settles: Some(*by), ..self.messages.decision_effects(message, effects, replies) }
    }

    /// Dead-letters a message that is no valid command, also where its id is another command's.
    async fn other_content(
        &self,
        message: &IncomingMessage,
        decided: Option<&RecordedEffects>,
    ) -> Result<Effects, BrokerError> {
        let conflict = content_conflict(message);
        self.record_conflict(&conflict).await?;
        let published = self.messages.conflict_effects(message, &conflict);
        let continuation = decided.and_then(|effects| effects.message.as_ref());
        let kept = continuation
            .map(|continuation| self.messages.continuation_message(message, continuation));
        Ok(Effects { messages: kept.into_iter().chain(published.messages).collect(), ..published })
    }

    async fn publish_contradiction(
        &self,
        message: &IncomingMessage,
        answer: Option<&RecordedEffects>,
        stands: &Event,
    ) -> Result<Effects, BrokerError> {
        let Some(RecordedEffects { event: answer, .. }) = answer else {
            return Ok(drop_copy(message));
        };
        let conflict = ConflictEvent::of_answer(answer, stands);
        self.record_conflict(&conflict).await?;
        Ok(Effects { replies: Vec::new(), ..self.messages.conflict_effects(message, &conflict) })
    }

    /// Publishes that an answer states another amount than was requested. The command does not end
    /// by it.
    pub(super) async fn publish_mismatch(
        &self,
        message: &IncomingMessage,
        failure: &Failure,
    ) -> Result<(), BrokerError> {
        if failure.code.as_deref() != Some(AMOUNT_MISMATCH) {
            return Ok(());
        }
        let (identity, generation) = (message.identity.clone(), message.state.progress.generation);
        let conflict = ConflictEvent::of_amount(
            identity,
            generation,
            failure,
            message.trace.clone(),
            Timestamp::now(),
        );
        self.record_conflict(&conflict).await?;
        self.publish(&self.messages.conflict_messages(&conflict)).await
    }

    fn refuse_foreign(&self, message: &mut IncomingMessage, kind: &str) -> Effects {
        message.state.recorded = true;
        error!(
            command.id = message.identity.id.as_str(),
            kind,
            "the ledger holds a record about this command that this version of ferryd does not understand; the command \
             waits for a later version"
        );
        self.messages.park_effects(message, Rung::at_least(FOREIGN_WAIT))
    }
}

/// Drops a copy whose step is over, and logs that.
fn drop_copy(message: &IncomingMessage) -> Effects {
    let attempt = message.state.progress.attempt;
    info!(command.id = message.identity.id.as_str(), attempt, "dropped a copy: its step is over");
    Effects::default()
}
