//! From a decision to what is published: put down, ruled on, and only then told.

use std::time::Duration;

use jiff::Timestamp;
use lapin::types::ShortString;
use tracing::{error, info};

use super::Pipeline;
use super::conflict::of_content;
use super::log::log_verdict;
use super::memory::record;
use super::outbox::Outgoing;
use super::parcel::Parcel;
use super::refusal::{IdHolder, is_refusal};
use crate::amqp::error::BrokerError;
use crate::domain::conflict::ConflictEvent;
use crate::domain::event::{Event, Happening};
use crate::domain::inquiry::{Accepted, Inquiry, doubtful};
use crate::domain::ledger::effects::Effects;
use crate::domain::ledger::holder::Next;
use crate::domain::ledger::record::{By, Fact, Finished, Kept, MadeQuery, Person, Reason};
use crate::domain::ledger::ruling::{Decided, Ruling};
use crate::domain::lifecycle::{Decision, Kind};
use crate::domain::money::AMOUNT_MISMATCH;
use crate::domain::outcome::Failure;
use crate::domain::progress::Attempted;
use crate::domain::retry::Rung;
use crate::failpoint::{Failpoint, hit};
use crate::ledger::Ruled;
use crate::provider::Remedies;

/// How long a message waits for a version of ferryd that understands what the ledger holds about its command.
const FOREIGN_WAIT: Duration = Duration::from_mins(5);

/// The wait of a message whose command has gone on since the ledger was asked where it is.
const LOCATE_PAUSE: Duration = Duration::from_millis(50);

/// What was decided about a message.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Its command ends.
    End(Happening),
    /// Its command waits for the provider.
    Wait(Box<Accepted>),
    /// The provider is asked about its command.
    Inquire(Inquiry, Option<Failure>),
    /// It is tried again.
    Retry {
        /// The rung it waits on.
        rung: Rung,
        /// When the next attempt is due.
        due: Timestamp,
        /// What this one came to.
        failure: Failure,
    },
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Complete(success) => Self::End(Happening::Completed(success)),
            Decision::GiveUp(kind, failure) => Self::End(Happening::Failed(kind, failure)),
            Decision::Wait(accepted) => Self::Wait(accepted),
            Decision::Inquire(inquiry, failure) => Self::Inquire(inquiry, failure),
            Decision::Retry { rung, due, failure } => Self::Retry { rung, due, failure },
        }
    }
}

impl Verdict {
    fn cancelled(person: &Person) -> Self {
        Self::End(Happening::Failed(Kind::Cancelled, cancelled(person)))
    }
}

/// What follows for a command of which it turned out that nobody knows whether it acted.
fn in_doubt(parcel: &mut Parcel, remedies: Remedies) -> Verdict {
    let (progress, now) = (&mut parcel.travel.progress, Timestamp::now());
    // Also where an earlier call was in doubt already: this one is later.
    progress.suspect(now);
    Verdict::from(doubtful(unanswered(), progress, remedies.lookup, now))
}

/// Why nobody knows what became of a call.
pub(super) fn unanswered() -> Failure {
    let text = "a call was begun, and whoever made it never said what came of it; the provider may have acted";
    Failure::new("unanswered", text)
}

/// Why a command was cancelled.
#[must_use]
pub fn cancelled(person: &Person) -> Failure {
    Failure::new("cancelled", format!("cancelled {person}"))
}

impl Pipeline {
    /// What follows from a decision about a message.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`]: nothing may be told; the message comes back.
    pub(super) async fn conclude(
        &self,
        parcel: &mut Parcel,
        verdict: Verdict,
        remedies: Remedies,
    ) -> Result<Outgoing, BrokerError> {
        let mut is_other = false;
        if is_refusal(parcel, &verdict) {
            match self.memory.find_id_holder(parcel).await? {
                IdHolder::Nobody => parcel.take_refused_id(),
                IdHolder::SameCommand => {}
                IdHolder::OtherCommand => is_other = true,
            }
        }
        let outgoing = if is_other {
            self.refuse_known_id(parcel, &verdict, remedies).await?
        } else {
            self.put_down(parcel, verdict, remedies).await?
        };
        hit(Failpoint::Concluded);
        Ok(outgoing)
    }

