//! The way of one command, top to bottom.
//!
//! ```text
//! delivery → read → known already? → admit → may it be called? → request → transport → interpret → decide
//!          → publish and confirm → ack
//! ```
//!
//! Nothing else in ferryd does these steps. The order is the guarantee: no effect is told before it is decided, and no
//! delivery is acked before every message that follows from it is confirmed by the broker. If the process dies anywhere,
//! the delivery comes back; whatever may have been sent by then counts as *unknown*, never as new.

pub mod in_flight;
pub mod lane;
pub mod outbox;
pub mod parcel;
pub mod stray;

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lapin::Acker;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::in_flight::{Claim, Entry, InFlight, Step};
use self::lane::{Lane, NotAdmitted};
use self::outbox::{Effects, Outbox};
use self::parcel::{Order, Parcel, Refusal};
use crate::amqp::broker::Broker;
use crate::amqp::error::BrokerError;
use crate::amqp::topology::Names;
use crate::domain::event::Happening;
use crate::domain::exchange::{Answer, Request};
use crate::domain::key::IdempotencyKey;
use crate::domain::lifecycle::{self, Admission, Decision, Kind};
use crate::domain::outcome::{Failure, Outcome};
use crate::domain::progress::Attempted;
use crate::domain::retry::Rung;
use crate::failpoint::{Failpoint, hit};
use crate::provider::{Call, Idempotency, Operation};
use crate::transport::exchange_log::{self, Exchange, StepLabel};
use crate::transport::mask::Mask;

/// The rung a delivery waits on when its provider is busy.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// What every lane shares.
pub struct Pipeline {
    /// The link to the broker.
    pub broker: Broker,
    /// The names of the topology.
    pub names: Names,
    /// Writes what is published.
    pub outbox: Outbox,
    /// What this process is doing.
    pub in_flight: InFlight,
    /// The most bytes of a body in the exchange log.
    pub log_body_cap: usize,
    /// No new work is begun once this is cancelled.
    pub stop: CancellationToken,
    /// Nothing is consumed any more once this is cancelled, which follows `stop`.
    pub detached: CancellationToken,
}

impl Pipeline {
    /// Carries one delivery to its end: everything that follows from it is published and confirmed, and it is acked.
    pub async fn carry(&self, lane: &Lane, delivery: Box<Delivery>) {
        let acker = delivery.acker.clone();
        let copy = delivery.redelivered || delivery.exchange.as_str() != self.names.commands();
        let mut order = match self.read(lane, &delivery) {
            Ok(order) => order,
            Err(refusal) => return Box::pin(self.refuse(lane, refusal, acker)).await,
        };
        drop(delivery);
        let claim = match self.in_flight.enter(Step::new(&order.command.id, &order.parcel.travel), acker, copy) {
            Entry::Begun(claim) => claim,
            Entry::Joined => return,
            Entry::Ended(acker) => return ack([acker]).await,
        };
        let permit = lane.admit(order.parcel.body.len(), &self.stop).await;
        let effects = match &permit {
            Err(NotAdmitted::Stopping) => {
                // Given back earlier, it would be delivered here again, and a delivery that crosses the end of consuming
                // is lost to this process: the broker then hands it to the next as one that may have been begun.
                self.detached.cancelled().await;
                self.outbox.give_back(&order.parcel)
            }
            Err(NotAdmitted::Busy) => self.outbox.park(&order.parcel, Rung::at_least(BUSY_WAIT)),
            Ok(_) => {
                let attempt = AssertUnwindSafe(self.attempt(lane, &mut order)).catch_unwind().await;
                attempt.unwrap_or_else(|_| self.poisoned(lane, &order))
            }
        };
        if self.settle(&effects, claim).await {
            drop(permit);
            self.reply(effects).await;
        }
    }

