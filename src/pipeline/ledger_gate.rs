//! Asks the ledger about a command, beyond the message in hand, and records each step of its calls.
//!
//! The start of a call is recorded before the request is sent, and the record's place in the ledger
//! decides who may send it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::incoming_message::IncomingMessage;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::next_action::{
    HeldMessage, HolderIntent, NextAction, RulingRole, next_action,
};
use ferryd_domain::ledger::record::{
    CallGuard, ClaimExpired, OpenedRecord, Record, RecordBody, RecordId, ReleasedRecord,
    ReplyTarget, SettledRecord, StartedRecord, WaitReason,
};
use ferryd_domain::money::MoneyAmount;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_ledger::{Ledger, LedgerHealth, RuledRecord};
use ferryd_provider::Operation;

/// Reads and writes the records about commands.
#[derive(Clone)]
pub struct LedgerGate {
    /// The ledger.
    pub ledger: Ledger,
    /// The time that a claim holds beyond the longest duration of its call.
    pub slack: Duration,
}

/// The ledger's answer to the start of a call.
#[derive(Debug)]
pub enum ClaimResult {
    /// The call may be made; its start is recorded.
    Yes {
        /// True where an earlier call of the generation may have acted.
        unknown: bool,
        /// The recorded start.
        start: RecordedStart,
    },
    /// The call may not be made; this is to be done instead.
    No(NextAction),
}

/// A recorded start of a call. The checks before it hold for a while only: a call begun later might
/// still run when another instance takes the step over, come after `expires_at`, or use a key that
/// the provider has forgotten.
#[derive(Debug, Clone, Copy)]
pub struct RecordedStart {
    by: RecordId,
    latest: Instant,
}

impl RecordedStart {
    /// Returns true where it is too late to begin the call.
    #[must_use]
    pub fn is_late(&self) -> bool {
        Instant::now() > self.latest
    }
}

