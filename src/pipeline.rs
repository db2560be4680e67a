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
//! [`Pipeline::carry`] takes the steps one after the other. The files of the folder, declared below
//! in the same order, hold the steps:
//!
//! | step | files, the first one first | from → to |
//! |---|---|---|
//! | read | [`parcel`], [`origin`] | delivery → [`Order`] |
//! | admit | [`lane`], [`in_flight`] | a place among the calls and in memory |
//! | ask the ledger | [`memory`] | record → [`NextAction`] |
//! | attempt | `attempt`, [`inquire`] | request → answer → [`Outcome`] → [`Decision`] |
//! | record the decision | `record_decision` | decision → record → ruling → next action |
//! | follow the ruling | [`follow_ruling`] | next action → [`Effects`] |
//! | build the messages | [`outbox`] | decision → recorded effects → messages |
//! | publish, ack, settle | `publish` | [`Effects`] → the broker |
//!
//! [`Decision`]: ferryd_domain::lifecycle::Decision
//! [`NextAction`]: ferryd_domain::ledger::next_action::NextAction
//! [`Outcome`]: ferryd_domain::outcome::Outcome

// Read.
pub(crate) mod command_check;
mod locate;
pub mod origin;
pub mod parcel;
pub mod publisher_rules;

// Admit.
pub mod in_flight;
pub mod lane;

// Ask the ledger.
pub mod memory;

// Attempt: call, or ask the provider.
mod attempt;
mod call_health;
pub mod inquire;
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
pub mod event_message;
pub mod outbox;

// Publish, ack, settle.
mod acks;
mod log;
mod publish;
mod refused;

// Process a webhook call.
pub mod callback;
mod callback_decision;
pub mod callbacks;
mod echoed_values;
pub mod lookup_limit;
mod notices;
mod proof;

// Handle requests of people, unroutable messages, and unfinished work.
pub mod cancel;
pub mod stray;
pub mod sweep;

#[cfg(test)]
mod exits_tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use lapin::message::Delivery;
use tokio_util::sync::CancellationToken;

use self::acks::{ack, requeue};
use self::command_check::unknown_account;
use self::in_flight::{Entry, InFlight, Step};
use self::lane::{CallSlot, Lane, Lanes, NotAdmitted};
use self::memory::Memory;
use self::outbox::{Effects, Outbox};
use self::parcel::{Order, Refusal};
use self::publisher_rules::PublisherRules;
use crate::failpoint::{Failpoint, hit};
use ferryd_broker::broker::Broker;
use ferryd_broker::error::BrokerError;
use ferryd_broker::topology::Names;
use ferryd_domain::ledger::record::Reason;
use ferryd_domain::outcome::Failure;
use ferryd_domain::retry::Rung;
use ferryd_ledger::exchanges::Exchanges;

/// The rung on which a delivery waits when its provider is busy.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// The parts that every lane shares.
pub struct Pipeline {
    /// The link to the broker.
    pub broker: Broker,
    /// The names of the topology.
    pub names: Names,
    /// The rules by which fresh commands are carried out, or refused.
    pub publisher_rules: PublisherRules,
    /// The ledger's answers about commands.
    pub memory: Memory,
    /// Builds the messages that are published.
    pub outbox: Outbox,
    /// The steps that this process is running.
    pub in_flight: InFlight,
    /// The stream of calls to providers.
    pub exchanges: Exchanges,
    /// The most bytes of a body in the log of calls.
    pub log_body_cap: usize,
    /// Cancelled when no new work may begin.
    pub stop: CancellationToken,
    /// Cancelled when nothing is consumed any more, which follows `stop`.
    pub detached: CancellationToken,
}

