//! Refuses messages that are no valid commands, and of which nothing was begun. None claims the id
//! that its publisher wrote, so that neither a mistake nor another publisher keeps the command of
//! that id from being carried out. Each gets a ruling under an id of its own, which no publisher
//! can write.

use jiff::Timestamp;
use lapin::types::ShortString;

use super::Pipeline;
use super::conflict::of_content;
use super::finished_record::finished;
use super::memory::{Memory, held, record};
use super::outbox::Effects;
use super::parcel::Parcel;
use crate::failpoint::{Failpoint, hit};
use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{HolderIntent, NextAction, Role, next_action};
use ferryd_domain::ledger::record::Fact;
use ferryd_domain::lifecycle::{Decision, Kind};
use ferryd_domain::name::Name;
use ferryd_ledger::Ruled;
use ferryd_provider::Remedies;

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
pub(super) fn is_refusal(parcel: &Parcel, decision: &Decision) -> bool {
    let is_invalid = matches!(decision, Decision::GiveUp(Kind::Invalid, _));
    is_invalid && parcel.fresh && !parcel.travel.progress.is_doubtful()
}

impl Memory {
    /// Finds the command that has the id which the publisher of a refused message wrote.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn find_id_holder(&self, parcel: &Parcel) -> Result<IdHolder, BrokerError> {
        let find = || self.case(&parcel.identity.id).filter(|case| case.opening.is_some());
        if find().is_none() {
            // Another instance may have accepted the command just now.
            self.ledger.barrier().await?;
        }
        Ok(match find() {
            None => IdHolder::Nobody,
            Some(case) if case.is_other_than(parcel.opening()) => IdHolder::OtherCommand,
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
        parcel: &mut Parcel,
        decision: Decision,
        remedies: Remedies,
    ) -> Result<Effects, BrokerError> {
        let conflict = of_content(parcel);
        parcel.take_refused_id();
        self.record_conflict(&conflict).await?;
        let attempt = parcel.travel.progress.attempt;
        let recorded = self.outbox.recorded_effects(parcel, attempt, decision, remedies.idempotency, Timestamp::now());
        let recorded = RecordedEffects { told: false, ..recorded };
        let fact = Fact::Finished(Box::new(finished(parcel, false, None, recorded.clone())));
        let Ruled { id, ruling, .. } = self.memory.ledger.append(record(parcel, fact)).await?;
        let kept = match next_action(Role::Holder(held(parcel), HolderIntent::Decide), ruling) {
            NextAction::Proceed(_) => Some((id, recorded)),
            NextAction::Publish(decided) => Some((decided.by, decided.effects)),
            // The message is dead-lettered already.
            _ => None,
        };
        let mut effects = self.outbox.conflict(parcel, &conflict);
        if let Some((decided_by, recorded)) = kept {
            effects.messages.splice(0..0, self.outbox.effects(parcel, &recorded, &[]).messages);
            effects.settles = Some(decided_by);
        }
        hit(Failpoint::Concluded);
        Ok(effects)
    }
}

impl Parcel {
    /// Gives a refused message an id of its own, the same whenever this message is delivered again:
    /// derived from its body, its other fields, its publisher, and the number of times that it was
    /// sent on.
    pub(super) fn take_refused_id(&mut self) {
        let text = |property: &'_ Option<ShortString>| property.as_ref().map(ToString::to_string).unwrap_or_default();
        let provider = self.identity.provider.as_ref().map_or("", Name::as_str);
        let routing_key = self.travel.routing_key.as_deref().unwrap_or_default();
        let publisher = self.travel.publisher.as_deref().unwrap_or_default();
        let message_id = text(self.properties.message_id());
        let hop = self.travel.hop.to_be_bytes();
        let texts = [provider, routing_key, publisher, &message_id].map(str::as_bytes);
        self.identity.id = self.identity.id.of_refused(&[&texts[..], &[&hop, &self.body]].concat());
        self.forget_opening();
    }
}
