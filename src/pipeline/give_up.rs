//! Gives up messages: those that are no valid command for their provider, and those whose handling
//! panicked.

use lapin::Acker;

use super::attempt::remedies_of;
use super::lane::{Lane, Lanes};
use super::log::log_decision;
use super::outbox::Effects;
use super::parcel::{Order, Parcel, Refusal};
use super::{Pipeline, ack, panicked};
use ferryd_broker::error::BrokerError;
use ferryd_domain::lifecycle::{self, Decision, Kind};
use ferryd_provider::Remedies;
use ferryd_redact::UnmaskedValue;

impl Pipeline {
    /// Gives up a message whose handling panicked. Where a request may have been sent, the outcome
    /// is unknown.
    pub(super) async fn poisoned(&self, lane: &Lane, order: &mut Order) -> Result<Effects, BrokerError> {
        let operation = lane.provider.operations.get(&order.command.operation);
        let sent = order.progress().first_sent.is_some() && !operation.is_some_and(|operation| operation.repeatable);
        let kind = if sent { Kind::Unresolved } else { Kind::Poison };
        self.follow(lane, order, Decision::GiveUp(kind, panicked())).await
    }

    /// Gives up a message that is no valid command for its provider.
    pub(super) async fn refuse(&self, lanes: &Lanes, refusal: Box<Refusal>, acker: Acker) {
        let Refusal { mut parcel, mut kind, failure, perhaps_sent, is_disallowed } = *refusal;
        if parcel.source.is_unproven() {
            // The message's command has been taken up, so the rest of what it claims does not
            // count.
            self.memory.locate(&mut parcel);
            kind = Kind::Unresolved;
        } else if is_disallowed && !self.memory.may_have_begun(&parcel) {
            // A publisher who knows another's command id is not the publisher of that command: the
            // records under that id are not about this message.
            parcel.forget_opening();
        } else if perhaps_sent {
            self.memory.recall_all(&mut parcel);
        }
        if kind == Kind::Invalid {
            kind = lifecycle::unfit(&parcel.travel.progress);
        }
        // The failure may quote the published message.
        let decision = Decision::GiveUp(kind, UnmaskedValue::new(failure).masked(&lanes.mask()));
        log_decision(&parcel, &decision);
        // Nor can the provider be asked about it: the message is no valid command.
        let remedies = Remedies { lookup: None, ..remedies_of(&lanes.provider, &parcel) };
        self.give_up(parcel, decision, remedies, acker).await;
    }

    /// Ends a message by a decision, as it is.
    pub(super) async fn give_up(&self, mut parcel: Parcel, decision: Decision, remedies: Remedies, acker: Acker) {
        let effects = self.conclude(&mut parcel, decision, remedies).await;
        let Some(effects) = self.or_unrecorded(&parcel, effects) else { return };
        if self.publish(&effects).await.is_ok() {
            ack([acker]).await;
            self.settled(&parcel, effects).await;
        }
    }
}