    pub(super) fn effects(&self, parcel: &Parcel, verdict: &Verdict, attempt: u32, remedies: Remedies) -> Effects {
        let now = Timestamp::now();
        match verdict.clone() {
            Verdict::End(happening) => self.outbox.ending(parcel, attempt, happening, remedies.idempotency, now),
            Verdict::Wait(accepted) => self.outbox.waiting(parcel, attempt, *accepted, now),
            Verdict::Inquire(inquiry, failure) => self.outbox.inquiry(parcel, inquiry, failure, now),
            Verdict::Retry { rung, due, failure } => self.outbox.retry(parcel, rung, due, failure, now),
        }
    }

    async fn put_down(
        &self,
        parcel: &mut Parcel,
        mut verdict: Verdict,
        remedies: Remedies,
    ) -> Result<Outgoing, BrokerError> {
        let mut attempt = parcel.travel.progress.attempt;
        loop {
            parcel.travel.recorded = true;
            let effects = self.effects(parcel, &verdict, attempt, remedies);
            let known = self.memory.case(&parcel.identity.id).is_some_and(|case| case.opening.is_some());
            let kept = remedies.lookup.and_then(|_| kept(parcel, &verdict));
            let finished = finished(parcel, known, kept, effects.clone());
            let Ruled { id, ruling, .. } =
                self.memory.ledger.append(record(parcel, Fact::Finished(Box::new(finished)))).await?;
            match ruling {
                Ruling::Counts(granted) => {
                    let outgoing = self.outbox.outgoing(parcel, &effects, &granted.replies);
                    return Ok(Outgoing { settles: Some(id), ..outgoing });
                }
                Ruling::Outrun { attempt: least } => attempt = least,
                Ruling::Unknown => verdict = in_doubt(parcel, remedies),
                Ruling::Cancelled(person) => verdict = Verdict::cancelled(&person),
                Ruling::OtherContent => return self.other_content(parcel, &effects).await,
                Ruling::Contradicts(stands) => return self.contradiction(parcel, &effects.event, &stands).await,
                Ruling::Unsettled(decided) => return Ok(self.on_record(parcel, &decided)),
                Ruling::Ended(event) if parcel.fresh => return Ok(self.outbox.answer(parcel, &event)),
                Ruling::Blocked(kind) => return Ok(self.foreign(parcel, &kind)),
                Ruling::Passed if parcel.source.is_unproven() => {
                    // The command went on meanwhile, and its message is awaited elsewhere. That is known by now, unless the
                    // index can't be read.
                    tokio::time::sleep(LOCATE_PAUSE).await;
                    self.memory.locate(parcel);
                    attempt = parcel.travel.progress.attempt;
                }
                Ruling::Ended(_) | Ruling::Passed | Ruling::Claimed { .. } | Ruling::TooLate(_) => {
                    return Ok(dropped(parcel));
                }
            }
        }
    }

