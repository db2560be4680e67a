//! Follows the ruling of a record about the message in hand: builds the messages that are published
//! before its ack.

use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info};

use super::Pipeline;
use super::conflict::of_content;
use super::log::log_decision;
use super::outbox::Effects;
use super::parcel::Parcel;
use ferryd_broker::error::BrokerError;
use ferryd_domain::conflict::ConflictEvent;
use ferryd_domain::event::Event;
use ferryd_domain::inquiry::doubtful;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::next_action::NextAction;
use ferryd_domain::ledger::record::{Person, Reason};
use ferryd_domain::ledger::ruling::Decided;
use ferryd_domain::lifecycle::{Decision, Kind};
use ferryd_domain::money::AMOUNT_MISMATCH;
use ferryd_domain::outcome::Failure;
use ferryd_domain::retry::Rung;
use ferryd_provider::Remedies;

/// The wait of a message for a version of ferryd that understands the records about its command.
const FOREIGN_WAIT: Duration = Duration::from_mins(5);

/// Decides about a command whose call may have acted, with an unknown outcome.
fn in_doubt(parcel: &mut Parcel, remedies: Remedies) -> Decision {
    let (progress, now) = (&mut parcel.travel.progress, Timestamp::now());
    // Also where an earlier call had no known outcome already: this one is later.
    progress.suspect(now);
    doubtful(unanswered(), progress, remedies.lookup, now)
}

/// Describes a call whose outcome is unknown.
pub(super) fn unanswered() -> Failure {
    let text = "a call was begun, and whoever made it never said what came of it; the provider may have acted";
    Failure::new("unanswered", text)
}

/// Describes the cancellation of a command.
#[must_use]
pub fn cancelled(person: &Person) -> Failure {
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
        parcel: &mut Parcel,
        remedies: Remedies,
        mut decided: Option<RecordedEffects>,
        mut next: NextAction,
    ) -> Result<Effects, BrokerError> {
        loop {
            next = match next {
                // A call is never made from here: `attempt` makes it.
                NextAction::Doubt | NextAction::Proceed(_) => {
                    let decision = in_doubt(parcel, remedies);
                    log_decision(parcel, &decision);
                    let (effects, next) = self.record_decision(parcel, decision, remedies).await?;
                    decided = Some(effects);
                    next
                }
                NextAction::Cancel(person) => {
                    let decision = Decision::GiveUp(Kind::Cancelled, cancelled(&person));
                    let (effects, next) = self.record_decision(parcel, decision, remedies).await?;
                    decided = Some(effects);
                    next
                }
                NextAction::TakeOver(claim) => self.memory.take_over(parcel, claim).await?,
                NextAction::WaitOut { claim, ttl_ms } => {
                    if let Some(asked) = self.outbox.asker(parcel).filter(|_| parcel.fresh) {
                        self.memory.ask(parcel, asked).await?;
                    }
                    parcel.travel.waited_out = Some(claim);
                    parcel.travel.recorded = true;
                    return Ok(self.outbox.park(parcel, Rung::at_least(Duration::from_millis(ttl_ms))));
                }
                NextAction::Again => match self.memory.wait(parcel, Reason::Busy, None).await? {
                    None => return Ok(self.outbox.park(parcel, Rung::SHORTEST)),
                    Some(instead) => instead,
                },
                NextAction::Ask => match self.outbox.asker(parcel) {
                    None => return Ok(dropped(parcel)),
                    Some(asked) => match self.memory.ask(parcel, asked).await? {
                        None => return Ok(Effects::default()),
                        Some(instead) => instead,
                    },
                },
                NextAction::Publish(decided) => return Ok(self.on_record(parcel, &decided)),
                NextAction::Answer(event) => return Ok(self.outbox.answer(parcel, &event)),
                NextAction::Conflict => return self.other_content(parcel, decided.as_ref()).await,
                NextAction::Contradict(stands) => return self.contradiction(parcel, decided.as_ref(), &stands).await,
                NextAction::Wait(kind) => return Ok(self.foreign(parcel, &kind)),
                NextAction::Renumber { .. } | NextAction::Reread | NextAction::Refuse(_) | NextAction::Drop => {
                    return Ok(dropped(parcel));
                }
            }
        }
    }

    /// Builds the messages of a recorded decision, made now or before, that is not known to be
    /// published.
    fn on_record(&self, parcel: &Parcel, decided: &Decided) -> Effects {
        let Decided { by, effects, replies } = decided;
        Effects { settles: Some(*by), ..self.outbox.effects(parcel, effects, replies) }
    }

    /// Dead-letters a message that is no valid command, also where its id is another command's.
    async fn other_content(&self, parcel: &Parcel, decided: Option<&RecordedEffects>) -> Result<Effects, BrokerError> {
        let conflict = of_content(parcel);
        self.record_conflict(&conflict).await?;
        let told = self.outbox.conflict(parcel, &conflict);
        let carried = decided.and_then(|effects| effects.carried.as_ref());
        let kept = carried.map(|carried| self.outbox.carried(parcel, carried));
        Ok(Effects { messages: kept.into_iter().chain(told.messages).collect(), ..told })
    }

    async fn contradiction(
        &self,
        parcel: &Parcel,
        answer: Option<&RecordedEffects>,
        stands: &Event,
    ) -> Result<Effects, BrokerError> {
        let Some(RecordedEffects { event: answer, .. }) = answer else { return Ok(dropped(parcel)) };
        let conflict = ConflictEvent::of_answer(answer, stands);
        self.record_conflict(&conflict).await?;
        Ok(Effects { replies: Vec::new(), ..self.outbox.conflict(parcel, &conflict) })
    }

    /// Publishes that an answer states another amount than was asked for. The command does not end
    /// by it.
    pub(super) async fn tell_mismatch(&self, parcel: &Parcel, failure: &Failure) -> Result<(), BrokerError> {
        if failure.code.as_deref() != Some(AMOUNT_MISMATCH) {
            return Ok(());
        }
        let (identity, generation) = (parcel.identity.clone(), parcel.travel.progress.generation);
        let conflict = ConflictEvent::of_amount(identity, generation, failure, parcel.trace.clone(), Timestamp::now());
        self.record_conflict(&conflict).await?;
        self.publish(&self.outbox.contradicted(&conflict)).await
    }

    fn foreign(&self, parcel: &mut Parcel, kind: &str) -> Effects {
        parcel.travel.recorded = true;
        error!(
            command.id = parcel.identity.id.as_str(),
            kind,
            "the ledger holds a record about this command that this version of ferryd does not understand; the command \
             waits for a later version"
        );
        self.outbox.park(parcel, Rung::at_least(FOREIGN_WAIT))
    }
}

/// Drops a copy whose step is over, and logs that.
fn dropped(parcel: &Parcel) -> Effects {
    let attempt = parcel.travel.progress.attempt;
    info!(command.id = parcel.identity.id.as_str(), attempt, "dropped a copy: its step is over");
    Effects::default()
}
