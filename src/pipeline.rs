//! The processing of one command, from its delivery to its ack.
//!
//! ```text
//! delivery → read → known already? → admit → may it be called? → request → *started* → transport → interpret → decide
//!          → *finished* → publish and confirm → ack → *settled*
//! ```
//!
//! No other part of ferryd takes these steps. The words in stars are records in the ledger, and
//! their order is the guarantee: no call is made before its start is recorded, no effect is
//! published before its decision is recorded, and no delivery is acked before the broker has
//! confirmed every message that follows from it. If the process dies anywhere, the broker delivers
//! the message again, and the records say how far it had come.
//!
//! [`Pipeline::handle_delivery`] takes the steps one after the other. The files of the folder,
//! declared below in the same order, hold the steps:
//!
//! | step | files, the first one first | from → to |
//! |---|---|---|
//! | read | [`command_message`], [`incoming_message`], [`message_origin`] | delivery → [`CommandMessage`] |
//! | admit | [`lane`], [`in_flight`] | a place among the calls and in memory |
//! | read the ledger | [`ledger_gate`] | record → [`NextAction`] |
//! | attempt | `attempt`, [`query`] | request → answer → [`Outcome`] → [`Decision`] |
//! | record the decision | `record_decision` | decision → record → ruling → next action |
//! | follow the ruling | [`follow_ruling`] | next action → [`Effects`] |
//! | build the messages | [`messages`] | decision → recorded effects → messages |
//! | publish, ack, settle | `publish` | [`Effects`] → the broker |
//!
//! Thousands of commands wait at the same time, each in a future that holds its largest path. So the
//! paths that few commands take are boxed.
//!
//! [`Decision`]: ferryd_domain::lifecycle::Decision
//! [`NextAction`]: ferryd_domain::ledger::next_action::NextAction
//! [`Outcome`]: ferryd_domain::outcome::Outcome

// Read.
pub(crate) mod command_check;
pub mod command_message;
pub mod incoming_message;
mod locate;
pub mod message_origin;
pub mod publisher_rules;

// Admit.
pub mod in_flight;
pub mod lane;

// Read the ledger.
pub mod ledger_gate;

// Attempt: call or query the provider.
mod attempt;
mod call_health;
pub mod query;
pub mod send;

// Record the decision.
mod finished_record;
mod record_decision;
mod refusal;

// Follow the ruling.
mod conflict;
pub mod follow_ruling;
mod give_up;

// Build the messages.
mod dead_letter_messages;
pub mod event_message;
pub mod messages;
mod query_messages;

// Publish, ack, settle.
mod log;
mod publish;
mod refused_message;

// Process a webhook.
mod echoed_values;
pub mod handle_webhook;
pub mod lookup_limit;
mod notice_match;
mod notices;
mod webhook_decision;
pub mod webhook_handler;
mod webhook_progress;

// Handle requests of people, unroutable messages, and unfinished work.
pub mod cancel;
pub mod event_recovery;
pub mod unroutable;

#[cfg(test)]
mod exits_tests;
#[cfg(test)]
mod future_size_tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use lapin::message::Delivery;
use tokio_util::sync::CancellationToken;

use self::command_check::unknown_account;
use self::command_message::CommandMessage;
use self::in_flight::{InFlight, MessageStep, StepEntry};
use self::incoming_message::MessageRefusal;
use self::lane::{CallPermit, Lane, NotAdmitted, ProviderLanes};
use self::ledger_gate::LedgerGate;
use self::messages::{Effects, MessageFactory};
use self::publisher_rules::PublisherRules;
use crate::failpoint::{Failpoint, pass_failpoint};
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::delivery_acks::{DeliveryAcker, HeldDelivery};
use ferryd_broker::error::BrokerError;
use ferryd_broker::topology::TopologyNames;
use ferryd_domain::ledger::record::WaitReason;
use ferryd_domain::outcome::Failure;
use ferryd_domain::retry::Rung;
use ferryd_ledger::call_log::CallLog;

/// The rung on which a delivery waits when its provider is busy.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The parts that every lane shares.
pub struct Pipeline {
    /// The link to the broker.
    pub broker: BrokerHandle,
    /// The names of the topology.
    pub names: TopologyNames,
    /// The rules by which fresh commands are carried out, or refused.
    pub publisher_rules: PublisherRules,
    /// The ledger's answers about commands.
    pub ledger_gate: LedgerGate,
    /// Builds the messages that are published.
    pub messages: MessageFactory,
    /// The steps that this process is running.
    pub in_flight: InFlight,
    /// The stream of calls to providers.
    pub call_log: CallLog,
    /// The most bytes of a body in the log of calls.
    pub max_logged_body_size: usize,
    /// Cancelled when no new work may begin.
    pub stop: CancellationToken,
    /// Cancelled when nothing is consumed any more, which follows `stop`.
    pub detached: CancellationToken,
}

