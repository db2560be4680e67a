//! The way of one command, top to bottom.
//!
//! ```text
//! delivery → read → known already? → admit → may it be called? → request → *started* → transport → interpret → decide
//!          → *finished* → publish and confirm → ack → *settled*
//! ```
//!
//! Nothing else in ferryd does these steps. The words in stars are records in the ledger, and the order is the guarantee:
//! no call is made before it is on record that it begins, no effect is told before it is on record that it was decided,
//! and no delivery is acked before every message that follows from it is confirmed by the broker. If the process dies
//! anywhere, the delivery comes back, and the record says how far it had come. [`memory`] asks the ledger, [`conclude`]
//! puts decisions down and does what they come to.

mod acks;
mod call_health;
pub mod callback;
mod callback_decision;
pub mod cancel;
pub(crate) mod command_check;
pub mod conclude;
mod conflict;
pub mod control;
mod echoed_values;
pub mod event_message;
#[cfg(test)]
mod exits_tests;
mod give_up;
pub mod in_flight;
pub mod inquire;
pub mod lane;
mod log;
pub mod lookup_limit;
pub mod memory;
mod notices;
pub mod origin;
pub mod outbox;
pub mod parcel;
mod proof;
pub mod publisher_rules;
mod refusal;
mod refused;
pub mod send;
pub mod stray;
pub mod sweep;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use lapin::message::Delivery;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use self::acks::{ack, requeue};
use self::command_check::unknown_account;
use self::in_flight::{Entry, InFlight, Step};
use self::lane::{CallSlot, Lane, Lanes, NotAdmitted};
use self::log::{log_verdict, mask_of, mask_of_call};
use self::memory::{Begun, Memory};
use self::outbox::{Outbox, Outgoing};
use self::parcel::{Order, Parcel, Refusal};
use self::publisher_rules::PublisherRules;
use self::send::Exchanged;
use crate::amqp::broker::Broker;
use crate::amqp::error::BrokerError;
use crate::amqp::topology::Names;
use crate::domain::event::Happening;
use crate::domain::exchange::{Answer, Request};
use crate::domain::ledger::holder::Next;
use crate::domain::ledger::record::Reason;
use crate::domain::lifecycle::{self, Admission, Decision, Kind};
use crate::domain::outcome::{Failure, Outcome, Verdict};
use crate::domain::progress::Attempted;
use crate::domain::retry::Rung;
use crate::domain::token::NoToken;
use crate::failpoint::{Failpoint, hit};
use crate::ledger::exchanges::Exchanges;
use crate::provider::{Call, Operation, Provider, Remedies};

/// The rung a delivery waits on when its provider is busy.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// What every lane shares.
pub struct Pipeline {
    /// The link to the broker.
    pub broker: Broker,
    /// The names of the topology.
    pub names: Names,
    /// The rules by which fresh commands are carried out, or refused.
    pub publisher_rules: PublisherRules,
    /// What is known of commands beyond their messages.
    pub memory: Memory,
    /// Writes what is published.
    pub outbox: Outbox,
    /// What this process is doing.
    pub in_flight: InFlight,
    /// Where requests and answers are kept.
    pub exchanges: Exchanges,
    /// The most bytes of a body in the exchange log.
    pub log_body_cap: usize,
    /// No new work is begun once this is cancelled.
    pub stop: CancellationToken,
    /// Nothing is consumed any more once this is cancelled, which follows `stop`.
    pub detached: CancellationToken,
}

