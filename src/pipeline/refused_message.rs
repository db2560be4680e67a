//! Ends the commands of continuations and records that the broker refuses.

use super::Pipeline;
use jiff::Timestamp;

use super::incoming_message::IncomingMessage;
use super::log::log_decision;
use super::messages::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_broker::failure::CloseCause;
use ferryd_broker::message::OutgoingMessage;
use ferryd_domain::lifecycle::{Decision, FailureKind};
use ferryd_domain::outcome::Failure;
use ferryd_provider::RecoveryOptions;

impl Pipeline {
    /// Handles the broker's refusal of a message: a refused continuation ends its command, as if it
    /// had been delivered and given up; any other message is dead-lettered.
    ///
    /// # Errors
    /// [`BrokerError`]: nothing may be acked.
    pub(super) async fn handle_refused_message(
        &self,
        message: &OutgoingMessage,
        cause: CloseCause,
    ) -> Result<(), BrokerError> {
        let Some(mut incoming) = IncomingMessage::from_continuation(message, &self.names) else {
            return self.broker.keep_refused(message, cause).await;
        };
        let kind = if incoming.state.progress.is_doubtful() {
            FailureKind::Unresolved
        } else {
            FailureKind::Unavailable
        };
        let text =
            format!("the broker refuses the message that would carry it on: {}", cause.reason);
        let decision = Decision::GiveUp(kind, Failure::new("refused_by_broker", text));
        log_decision(&incoming, &decision);
        let effects =
            self.record_decision(&mut incoming, decision, RecoveryOptions::default()).await?;
        for message in &effects.messages {
            self.broker.publish(message).await?;
        }
        self.settle_published(&incoming, effects).await;
        Ok(())
    }

    /// Returns the effects of handling a message; `None` where the message comes back. Where the
    /// broker refuses its record, the command ends without one: no process may do more about it,
    /// and an earlier call may have acted.
    pub(super) fn or_unrecorded(
        &self,
        message: &IncomingMessage,
        handled: Result<Effects, BrokerError>,
    ) -> Option<Effects> {
        let cause = match handled {
            Ok(effects) => return Some(effects),
            Err(BrokerError::Refused { cause }) => cause,
            Err(_) => return None,
        };
        let text =
            format!("the broker refuses the record of what was done about it: {}", cause.reason);
        // A refused message began nothing.
        let kind = if message.identity.id.is_refused() {
            FailureKind::Invalid
        } else {
            FailureKind::Unresolved
        };
        let decision = Decision::GiveUp(kind, Failure::new("record_refused", text));
        log_decision(message, &decision);
        let attempt = message.state.progress.attempt;
        let recorded =
            self.messages.recorded_effects(message, attempt, decision, None, Timestamp::now());
        Some(self.messages.decision_effects(message, &recorded, &[]))
    }
}