    /// What is done about a message instead of a call.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn instead(
        &self,
        parcel: &mut Parcel,
        remedies: Remedies,
        mut next: Next,
    ) -> Result<Outgoing, BrokerError> {
        loop {
            match next {
                // Never a call from here: whoever may make one has been told so.
                Next::Unknown | Next::Call { .. } => {
                    let verdict = in_doubt(parcel, remedies);
                    log_verdict(parcel, &verdict);
                    return self.conclude(parcel, verdict, remedies).await;
                }
                Next::Cancel(person) => {
                    return self.conclude(parcel, Verdict::cancelled(&person), remedies).await;
                }
                Next::TakeOver(claim) => next = self.memory.take_over(parcel, claim).await?,
                Next::WaitOut { claim, ttl_ms } => {
                    if let Some(asked) = self.outbox.asker(parcel).filter(|_| parcel.fresh) {
                        self.memory.ask(parcel, asked).await?;
                    }
                    parcel.travel.waited_out = Some(claim);
                    parcel.travel.recorded = true;
                    return Ok(self.outbox.park(parcel, Rung::at_least(Duration::from_millis(ttl_ms))));
                }
                Next::Again => match self.memory.wait(parcel, Reason::Busy, None).await? {
                    None => return Ok(self.outbox.park(parcel, Rung::SHORTEST)),
                    Some(instead) => next = instead,
                },
                Next::Ask => match self.outbox.asker(parcel) {
                    None => return Ok(dropped(parcel)),
                    Some(asked) => match self.memory.ask(parcel, asked).await? {
                        None => return Ok(Outgoing::default()),
                        Some(instead) => next = instead,
                    },
                },
                Next::Publish(decided) => return Ok(self.on_record(parcel, &decided)),
                Next::Answer(event) => return Ok(self.outbox.answer(parcel, &event)),
                Next::Drop => return Ok(dropped(parcel)),
                Next::Conflict => {
                    let conflict = of_content(parcel);
                    self.record_conflict(&conflict).await?;
                    return Ok(self.outbox.conflict(parcel, &conflict));
                }
                Next::Wait(kind) => return Ok(self.foreign(parcel, &kind)),
            }
        }
    }

    /// What somebody decided and is not known to have published.
    fn on_record(&self, parcel: &Parcel, decided: &Decided) -> Outgoing {
        let Decided { by, effects, replies } = decided;
        Outgoing { settles: Some(*by), ..self.outbox.outgoing(parcel, effects, replies) }
    }

    /// A message that is no valid command is kept for an operator even under an id that is another's.
    async fn other_content(&self, parcel: &Parcel, effects: &Effects) -> Result<Outgoing, BrokerError> {
        let conflict = of_content(parcel);
        self.record_conflict(&conflict).await?;
        let told = self.outbox.conflict(parcel, &conflict);
        let kept = effects.carried.as_ref().map(|carried| self.outbox.carried(parcel, carried));
        Ok(Outgoing { messages: kept.into_iter().chain(told.messages).collect(), ..told })
    }

    async fn contradiction(&self, parcel: &Parcel, answer: &Event, stands: &Event) -> Result<Outgoing, BrokerError> {
        let conflict = ConflictEvent::of_answer(answer, stands);
        self.record_conflict(&conflict).await?;
        Ok(Outgoing { replies: Vec::new(), ..self.outbox.conflict(parcel, &conflict) })
    }

    /// Tells of an answer that states another amount than was asked for. Nothing ends by it.
    pub(super) async fn tell_mismatch(&self, parcel: &Parcel, failure: &Failure) -> Result<(), BrokerError> {
        if failure.code.as_deref() != Some(AMOUNT_MISMATCH) {
            return Ok(());
        }
        let (identity, generation) = (parcel.identity.clone(), parcel.travel.progress.generation);
        let conflict = ConflictEvent::of_amount(identity, generation, failure, parcel.trace.clone(), Timestamp::now());
        self.record_conflict(&conflict).await?;
        self.publish(&self.outbox.contradicted(&conflict)).await
    }

    fn foreign(&self, parcel: &mut Parcel, kind: &str) -> Outgoing {
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

/// What follows from a copy whose step is over: nothing, which is said, so that nobody looks for it in vain.
fn dropped(parcel: &Parcel) -> Outgoing {
    let attempt = parcel.travel.progress.attempt;
    info!(command.id = parcel.identity.id.as_str(), attempt, "dropped a copy: its step is over");
    Outgoing::default()
}

/// The message of a command that begins to wait, so that it can be looked up before its time.
fn kept(parcel: &Parcel, verdict: &Verdict) -> Option<Box<Kept>> {
    let waits = matches!(verdict, Verdict::Wait(_) | Verdict::Inquire(..));
    (waits && parcel.travel.progress.inquiry.is_none()).then(|| {
        let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
        Box::new(Kept {
            body: String::from_utf8_lossy(&parcel.body).into_owned(),
            message_id: text(parcel.properties.message_id()),
            correlation_id: text(parcel.properties.correlation_id()),
        })
    })
}

pub(super) fn finished(parcel: &Parcel, known: bool, kept: Option<Box<Kept>>, effects: Effects) -> Finished {
    let progress = &parcel.travel.progress;
    let called = |call: &&Attempted| progress.inquiry.is_none() && call.attempt == progress.attempt;
    let call = progress.history.last().filter(called).cloned();
    // Once a call was made, its start has told which command it is.
    let told = known && (call.is_some() || !parcel.fresh);
    Finished {
        step: parcel.step(),
        opening: (!told).then(|| parcel.opening().clone()),
        fresh: parcel.fresh,
        call,
        unknown: progress.unknown,
        // A lookup is only made where a call may have acted.
        absent: progress.is_looked_up() && !progress.unknown,
        kept,
        query: progress.inquiry.map(|inquiry| MadeQuery { purpose: inquiry.purpose, early: inquiry.planned.is_some() }),
        by: By::Holder,
        effects,
    }
}