    /// Reads a delivery. One that makes the reading itself panic is given up like any other that can't be read.
    fn read(&self, lane: &Lane, delivery: &Delivery) -> Result<Box<Order>, Box<Refusal>> {
        let now = Timestamp::now();
        // On the heap, like the delivery: thousands of them wait in futures, which would hold them more than once.
        let read = || {
            let order = Order::read(delivery, &lane.provider, &self.names, now)?;
            hit(Failpoint::Decoded);
            Ok(Box::new(order))
        };
        std::panic::catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| Err(Refusal::unreadable(delivery, &lane.provider, &self.names, now, panicked())))
    }

    /// Makes the next call of a command, if it may be made, and says what follows.
    async fn attempt(&self, lane: &Lane, order: &mut Order) -> Effects {
        let Some(operation) = lane.provider.operations.get(&order.command.operation) else {
            return self.poisoned(lane, order);
        };
        let limits = order.limits(operation);
        match lifecycle::before_call(order.progress(), &limits, Timestamp::now()) {
            Admission::Call => {}
            Admission::Park(rung) => return self.outbox.park(&order.parcel, rung),
            Admission::GiveUp(kind, failure) => return self.end(lane, order, Happening::Failed(kind, failure)),
        }
        hit(Failpoint::Admitted);
        let request = match Self::request(lane, order, operation) {
            Ok(request) => request,
            Err((kind, failure)) => return self.end(lane, order, Happening::Failed(kind, failure)),
        };
        if let Some(event) = self.outbox.tell(&order.parcel, Happening::Processing, Timestamp::now())
            && self.broker.publish(&event).await.is_err()
        {
            return self.outbox.give_back(&order.parcel);
        }
        hit(Failpoint::Rendered);
        let outcome = self.call(lane, operation, order, &request).await;
        lifecycle::mark(order.progress_mut(), &outcome);
        let decision =
            lifecycle::after_call(outcome, order.progress(), &limits, Timestamp::now(), rand::rng().random());
        hit(Failpoint::Decided);
        self.follow(lane, order, decision)
    }

    /// Describes the request, under the generation's key, and notes what is about to be sent.
    fn request(lane: &Lane, order: &mut Order, operation: &Operation) -> Result<Request, (Kind, Failure)> {
        if let Some(Idempotency { max_length, .. }) = operation.idempotency {
            let generation = order.progress().generation;
            let key = IdempotencyKey::for_generation(&order.command.id, generation, max_length);
            order.progress_mut().key.get_or_insert(key);
        }
        let request = lane.provider.adapter.request(&call_of(order));
        let request = request.map_err(|failure| (lifecycle::unfit(order.progress()), failure))?;
        let digest = request.digest();
        let progress = order.progress_mut();
        match &progress.digest {
            Some(sent) if progress.key.is_some() && *sent != digest => {
                let message = "the request would differ from the one already sent under this idempotency key; \
                               the provider file was changed in between";
                let kind = if progress.unknown { Kind::Unresolved } else { Kind::Rejected };
                return Err((kind, Failure::new("request_changed", message)));
            }
            _ => progress.digest = Some(digest),
        }
        progress.first_sent.get_or_insert(Timestamp::now());
        Ok(request)
    }

    /// Sends the request, logs the exchange and interprets the answer.
    async fn call(&self, lane: &Lane, operation: &Operation, order: &mut Order, request: &Request) -> Outcome {
        let (started, clock) = (Timestamp::now(), Instant::now());
        let answer = lane.http.send(request).await;
        let elapsed = clock.elapsed();
        hit(Failpoint::Answered);
        self.log_exchange(lane, order, request, &answer, (started, elapsed));
        let interpret = || {
            hit(Failpoint::Interpreting);
            lane.provider.adapter.interpret(&call_of(order), &answer)
        };
        // Whatever goes wrong in here goes wrong after sending: nobody knows then whether the provider acted.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(interpret)).unwrap_or_else(|_| {
            Outcome::Unknown(Failure::new("panic", "interpreting the answer failed in ferryd itself; see its log"))
        });
        let outcome = if operation.reads { outcome.of_read() } else { outcome };
        let attempt = order.progress().attempt;
        order.progress_mut().record(Attempted::new(attempt, started, elapsed, &outcome));
        outcome
    }

    /// Turns a decision into what is to be published.
    fn follow(&self, lane: &Lane, order: &mut Order, decision: Decision) -> Effects {
        let happening = match decision {
            Decision::Complete(success) => Happening::Completed(success),
            Decision::Wait(success, party) => Happening::Waiting(success, party),
            Decision::GiveUp(kind, failure) => Happening::Failed(kind, failure),
            Decision::Retry { rung, due, failure } => {
                return self.outbox.retry(&mut order.parcel, rung, due, failure, Timestamp::now());
            }
        };
        self.end(lane, order, happening)
    }

    /// Ends a command here: tells the log, and says what is to be published.
    fn end(&self, lane: &Lane, order: &Order, happening: Happening) -> Effects {
        let operation = lane.provider.operations.get(&order.command.operation);
        log_ending(&order.parcel, &happening, || mask_of(lane, order));
        let idempotency = operation.and_then(|operation| operation.idempotency);
        self.outbox.end(&order.parcel, happening, idempotency, Timestamp::now())
    }

    /// Gives a message up whose handling panicked. Once something may have been sent, its outcome is unknown.
    fn poisoned(&self, lane: &Lane, order: &Order) -> Effects {
        let operation = lane.provider.operations.get(&order.command.operation);
        let sent = order.progress().first_sent.is_some() && !operation.is_some_and(|operation| operation.reads);
        let kind = if sent { Kind::Unresolved } else { Kind::Poison };
        self.end(lane, order, Happening::Failed(kind, panicked()))
    }

    /// Gives up what is no valid command for its provider.
    async fn refuse(&self, lane: &Lane, refusal: Box<Refusal>, acker: Acker) {
        let Refusal { parcel, kind, failure } = *refusal;
        let operation = parcel.identity.operation.as_ref().and_then(|name| lane.provider.operations.get(name));
        let happening = Happening::Failed(kind, failure);
        log_ending(&parcel, &happening, || lane.mask.clone());
        let idempotency = operation.and_then(|operation| operation.idempotency);
        let effects = self.outbox.end(&parcel, happening, idempotency, Timestamp::now());
        if self.publish(&effects).await.is_ok() {
            ack([acker]).await;
            self.reply(effects).await;
        }
    }

    /// Publishes what follows and, once all of it is confirmed, acks the delivery and every copy of it that joined.
    /// `false` when ferryd stops before that; the delivery comes back then.
    async fn settle(&self, effects: &Effects, claim: Claim) -> bool {
        if self.publish(effects).await.is_err() {
            return false;
        }
        hit(Failpoint::Published);
        ack(claim.finish()).await;
        hit(Failpoint::Acked);
        true
    }

    /// Answers whoever asked for it with `reply_to`: best effort, and after the ack.
    async fn reply(&self, effects: Effects) {
        if let Some(reply) = effects.reply {
            self.broker.publish_once(&reply).await;
        }
    }

    async fn publish(&self, effects: &Effects) -> Result<(), BrokerError> {
        let publish = async |message| {
            self.broker.publish(message).await?;
            hit(Failpoint::PartlyPublished);
            Ok(())
        };
        match effects.messages.as_slice() {
            [message] => Box::pin(publish(message)).await,
            messages => try_join_all(messages.iter().map(publish)).await.map(drop),
        }
    }

    fn log_exchange(
        &self,
        lane: &Lane,
        order: &Order,
        request: &Request,
        answer: &Answer,
        (at, elapsed): (Timestamp, Duration),
    ) {
        if !exchange_log::is_heard() {
            return;
        }
        let Order { command, parcel } = order;
        let step = StepLabel {
            at,
            command: &command.id,
            provider: &lane.provider.name,
            operation: &command.operation,
            generation: parcel.travel.progress.generation,
            attempt: parcel.travel.progress.attempt,
        };
        let mask = mask_of(lane, order).capped_at(self.log_body_cap);
        Exchange::new(&step, request, answer, elapsed, &mask, lane.provider.log.bodies).log(&mask);
    }
}