impl Pipeline {
    /// Processes one delivery to its end: publishes and confirms everything that follows from it,
    /// and acks it.
    pub async fn handle_delivery(&self, lanes: &ProviderLanes, delivery: Box<HeldDelivery>) {
        let acker = delivery.acker.clone();
        let copy = delivery.redelivered || delivery.exchange.as_str() != self.names.commands();
        let (mut command, lane) = match self.read(lanes, &delivery) {
            Ok(read) => read,
            Err(refusal) => return Box::pin(self.refuse(lanes, refusal, acker)).await,
        };
        drop(delivery);
        let claim = match self.in_flight.enter_step(
            MessageStep::new(&command.command.id, &command.message.state, &command.message.body),
            acker,
            copy,
        ) {
            StepEntry::Begun(claim) => claim,
            StepEntry::Joined => return,
            StepEntry::Ended(acker) => return acker.ack().await,
        };
        // Held until the delivery is acked.
        let mut room = None;
        let effects = match lane.wait_for_permit(command.message.body.len(), &self.stop).await {
            Err(NotAdmitted::Stopping) => {
                // Requeued earlier, the delivery would come back to this process. A delivery that
                // crosses the end of consuming is lost to this process, and the broker then hands
                // it to the next one as redelivered, which may have been begun.
                self.detached.cancelled().await;
                // The ledger says that the message was not begun, so it need not lose its place in
                // the queue.
                let requeues = claim.finish_step().into_iter().map(DeliveryAcker::requeue);
                join_all(requeues).await;
                return;
            }
            Err(NotAdmitted::Busy) => {
                let rung = Rung::at_least(BUSY_WAIT);
                Box::pin(self.wait(&mut command, rung, WaitReason::Busy)).await
            }
            Ok(turn) => {
                room = Some(turn.room);
                let work = async {
                    let effects = self.take_up(lane, &mut command, turn.call).await?;
                    Ok(self.add_affected_query(lane, &command, effects).await)
                };
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(effects) => effects,
                    Err(_) => Box::pin(self.give_up_poisoned(lane, &mut command)).await,
                }
            }
        };
        // Where ferryd stops before it may publish, the delivery comes back.
        let Some(effects) = self.or_unrecorded(&command.message, effects) else { return };
        if self.publish(&effects).await.is_err() {
            return;
        }
        pass_failpoint(Failpoint::Published);
        join_all(claim.finish_step().into_iter().map(DeliveryAcker::ack)).await;
        pass_failpoint(Failpoint::Acked);
        drop(room);
        self.settle_published(&command.message, effects).await;
    }

    /// Reads a delivery, and finds the lane of its account. A delivery that makes the reading
    /// itself panic is given up like any other that can't be read.
    fn read<'l>(
        &self,
        lanes: &'l ProviderLanes,
        delivery: &Delivery,
    ) -> Result<(Box<CommandMessage>, &'l Lane), Box<MessageRefusal>> {
        let now = Timestamp::now();
        let unreadable = |failure| {
            MessageRefusal::for_unreadable(delivery, &lanes.provider, &self.names, now, failure)
        };
        // Boxed like the delivery: thousands of deliveries wait in futures, which would hold each
        // one more than once.
        let read = || {
            let command = CommandMessage::read(
                delivery,
                &lanes.provider,
                &self.names,
                &self.publisher_rules,
                now,
            )?;
            pass_failpoint(Failpoint::Decoded);
            let account = &command.command.account;
            let lane = lanes
                .of(account)
                .ok_or_else(|| unreadable(unknown_account(&lanes.provider, account)))?;
            Ok((Box::new(command), lane))
        };
        std::panic::catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(unreadable(handle_panic())))
    }

    /// Takes the next action for a message, if anything is left to do: the next call, or a query
    /// about one.
    async fn take_up(
        &self,
        lane: &Lane,
        command: &mut CommandMessage,
        slot: CallPermit,
    ) -> Result<Effects, BrokerError> {
        let Some(operation) = lane.provider.operations.get(&command.command.operation) else {
            return Box::pin(self.give_up_poisoned(lane, command)).await;
        };
        self.ledger_gate.merge_recorded(&mut command.message);
        if !operation.repeatable && self.ledger_gate.has_lost(&command.message).await? {
            command.progress_mut().unknown = true;
        }
        if command.message.fresh {
            command.note_identity();
        }
        if let Some(next) = self.ledger_gate.check_recorded(&command.message) {
            let options = operation.recovery_options(command.progress());
            let follow = self.follow_ruling(&mut command.message, options, None, next);
            let mut effects = Box::pin(follow).await?;
            effects.messages.extend(self.repeated_query_message(&command.message));
            return Ok(effects);
        }
        match command.progress().query {
            None => self.attempt(lane, operation, command, slot).await,
            Some(query) => {
                Box::pin(self.run_due_query(lane, operation, command, query, slot)).await
            }
        }
    }
}

fn handle_panic() -> Failure {
    Failure::new("panic", "handling the command failed in ferryd itself; see its log")
}