impl Pipeline {
    /// Carries one delivery to its end: everything that follows from it is published and confirmed, and it is acked.
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
        let outgoing = match lane.admit(order.parcel.body.len(), &self.stop).await {
            Err(NotAdmitted::Stopping) => {
                // Given back earlier, it would be delivered here again, and a delivery that crosses the end of consuming
                // is lost to this process: the broker then hands it to the next as one that may have been begun.
                self.detached.cancelled().await;
                // The record says that it was not begun; it need not lose its place in the queue.
                return requeue(claim.finish()).await;
            }
            Err(NotAdmitted::Busy) => self.wait(&mut order, Rung::at_least(BUSY_WAIT), Reason::Busy).await,
            Ok(turn) => {
                room = Some(turn.room);
                let work = async {
                    let outgoing = self.take_up(lane, &mut order, turn.call).await?;
                    Ok(self.with_affected(lane, &order, outgoing).await)
                };
                match AssertUnwindSafe(work).catch_unwind().await {
                    Ok(outgoing) => outgoing,
                    Err(_) => self.poisoned(lane, &mut order).await,
                }
            }
        };
        // Where ferryd stops before it may tell anything, the delivery comes back.
        let Some(outgoing) = self.or_unrecorded(&order.parcel, outgoing) else { return };
        if self.publish(&outgoing).await.is_err() {
            return;
        }
        hit(Failpoint::Published);
        ack(claim.finish()).await;
        hit(Failpoint::Acked);
        drop(room);
        self.settled(&order.parcel, outgoing).await;
    }

    /// Reads a delivery, and finds its account's lane. One that makes the reading itself panic is given up like any other that
    /// can't be read.
    fn read<'l>(&self, lanes: &'l Lanes, delivery: &Delivery) -> Result<(Box<Order>, &'l Lane), Box<Refusal>> {
        let now = Timestamp::now();
        let unreadable = |failure| Refusal::unreadable(delivery, &lanes.provider, &self.names, now, failure);
        // On the heap, like the delivery: thousands of them wait in futures, which would hold them more than once.
        let read = || {
            let order = Order::read(delivery, &lanes.provider, &self.names, &self.publisher_rules, now)?;
            hit(Failpoint::Decoded);
            let account = &order.command.account;
            let lane = lanes.of(account).ok_or_else(|| unreadable(unknown_account(&lanes.provider, account)))?;
            Ok((Box::new(order), lane))
        };
        std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(unreadable(panicked())))
    }

    /// Does what a message is up for, if anything is left to do: the next call, or a question about one.
    async fn take_up(&self, lane: &Lane, order: &mut Order, slot: CallSlot) -> Result<Outgoing, BrokerError> {
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
            let mut outgoing = self.instead(&mut order.parcel, remedies, next).await?;
            outgoing.messages.extend(self.asked_anew(&order.parcel));
            return Ok(outgoing);
        }
        match order.progress().inquiry {
            None => self.attempt(lane, operation, order, slot).await,
            Some(inquiry) => self.inquire(lane, operation, order, inquiry, slot).await,
        }
    }

    /// Makes the next call of a command, if it may be made, and says what follows.
    async fn attempt(
        &self,
        lane: &Lane,
        operation: &Operation,
        order: &mut Order,
        slot: CallSlot,
    ) -> Result<Outgoing, BrokerError> {
        let limits = order.limits(operation);
        match lifecycle::before_call(order.progress(), &limits, Timestamp::now()) {
            Admission::Call => {}
            Admission::Park(rung) => return self.wait(order, rung, Reason::Early).await,
            Admission::Instead(decision) => return self.follow(lane, order, *decision).await,
        }
        hit(Failpoint::Admitted);
        let request = match Self::request(lane, order) {
            Ok(request) => request,
            Err((kind, failure)) => return self.follow(lane, order, Decision::GiveUp(kind, failure)).await,
        };
        let money = lane.account.adapter.money(&call_of(order));
        let start = match self.memory.begin(&mut order.parcel, operation, &request, money).await? {
            Begun::Yes { unknown, start } => {
                hit(Failpoint::Begun);
                if unknown {
                    // By somebody else, perhaps just now.
                    order.progress_mut().suspect(Timestamp::now());
                }
                start
            }
            Begun::No(next) => {
                let remedies = operation.remedies(order.progress());
                return self.instead(&mut order.parcel, remedies, next).await;
            }
        };
        if let Some(event) = self.outbox.tell(&order.parcel, Happening::Processing, Timestamp::now()) {
            self.broker.publish(&event).await?;
        }
        // The broker may have taken its time with either.
        if start.is_late() {
            self.memory.release(&order.parcel, start).await?;
            let remedies = operation.remedies(order.progress());
            return self.instead(&mut order.parcel, remedies, Next::Again).await;
        }
        hit(Failpoint::Rendered);
        let outcome = self.call(lane, operation, order, &request).await;
        // What follows is between ferryd and its broker; the provider may get the next call.
        drop(slot);
        if let Outcome::Unknown(failure) = &outcome {
            self.tell_mismatch(&order.parcel, failure).await?;
        }
        lifecycle::mark(order.progress_mut(), &outcome, Timestamp::now());
        // By what the answer tells, a lookup may have become possible.
        let (limits, random) = (order.limits(operation), rand::rng().random());
        let decision = lifecycle::after_call(outcome, order.progress(), &limits, Timestamp::now(), random);
        hit(Failpoint::Decided);
        self.follow(lane, order, decision).await
    }

    /// Lets a command wait without a call.
    async fn wait(&self, order: &mut Order, rung: Rung, reason: Reason) -> Result<Outgoing, BrokerError> {
        if order.progress().inquiry.is_some() {
            return Ok(self.outbox.park(&order.parcel, rung));
        }
        let until = order.command.not_before.filter(|_| reason == Reason::Early);
        match self.memory.wait(&mut order.parcel, reason, until).await? {
            None => Ok(self.outbox.park(&order.parcel, rung)),
            Some(next) => self.instead(&mut order.parcel, Remedies::default(), next).await,
        }
    }

    /// Describes the request, under the generation's key, and notes what is about to be sent.
    fn request(lane: &Lane, order: &mut Order) -> Result<Request, (Kind, Failure)> {
        let first_sent = order.progress().first_sent.unwrap_or_else(Timestamp::now);
        if order.progress().digest.is_none() {
            // What was sent before has the token that it had, or none.
            order.progress_mut().token = Some(lane.command_token(order, first_sent));
        }
        for callback_url in lane.callback_urls(order, first_sent) {
            order.callback_url = callback_url;
            let call = call_of(order);
            let command_token = call.command_token.filter(|token| !token.is_empty());
            let request = lane.account.adapter.request(&Call { command_token, ..call });
            let request = request
                .map_err(|failure| (lifecycle::unfit(order.progress()), failure.masked(&mask_of(lane, order))))?;
            let digest = request.digest();
            let progress = order.progress_mut();
            if progress.key.is_none() || progress.digest.as_ref().is_none_or(|sent| *sent == digest) {
                if progress.token.as_ref().is_some_and(|token| !request.holds(token)) {
                    progress.token = Some(String::new());
                }
                progress.digest = Some(digest);
                progress.first_sent = Some(first_sent);
                return Ok(request);
            }
        }
        let message = "the request would differ from the one already sent under this idempotency key; \
                       the provider file or the configuration was changed in between";
        let kind = if order.progress().unknown { Kind::Unresolved } else { Kind::Rejected };
        Err((kind, Failure::new("request_changed", message)))
    }

    /// Sends the request, logs every exchange that this took and interprets the answer.
    async fn call(&self, lane: &Lane, operation: &Operation, order: &mut Order, request: &Request) -> Outcome {
        let (started, clock) = (Timestamp::now(), Instant::now());
        let adapter = &lane.account.adapter;
        let is_refused = |answer: &Answer| match answer {
            Answer::Reply(_) => adapter.interpret(&call_of(order), answer).verdict() == Verdict::Rejected,
            _ => true,
        };
        let sent = lane.send(request, is_refused).await;
        let elapsed = clock.elapsed();
        hit(Failpoint::Answered);
        let mask = mask_of_call(lane, order, &sent);
        for exchanged in sent.exchanges() {
            self.log_exchange(lane, order, exchanged, &mask).await;
        }
        let interpret = || {
            hit(Failpoint::Interpreting);
            match &sent.last {
                Ok(Exchanged { answer, .. }) => adapter.interpret(&call_of(order), answer).masked(&mask),
                Err(NoToken { failure, retry_after }) => Outcome::Transient(failure.clone(), *retry_after),
            }
        };
        // Whatever goes wrong in here goes wrong after sending: nobody knows then whether the provider acted.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(interpret)).unwrap_or_else(|_| {
            Outcome::Unknown(Failure::new("panic", "interpreting the answer failed in ferryd itself; see its log"))
        });
        let outcome = if operation.repeatable { outcome.of_read() } else { outcome };
        lane.health.note(&lane.provider.name, &order.command.account, &outcome);
        let attempt = order.progress().attempt;
        order.progress_mut().record(Attempted::new(attempt, started, elapsed, &outcome));
        outcome
    }

    /// Turns a decision into what is to be published.
    async fn follow(&self, lane: &Lane, order: &mut Order, decision: Decision) -> Result<Outgoing, BrokerError> {
        let verdict = conclude::Verdict::from(decision);
        log_verdict(&order.parcel, &verdict);
        let remedies = remedies_of(&lane.provider, &order.parcel);
        self.conclude(&mut order.parcel, verdict, remedies).await
    }

    /// Puts down that everything that follows is published, and answers whoever asked for it with `reply_to`: best
    /// effort, and after the ack.
    async fn settled(&self, parcel: &Parcel, outgoing: Outgoing) {
        if let Some(finished) = outgoing.settles {
            self.memory.settle(&parcel.identity.id, finished);
        }
        for reply in &outgoing.replies {
            self.broker.publish_once(reply).await;
        }
    }

    /// Publishes messages one after the other, each confirmed.
    async fn publish(&self, outgoing: &Outgoing) -> Result<(), BrokerError> {
        for message in &outgoing.messages {
            match self.broker.publish_or_refuse(message, &CancellationToken::new()).await {
                Err(BrokerError::Refused { cause }) => Box::pin(self.refused(message, cause)).await?,
                published => published?,
            }
            hit(Failpoint::PartlyPublished);
        }
        Ok(())
    }
}

fn panicked() -> Failure {
    Failure::new("panic", "handling the command failed in ferryd itself; see its log")
}

fn remedies_of(provider: &Provider, parcel: &Parcel) -> Remedies {
    let operation = parcel.identity.operation.as_ref().and_then(|name| provider.operations.get(name));
    operation.map(|operation| operation.remedies(&parcel.travel.progress)).unwrap_or_default()
}

/// The call an order is at.
fn call_of(order: &Order) -> Call<'_> {
    let progress = order.progress();
    Call {
        command: &order.command,
        key: progress.key.as_ref(),
        generation: progress.generation,
        attempt: progress.attempt,
        provider_reference: progress.provider_reference.as_deref(),
        callback_url: order.callback_url.as_deref(),
        command_token: progress.token.as_deref(),
        in_doubt: progress.unknown,
    }
}