fn panicked() -> Failure {
    Failure::new("panic", "handling the command failed in ferryd itself; see its log")
}

/// What must not be read in the log about a command.
fn mask_of(lane: &Lane, order: &Order) -> Mask {
    let Order { command, .. } = order;
    let operation = lane.provider.operations.get(&command.operation);
    let sensitive = operation.map(|operation| operation.payload.sensitive_values(&command.payload));
    lane.mask.with_values(&sensitive.unwrap_or_default())
}

/// The call an order is at.
fn call_of(order: &Order) -> Call<'_> {
    let progress = order.progress();
    Call {
        command: &order.command,
        key: progress.key.as_ref(),
        generation: progress.generation,
        attempt: progress.attempt,
    }
}

/// Acks deliveries. An ack that can't be sent is no fault: the delivery comes back and is recognised.
async fn ack(ackers: impl IntoIterator<Item = Acker>) {
    for acker in ackers {
        match acker.ack(BasicAckOptions::default()).await {
            Ok(true) => {}
            Ok(false) => debug!("a delivery was taken back before its ack; its copy will be recognised"),
            Err(error) => debug!(%error, "failed to ack a delivery; its copy will be recognised"),
        }
    }
}

/// Tells the log how a command ended. A provider may quote in its messages what it was sent, so they are masked.
fn log_ending(parcel: &Parcel, happening: &Happening, mask: impl FnOnce() -> Mask) {
    let command = parcel.identity.id.as_str();
    let provider = parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = parcel.travel.progress.attempt;
    let Happening::Failed(kind, failure) = happening else {
        let state = happening.state().as_str();
        return info!(command.id = command, provider, attempt, state, "command ended");
    };
    let (kind, reason) = (*kind, mask().text(&failure.message));
    if matches!(kind, Kind::Poison | Kind::Unresolved) {
        error!(command.id = command, provider, attempt, kind = kind.as_str(), reason, "command failed");
    } else {
        warn!(command.id = command, provider, attempt, kind = kind.as_str(), reason, "command failed");
    }
}