impl LedgerGate {
    /// Resolves once decisions can be made: every record of the stream has been read.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as the ledger.
        let _ = self.ledger.health().wait_for(|health| *health == LedgerHealth::CaughtUp).await;
    }

    /// Resolves when no decisions can be made any more.
    pub async fn wait_until_lost(&self) {
        let _ = self.ledger.health().wait_for(|health| *health != LedgerHealth::CaughtUp).await;
    }

    /// Finds the recorded state of a command.
    #[must_use]
    pub fn command_state(&self, id: &CommandId) -> Option<Arc<CommandState>> {
        self.ledger.command_state(id)
    }

    /// Adds the recorded calls to those that a message states.
    pub fn merge_recorded(&self, message: &mut IncomingMessage) {
        if let Some(state) = self.command_state(&message.identity.id) {
            message.merge_recorded(&state);
        }
    }

    /// Adds the recorded calls to a message that is given up without a ruling on its step: every
    /// call that was begun counts.
    pub fn recall_all(&self, message: &mut IncomingMessage) {
        self.merge_recorded(message);
        if let Some(state) = self
            .command_state(&message.identity.id)
            .filter(|state| state.step.generation == message.step().generation)
        {
            message.state.progress.unknown |= state.may_have_acted();
        }
    }

    /// Returns true where a message that is refused unchecked may have been begun before the rules
    /// for publishers were changed: the broker has delivered it before, and no record speaks
    /// against it.
    pub(super) fn may_have_begun(&self, message: &IncomingMessage) -> bool {
        message.redelivered && self.has_accepted(message)
    }

    /// Returns true where the command in a message is recorded as its own publisher's, who was
    /// allowed to send it then.
    pub(super) fn has_accepted(&self, message: &IncomingMessage) -> bool {
        self.command_state(&message.identity.id).is_some_and(|state| {
            let Some(known) = &state.identity else { return false };
            let is_publisher =
                known.publisher.is_none() || known.publisher == message.state.publisher;
            is_publisher && !state.is_other_than(message.command_identity())
        })
    }

    /// Returns true where the ledger lacks the command of a message although it should know it: the
    /// records are lost, or were never written.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub(super) async fn has_lost(&self, message: &IncomingMessage) -> Result<bool, BrokerError> {
        let is_known = || {
            self.command_state(&message.identity.id).is_some_and(|state| state.identity.is_some())
        };
        if !message.state.recorded || is_known() {
            return Ok(false);
        }
        // Only another instance may have read its records so far.
        self.ledger.wait_for_barrier().await?;
        Ok(!is_known())
    }

    /// Decides about a message from the index alone; `None` where the ledger has to rule on it. A
    /// message that is decided here begins nothing: it is a copy, or its command has ended.
    #[must_use]
    pub fn check_recorded(&self, message: &IncomingMessage) -> Option<NextAction> {
        let state = self.command_state(&message.identity.id)?;
        if message.state.progress.is_looked_up() && state.is_unresolved() {
            // A person has requested this query; only an answer replaces what is recorded.
            return None;
        }
        let ruling = state
            .check_recorded(message.fresh.then(|| message.command_identity()), message.step())?;
        Some(next_action(reply_waiter(message), ruling))
    }

    /// Records that a message is going to wait without a call, so that it is known when it comes
    /// back. Returns what is to be done instead, if anything.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn wait(
        &self,
        message: &mut IncomingMessage,
        reason: WaitReason,
        until: Option<Timestamp>,
    ) -> Result<Option<NextAction>, BrokerError> {
        let (fresh, recorded) = (message.fresh, message.state.recorded);
        let command_identity = message.command_identity().clone();
        let opened = OpenedRecord {
            identity: command_identity,
            step: message.step(),
            fresh,
            recorded,
            reason,
            until,
            submitted_by: None,
        };
        let RuledRecord { ruling, .. } =
            self.ledger.append(make_record(message, RecordBody::Opened(Box::new(opened)))).await?;
        message.state.recorded = true;
        Ok(match next_action(reply_waiter(message), ruling) {
            NextAction::Proceed(_) => None,
            instead => Some(instead),
        })
    }

    /// Records that the call of a message begins, and returns whether it may be made.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn claim(
        &self,
        message: &mut IncomingMessage,
        operation: &Operation,
        request: &OutboundRequest,
        money: Option<MoneyAmount>,
    ) -> Result<ClaimResult, BrokerError> {
        let guard = call_guard(operation, request.timeout() + self.slack);
        let progress = &message.state.progress;
        let started = StartedRecord {
            step: message.step(),
            // Another command under the id may have been recorded since this one was compared.
            identity: (message.fresh
                || self
                    .command_state(&message.identity.id)
                    .is_none_or(|state| state.identity.is_none()))
            .then(|| message.command_identity().clone()),
            fresh: message.fresh,
            recorded: message.state.recorded,
            guard,
            redelivered: message.redelivered,
            expired_claim: message.state.expired_claim,
            unknown: progress.unknown,
            key: progress.key.clone(),
            request_digest: progress.digest.clone().unwrap_or_else(|| request.digest()),
            token: progress.token.clone(),
            money,
            first_sent: progress.first_sent,
        };
        let RuledRecord { id, ruling, age } = self
            .ledger
            .append(make_record(message, RecordBody::Started(Box::new(started))))
            .await?;
        message.state.recorded = true;
        match next_action(
            RulingRole::Holder(held_message(message), HolderIntent::Begin(guard)),
            ruling,
        ) {
            NextAction::Proceed(granted) => {
                let latest = Instant::now() + (self.slack / 2).saturating_sub(age);
                Ok(ClaimResult::Yes {
                    unknown: granted.unknown,
                    start: RecordedStart { by: id, latest },
                })
            }
            instead => Ok(ClaimResult::No(instead)),
        }
    }

    /// Records that a call was not begun after all.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn release_start(
        &self,
        message: &IncomingMessage,
        start: RecordedStart,
    ) -> Result<(), BrokerError> {
        self.ledger
            .append(make_record(
                message,
                RecordBody::Released(ReleasedRecord { started: start.by }),
            ))
            .await
            .map(drop)
    }

    /// Records that a message has waited out a claim, and returns what is to be done about it now.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn take_over(
        &self,
        message: &IncomingMessage,
        claim: RecordId,
    ) -> Result<NextAction, BrokerError> {
        let RuledRecord { ruling, .. } = self
            .ledger
            .append(make_record(message, RecordBody::ClaimExpired(ClaimExpired { claim })))
            .await?;
        Ok(next_action(RulingRole::Holder(held_message(message), HolderIntent::TakeOver), ruling))
    }

    /// Records that a publisher waits for the end of a command that another message carries.
    /// Returns the end, if the command has ended.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn add_reply_target(
        &self,
        message: &IncomingMessage,
        target: ReplyTarget,
    ) -> Result<Option<NextAction>, BrokerError> {
        let RuledRecord { ruling, .. } =
            self.ledger.append(make_record(message, RecordBody::ReplyRequested(target))).await?;
        Ok(match next_action(reply_waiter(message), ruling) {
            NextAction::Answer(event) => Some(NextAction::Answer(event)),
            _ => None,
        })
    }

    /// Records, without waiting for the confirm, that the effects of a decision are published.
    pub fn settle(&self, command: &CommandId, finished: RecordId) {
        let body = RecordBody::Settled(SettledRecord { finished });
        self.ledger.append_unawaited(Record {
            at: Timestamp::now(),
            command: command.clone(),
            fact: body,
        });
    }
}

/// Builds a record about the command of a message.
pub(super) fn make_record(message: &IncomingMessage, body: RecordBody) -> Record {
    Record { at: Timestamp::now(), command: message.identity.id.clone(), fact: body }
}

pub(super) fn held_message(message: &IncomingMessage) -> HeldMessage {
    let (is_fresh, is_unproven) = (message.fresh, message.source.is_unproven());
    HeldMessage { is_fresh, is_unproven, expired_claim: message.state.expired_claim }
}

/// Returns the role of a holder whose message only waits.
fn reply_waiter(message: &IncomingMessage) -> RulingRole {
    RulingRole::Holder(held_message(message), HolderIntent::Begin(CallGuard::ReadOnly))
}

/// Returns what keeps a call of an operation from acting twice. A claim holds for `ttl`.
fn call_guard(operation: &Operation, ttl: Duration) -> CallGuard {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    match operation.idempotency {
        _ if operation.repeatable => CallGuard::ReadOnly,
        Some(_) => CallGuard::Key(ttl_ms),
        None => CallGuard::Claim(ttl_ms),
    }
}
