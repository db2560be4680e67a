//! Gives up messages: those that are no valid command for their provider, and those whose handling
//! panicked.

use super::attempt::options_of;
use super::command_message::CommandMessage;
use super::incoming_message::{IncomingMessage, MessageRefusal};
use super::lane::{Lane, ProviderLanes};
use super::log::log_decision;
use super::messages::Effects;
use super::{Pipeline, handle_panic};
use ferryd_broker::delivery_acks::DeliveryAcker;
use ferryd_broker::error::BrokerError;
use ferryd_domain::lifecycle::{self, Decision, FailureKind};
use ferryd_provider::RecoveryOptions;
use ferryd_redact::UnmaskedValue;

impl Pipeline {
    /// Gives up a message whose handling panicked. Where a request may have been sent, the outcome
    /// is unknown.
    pub(super) async fn give_up_poisoned(
        &self,
        lane: &Lane,
        command: &mut CommandMessage,
    ) -> Result<Effects, BrokerError> {
        let operation = lane.provider.operations.get(&command.command.operation);
        let sent = command.progress().first_sent.is_some()
            && !operation.is_some_and(|operation| operation.repeatable);
        let kind = if sent { FailureKind::Unresolved } else { FailureKind::Poison };
        self.follow(lane, command, Decision::GiveUp(kind, handle_panic())).await
    }

    /// Gives up a message that is no valid command for its provider.
    pub(super) async fn refuse(
        &self,
        lanes: &ProviderLanes,
        refusal: Box<MessageRefusal>,
        acker: DeliveryAcker,
    ) {
        let MessageRefusal { mut message, mut kind, failure, perhaps_sent, is_disallowed } =
            *refusal;
        if message.source.is_unproven() {
            // The message's command has been taken up, so the rest of what it claims does not
            // count.
            self.ledger_gate.locate_message(&mut message);
            kind = FailureKind::Unresolved;
        } else if is_disallowed && !self.ledger_gate.may_have_begun(&message) {
            // A publisher who knows another's command id is not the publisher of that command: the
            // records under that id are not about this message.
            message.clear_identity();
        } else if perhaps_sent {
            self.ledger_gate.recall_all(&mut message);
        }
        if kind == FailureKind::Invalid {
            kind = lifecycle::misfit_kind(&message.state.progress);
        }
        // The failure may quote the published message.
        let decision = Decision::GiveUp(kind, UnmaskedValue::new(failure).masked(&lanes.mask()));
        log_decision(&message, &decision);
        // The provider can't be queried either: the message is no valid command.
        let options = RecoveryOptions { lookup: None, ..options_of(&lanes.provider, &message) };
        self.give_up(message, decision, options, acker).await;
    }

    /// Ends a message by a decision, as it is.
    pub(super) async fn give_up(
        &self,
        mut message: IncomingMessage,
        decision: Decision,
        options: RecoveryOptions,
        acker: DeliveryAcker,
    ) {
        let effects = self.record_decision(&mut message, decision, options).await;
        let Some(effects) = self.or_unrecorded(&message, effects) else { return };
        if self.publish(&effects).await.is_ok() {
            acker.ack().await;
            self.settle_published(&message, effects).await;
        }
    }
}
