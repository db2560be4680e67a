//! Asks the ledger about a command, beyond the message in hand, and records each step of its calls.
//!
//! The start of a call is recorded before the request is sent, and the record's place in the ledger
//! decides who may send it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::parcel::Parcel;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::exchange::Request;
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::next_action::{HeldMessage, HolderIntent, NextAction, Role, next_action};
use ferryd_domain::ledger::record::{
    Asked, Fact, Guard, Opened, Reason, Record, RecordId, Released, Settled, Started, TakenOver,
};
use ferryd_domain::money::MoneyAmount;
use ferryd_ledger::{Health, Ledger, Ruled};
use ferryd_provider::Operation;

/// Reads and writes the records about commands.
#[derive(Clone)]
pub struct Memory {
    /// The ledger.
    pub ledger: Ledger,
    /// The time that a claim holds beyond the longest duration of its call.
    pub slack: Duration,
}

/// The ledger's answer to the start of a call.
#[derive(Debug)]
pub enum Begun {
    /// The call may be made; its start is recorded.
    Yes {
        /// True where an earlier call of the generation may have acted.
        unknown: bool,
        /// The recorded start.
        start: Start,
    },
    /// The call may not be made; this is to be done instead.
    No(NextAction),
}

/// A recorded start of a call. The checks before it hold for a while only: a call begun later might
/// still run when another instance takes the step over, come after `expires_at`, or use a key that
/// the provider has forgotten.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    by: RecordId,
    latest: Instant,
}

impl Start {
    /// Returns true where it is too late to begin the call.
    #[must_use]
    pub fn is_late(&self) -> bool {
        Instant::now() > self.latest
    }
}

impl Memory {
    /// Resolves once decisions can be made: every record of the stream has been read.
    pub async fn ready(&self) {
        // The sender lives as long as the ledger.
        let _ = self.ledger.health().wait_for(|health| *health == Health::CaughtUp).await;
    }

    /// Resolves when no decisions can be made any more.
    pub async fn lost(&self) {
        let _ = self.ledger.health().wait_for(|health| *health != Health::CaughtUp).await;
    }

    /// Finds the recorded state of a command.
    #[must_use]
    pub fn case(&self, id: &CommandId) -> Option<Arc<Case>> {
        self.ledger.case(id)
    }

    /// Adds the recorded calls to those that a message states.
    pub fn recall(&self, parcel: &mut Parcel) {
        if let Some(case) = self.case(&parcel.identity.id) {
            parcel.recall(&case);
        }
    }

    /// Adds the recorded calls to a message that is given up without a ruling on its step: every
    /// call that was begun counts.
    pub fn recall_all(&self, parcel: &mut Parcel) {
        self.recall(parcel);
        if let Some(case) =
            self.case(&parcel.identity.id).filter(|case| case.step.generation == parcel.step().generation)
        {
            parcel.travel.progress.unknown |= case.may_have_acted();
        }
    }

    /// Returns true where a message that is refused unchecked may have been begun before the rules
    /// for publishers were changed: the broker has delivered it before, and no record speaks
    /// against it.
    pub(super) fn may_have_begun(&self, parcel: &Parcel) -> bool {
        parcel.redelivered && self.has_accepted(parcel)
    }

    /// Returns true where the command in a message is recorded as its own publisher's, who was
    /// allowed to send it then.
    pub(super) fn has_accepted(&self, parcel: &Parcel) -> bool {
        self.case(&parcel.identity.id).is_some_and(|case| {
            let Some(known) = &case.opening else { return false };
            let is_publisher = known.publisher.is_none() || known.publisher == parcel.travel.publisher;
            is_publisher && !case.is_other_than(parcel.opening())
        })
    }

