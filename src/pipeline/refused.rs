//! Ends the commands of continuations and records that the broker refuses.

use super::Pipeline;
use jiff::Timestamp;

use super::log::log_decision;
use super::outbox::Effects;
use super::parcel::Parcel;
use ferryd_broker::error::BrokerError;
use ferryd_broker::failure::CloseCause;
use ferryd_broker::message::Message;
use ferryd_domain::lifecycle::{Decision, Kind};
use ferryd_domain::outcome::Failure;
use ferryd_provider::Remedies;

impl Pipeline {
    /// Handles the broker's refusal of a message: a refused continuation ends its command, as if it
    /// had been delivered and given up; any other message is dead-lettered.
    ///
    /// # Errors
    /// [`BrokerError`]: nothing may be acked.
    pub(super) async fn refused(&self, message: &Message, cause: CloseCause) -> Result<(), BrokerError> {
        let Some(mut parcel) = Parcel::of_continuation(message, &self.names) else {
            return self.broker.keep_refused(message, cause).await;
        };
        let kind = if parcel.travel.progress.is_doubtful() { Kind::Unresolved } else { Kind::Unavailable };
        let text = format!("the broker refuses the message that would carry it on: {}", cause.reason);
        let decision = Decision::GiveUp(kind, Failure::new("refused_by_broker", text));
        log_decision(&parcel, &decision);
        let effects = self.conclude(&mut parcel, decision, Remedies::default()).await?;
        for message in &effects.messages {
            self.broker.publish(message).await?;
        }
        self.settled(&parcel, effects).await;
        Ok(())
    }

    /// Returns the effects of handling a message; `None` where the message comes back. Where the
    /// broker refuses its record, the command ends without one: no process may do more about it,
    /// and an earlier call may have acted.
    pub(super) fn or_unrecorded(&self, parcel: &Parcel, handled: Result<Effects, BrokerError>) -> Option<Effects> {
        let cause = match handled {
            Ok(effects) => return Some(effects),
            Err(BrokerError::Refused { cause }) => cause,
            Err(_) => return None,
        };
        let text = format!("the broker refuses the record of what was done about it: {}", cause.reason);
        // A refused message began nothing.
        let kind = if parcel.identity.id.is_refused() { Kind::Invalid } else { Kind::Unresolved };
        let decision = Decision::GiveUp(kind, Failure::new("record_refused", text));
        log_decision(parcel, &decision);
        let attempt = parcel.travel.progress.attempt;
        let recorded = self.outbox.recorded_effects(parcel, attempt, decision, None, Timestamp::now());
        Some(self.outbox.effects(parcel, &recorded, &[]))
    }
}