impl Pipeline {
    /// Processes one delivery to its end: publishes and confirms everything that follows from it,
    /// and acks it.
    pub async fn carry(&self, lanes: &Lanes, delivery: Box<Delivery>) {
        let acker = delivery.acker.clone();
        let copy = delivery.redelivered || delivery.exchange.as_str() != self.names.commands();
        let (mut order, lane) = match self.read(lanes, &delivery) {
            Ok(read) => read,
            Err(refusal) => return Box::pin(self.refuse(lanes, refusal, acker)).await,
        };
        drop(delivery);
        let claim = match self.in_flight.enter(
            Step::new(&order.command.id, &order.parcel.travel, &order.parcel.body),
            acker,
            copy,
        ) {
            Entry::Begun(claim) => claim,
            Entry::Joined => return,
            Entry::Ended(acker) => return ack([acker]).await,
        };
        // Held until the delivery is acked.
        let mut room = None;
        let effects = match lane.admit(order.parcel.body.len(), &self.stop).await {
            Err(NotAdmitted::Stopping) => {
                // Requeued earlier, the delivery would come back to this process. A delivery that
                // crosses the end of consuming is lost to this process, and the broker then hands
                // it to the next one as redelivered, which may have been begun.
                self.detached.cancelled().await;
                // The ledger says that the message was not begun, so it need not lose its place in
                // the queue.
                return requeue(claim.finish()).await;
            }
            Err(NotAdmitted::Busy) => self.wait(&mut order, Rung::at_least(BUSY_WAIT), Reason::Busy).await,
            Ok(turn) => {
                room = Some(turn.room);
                let work = async {
                    let effects = self.take_up(lane, &mut order, turn.call).await?;
                    Ok(self.with_affected(lane, &order, effects).await)
                };
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(effects) => effects,
                    Err(_) => self.poisoned(lane, &mut order).await,
                }
            }
        };
        // Where ferryd stops before it may publish, the delivery comes back.
        let Some(effects) = self.or_unrecorded(&order.parcel, effects) else { return };
        if self.publish(&effects).await.is_err() {
            return;
        }
        hit(Failpoint::Published);
        ack(claim.finish()).await;
        hit(Failpoint::Acked);
        drop(room);
        self.settled(&order.parcel, effects).await;
    }

    /// Reads a delivery, and finds the lane of its account. A delivery that makes the reading
    /// itself panic is given up like any other that can't be read.
    fn read<'l>(&self, lanes: &'l Lanes, delivery: &Delivery) -> Result<(Box<Order>, &'l Lane), Box<Refusal>> {
        let now = Timestamp::now();
        let unreadable = |failure| Refusal::unreadable(delivery, &lanes.provider, &self.names, now, failure);
        // Boxed like the delivery: thousands of deliveries wait in futures, which would hold each
        // one more than once.
        let read = || {
            let order = Order::read(delivery, &lanes.provider, &self.names, &self.publisher_rules, now)?;
            hit(Failpoint::Decoded);
            let account = &order.command.account;
            let lane = lanes.of(account).ok_or_else(|| unreadable(unknown_account(&lanes.provider, account)))?;
            Ok((Box::new(order), lane))
        };
        std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(unreadable(panicked())))
    }

    /// Takes the next action for a message, if anything is left to do: the next call, or a query
    /// about one.
    async fn take_up(&self, lane: &Lane, order: &mut Order, slot: CallSlot) -> Result<Effects, BrokerError> {
        let Some(operation) = lane.provider.operations.get(&order.command.operation) else {
            return self.poisoned(lane, order).await;
        };
        self.memory.recall(&mut order.parcel);
        if !operation.repeatable && self.memory.has_lost(&order.parcel).await? {
            order.progress_mut().unknown = true;
        }
        if order.parcel.fresh {
            order.note_opening();
        }
        if let Some(next) = self.memory.glance(&order.parcel) {
            let remedies = operation.remedies(order.progress());
            let mut effects = self.follow_ruling(&mut order.parcel, remedies, None, next).await?;
            effects.messages.extend(self.asked_anew(&order.parcel));
            return Ok(effects);
        }
        match order.progress().inquiry {
            None => self.attempt(lane, operation, order, slot).await,
            Some(inquiry) => self.inquire(lane, operation, order, inquiry, slot).await,
        }
    }
}

fn panicked() -> Failure {
    Failure::new("panic", "handling the command failed in ferryd itself; see its log")
}
