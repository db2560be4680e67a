//! Records a decision about a message. The place of the record in the ledger decides whether the
//! decision counts.

use std::time::Duration;

use jiff::Timestamp;

use super::Pipeline;
use super::finished_record::{finished, kept};
use super::memory::{held, record};
use super::outbox::Effects;
use super::parcel::Parcel;
use super::refusal::{IdHolder, is_refusal};
use crate::failpoint::{Failpoint, hit};
use ferryd_broker::error::BrokerError;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::{HolderIntent, NextAction, Role, next_action};
use ferryd_domain::ledger::record::Fact;
use ferryd_domain::ledger::ruling::Decided;
use ferryd_domain::lifecycle::Decision;
use ferryd_ledger::Ruled;
use ferryd_provider::Remedies;

/// The wait of a message whose command has gone on since the ledger was asked where it is.
const LOCATE_PAUSE: Duration = Duration::from_millis(50);

impl Pipeline {
    /// Records a decision about a message, and builds the effects of the ruling.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]: nothing may be published; the message comes back.
    pub(super) async fn conclude(
        &self,
        parcel: &mut Parcel,
        decision: Decision,
        remedies: Remedies,
    ) -> Result<Effects, BrokerError> {
        if is_refusal(parcel, &decision) {
            match self.memory.find_id_holder(parcel).await? {
                IdHolder::Nobody => parcel.take_refused_id(),
                IdHolder::SameCommand => {}
                IdHolder::OtherCommand => return self.refuse_known_id(parcel, decision, remedies).await,
            }
        }
        let (effects, next) = self.record_decision(parcel, decision, remedies).await?;
        self.follow_ruling(parcel, remedies, Some(effects), next).await
    }

    /// Records a decision about a message. Returns the effects that it would have, and the next
    /// action.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn record_decision(
        &self,
        parcel: &mut Parcel,
        decision: Decision,
        remedies: Remedies,
    ) -> Result<(RecordedEffects, NextAction), BrokerError> {
        let mut attempt = parcel.travel.progress.attempt;
        loop {
            parcel.travel.recorded = true;
            let effects =
                self.outbox.recorded_effects(parcel, attempt, decision.clone(), remedies.idempotency, Timestamp::now());
            let known = self.memory.case(&parcel.identity.id).is_some_and(|case| case.opening.is_some());
            let kept = remedies.lookup.and_then(|_| kept(parcel, &decision));
            let finished = finished(parcel, known, kept, effects.clone());
            let finished = record(parcel, Fact::Finished(Box::new(finished)));
            let Ruled { id, ruling, .. } = self.memory.ledger.append(finished).await?;
            let next = match next_action(Role::Holder(held(parcel), HolderIntent::Decide), ruling) {
                NextAction::Renumber { attempt: least } => {
                    attempt = least;
                    continue;
                }
                NextAction::Reread => {
                    // The command went on meanwhile, and its message is awaited at another step.
                    // The index knows that step by now, unless it can't be read.
                    tokio::time::sleep(LOCATE_PAUSE).await;
                    self.memory.locate(parcel);
                    attempt = parcel.travel.progress.attempt;
                    continue;
                }
                NextAction::Proceed(granted) => {
                    let decided = Decided { by: id, effects: effects.clone(), replies: granted.replies };
                    NextAction::Publish(Box::new(decided))
                }
                next => next,
            };
            hit(Failpoint::Concluded);
            return Ok((effects, next));
        }
    }
}
