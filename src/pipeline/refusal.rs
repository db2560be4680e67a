//! Refuses messages that are no valid commands, and of which nothing was begun. None claims the id
//! that its publisher wrote, so that neither a mistake nor another publisher keeps the command of
//! that id from being carried out. Each gets a ruling under an id of its own, which no publisher
//! can write.

use jiff::Timestamp;
use lapin::types::ShortString;

use super::Pipeline;
use super::conflict::content_conflict;
use super::finished_record::finished_record;
use super::incoming_message::IncomingMessage;
use super::ledger_gate::{LedgerGate, held_message, make_record};
use super::messages::Effects;
use crate::failpoint::{Failpoint, pass_failpoint};
use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{HolderIntent, NextAction, RulingRole, next_action};
use ferryd_domain::ledger::record::RecordBody;
use ferryd_domain::lifecycle::{Decision, FailureKind};
use ferryd_domain::name::Name;
use ferryd_ledger::RuledRecord;
use ferryd_provider::RecoveryOptions;

/// The holder of the id that the publisher of a refused message wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdHolder {
    /// No command has the id.
    Nobody,
    /// The command of the message itself: the message is a copy of one that was accepted under an
    /// earlier provider file.
    SameCommand,
    /// A command with other content.
    OtherCommand,
}

/// Returns true where a decision refuses a message: it is its publisher's, nothing of it was begun,
/// and it is no valid command. A message whose handling fails in ferryd itself may be valid, and is
/// not refused: its end keeps its copies from being called.
pub(super) fn is_refusal(message: &IncomingMessage, decision: &Decision) -> bool {
    let is_invalid = matches!(decision, Decision::GiveUp(FailureKind::Invalid, _));
    is_invalid && message.fresh && !message.state.progress.is_doubtful()
}

impl LedgerGate {
    /// Finds the command that has the id which the publisher of a refused message wrote.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn find_id_holder(
        &self,
        message: &IncomingMessage,
    ) -> Result<IdHolder, BrokerError> {
        let find =
            || self.command_state(&message.identity.id).filter(|state| state.identity.is_some());
        if find().is_none() {
            // Another instance may have accepted the command just now.
            self.ledger.wait_for_barrier().await?;
        }
        Ok(match find() {
            None => IdHolder::Nobody,
            Some(state) if state.is_other_than(message.command_identity()) => {
                IdHolder::OtherCommand
            }
            Some(_) => IdHolder::SameCommand,
        })
    }
}

impl Pipeline {
    /// Refuses a message under the id of another command: that is a conflict, and ends no command.
    /// The message is dead-lettered.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]: nothing may be published; the message comes back.
    pub(super) async fn refuse_known_id(
        &self,
        message: &mut IncomingMessage,
        decision: Decision,
        options: RecoveryOptions,
    ) -> Result<Effects, BrokerError> {
        let conflict = content_conflict(message);
        message.take_refused_id();
        self.record_conflict(&conflict).await?;
        let attempt = message.state.progress.attempt;
        let recorded = self.messages.recorded_effects(
            message,
            attempt,
            decision,
            options.idempotency,
            Timestamp::now(),
        );
        let recorded = RecordedEffects { publish_event: false, ..recorded };
        let body =
            RecordBody::Finished(Box::new(finished_record(message, false, None, recorded.clone())));
        let RuledRecord { id, ruling, .. } =
            self.ledger_gate.ledger.append(make_record(message, body)).await?;
        let kept = match next_action(
            RulingRole::Holder(held_message(message), HolderIntent::Decide),
            ruling,
        ) {
            NextAction::Proceed(_) => Some((id, recorded)),
            NextAction::Publish(decided) => Some((decided.by, decided.effects)),
            // The message is dead-lettered already.
            _ => None,
        };
        let mut effects = self.messages.conflict_effects(message, &conflict);
        if let Some((decided_by, recorded)) = kept {
            effects
                .messages
                .splice(0..0, self.messages.decision_effects(message, &recorded, &[]).messages);
            effects.settles = Some(decided_by);
        }
        pass_failpoint(Failpoint::Concluded);
        Ok(effects)
    }
}

impl IncomingMessage {
    /// Gives a refused message an id of its own, the same whenever this message is delivered again:
    /// derived from its body, its other fields, its publisher, and the number of times that it was
    /// sent on.
    pub(super) fn take_refused_id(&mut self) {
        let text = |property: &'_ Option<ShortString>| {
            property.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        let provider = self.identity.provider.as_ref().map_or("", Name::as_str);
        let routing_key = self.state.routing_key.as_deref().unwrap_or_default();
        let publisher = self.state.publisher.as_deref().unwrap_or_default();
        let message_id = text(self.properties.message_id());
        let hop = self.state.hop.to_be_bytes();
        let texts = [provider, routing_key, publisher, &message_id].map(str::as_bytes);
        let id = self.identity.id.for_refused(&[&texts[..], &[&hop, &self.body]].concat());
        self.identity = self.identity.with_changes(|identity| identity.id = id);
        self.clear_identity();
    }
}