    /// Returns true where the ledger lacks the command of a message although it should know it: the
    /// records are lost, or were never written.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn has_lost(&self, parcel: &Parcel) -> Result<bool, BrokerError> {
        let is_known = || self.case(&parcel.identity.id).is_some_and(|case| case.opening.is_some());
        if !parcel.travel.recorded || is_known() {
            return Ok(false);
        }
        // Only another instance may have read its records so far.
        self.ledger.barrier().await?;
        Ok(!is_known())
    }

    /// Decides about a message from the index alone; `None` where the ledger has to rule on it. A
    /// message that is decided here begins nothing: it is a copy, or its command has ended.
    #[must_use]
    pub fn glance(&self, parcel: &Parcel) -> Option<NextAction> {
        let case = self.case(&parcel.identity.id)?;
        if parcel.travel.progress.is_looked_up() && case.is_unresolved() {
            // A person has asked for this query; only an answer replaces what is recorded.
            return None;
        }
        let ruling = case.glance(parcel.fresh.then(|| parcel.opening()), parcel.step())?;
        Some(next_action(waiter(parcel), ruling))
    }

    /// Records that a message is going to wait without a call, so that it is known when it comes
    /// back. Returns what is to be done instead, if anything.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn wait(
        &self,
        parcel: &mut Parcel,
        reason: Reason,
        until: Option<Timestamp>,
    ) -> Result<Option<NextAction>, BrokerError> {
        let (fresh, recorded) = (parcel.fresh, parcel.travel.recorded);
        let opening = parcel.opening().clone();
        let opened = Opened { opening, step: parcel.step(), fresh, recorded, reason, until, by: None };
        let Ruled { ruling, .. } = self.ledger.append(record(parcel, Fact::Opened(Box::new(opened)))).await?;
        parcel.travel.recorded = true;
        Ok(match next_action(waiter(parcel), ruling) {
            NextAction::Proceed(_) => None,
            instead => Some(instead),
        })
    }

    /// Records that the call of a message begins, and returns whether it may be made.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn begin(
        &self,
        parcel: &mut Parcel,
        operation: &Operation,
        request: &Request,
        money: Option<MoneyAmount>,
    ) -> Result<Begun, BrokerError> {
        let guard = guard(operation, request.timeout + self.slack);
        let started = Started {
            step: parcel.step(),
            // Another command under the id may have been recorded since this one was compared.
            opening: (parcel.fresh || self.case(&parcel.identity.id).is_none_or(|case| case.opening.is_none()))
                .then(|| parcel.opening().clone()),
            fresh: parcel.fresh,
            recorded: parcel.travel.recorded,
            guard,
            redelivered: parcel.redelivered,
            waited_out: parcel.travel.waited_out,
            unknown: parcel.travel.progress.unknown,
            key: parcel.travel.progress.key.clone(),
            digest: request.digest(),
            token: parcel.travel.progress.token.clone(),
            money,
            first_sent: parcel.travel.progress.first_sent,
        };
        let Ruled { id, ruling, age } = self.ledger.append(record(parcel, Fact::Started(Box::new(started)))).await?;
        parcel.travel.recorded = true;
        match next_action(Role::Holder(held(parcel), HolderIntent::Begin(guard)), ruling) {
            NextAction::Proceed(granted) => {
                let latest = Instant::now() + (self.slack / 2).saturating_sub(age);
                Ok(Begun::Yes { unknown: granted.unknown, start: Start { by: id, latest } })
            }
            instead => Ok(Begun::No(instead)),
        }
    }

    /// Records that a call was not begun after all.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn release(&self, parcel: &Parcel, start: Start) -> Result<(), BrokerError> {
        self.ledger.append(record(parcel, Fact::Released(Released { started: start.by }))).await.map(drop)
    }

    /// Records that a message has waited out a claim, and returns what is to be done about it now.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn take_over(&self, parcel: &Parcel, claim: RecordId) -> Result<NextAction, BrokerError> {
        let Ruled { ruling, .. } = self.ledger.append(record(parcel, Fact::TakenOver(TakenOver { claim }))).await?;
        Ok(next_action(Role::Holder(held(parcel), HolderIntent::TakeOver), ruling))
    }

    /// Records that a publisher waits for the end of a command that another message carries.
    /// Returns the end, if the command has ended.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn ask(&self, parcel: &Parcel, asked: Asked) -> Result<Option<NextAction>, BrokerError> {
        let Ruled { ruling, .. } = self.ledger.append(record(parcel, Fact::Asked(asked))).await?;
        Ok(match next_action(waiter(parcel), ruling) {
            NextAction::Answer(event) => Some(NextAction::Answer(event)),
            _ => None,
        })
    }

    /// Records, without waiting for the confirm, that the effects of a decision are published.
    pub fn settle(&self, command: &CommandId, finished: RecordId) {
        let fact = Fact::Settled(Settled { finished });
        self.ledger.note(Record { at: Timestamp::now(), command: command.clone(), fact });
    }
}

/// Builds a record about the command of a message.
pub(super) fn record(parcel: &Parcel, fact: Fact) -> Record {
    Record { at: Timestamp::now(), command: parcel.identity.id.clone(), fact }
}

pub(super) fn held(parcel: &Parcel) -> HeldMessage {
    let (is_fresh, is_unproven) = (parcel.fresh, parcel.source.is_unproven());
    HeldMessage { is_fresh, is_unproven, waited_out: parcel.travel.waited_out }
}

/// Returns the role of a holder whose message only waits.
fn waiter(parcel: &Parcel) -> Role {
    Role::Holder(held(parcel), HolderIntent::Begin(Guard::Harmless))
}

/// Returns what keeps a call of an operation from acting twice. A claim holds for `ttl`.
fn guard(operation: &Operation, ttl: Duration) -> Guard {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match operation.idempotency {
        _ if operation.repeatable => Guard::Harmless,
        Some(_) => Guard::Key(ttl_ms),
        None => Guard::Claim(ttl_ms),
    }
}
