//! Makes the next call of a command: asks the ledger, builds the request, records the start, calls,
//! and decides by the answer.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use jiff::Timestamp;
use rand::RngExt as _;

use super::Pipeline;
use super::lane::{CallSlot, Lane};
use super::log::{log_decision, mask_of, mask_of_call};
use super::memory::Begun;
use super::outbox::Effects;
use super::parcel::{Order, Parcel};
use super::send::Exchanged;
use crate::failpoint::{Failpoint, hit};
use ferryd_broker::error::BrokerError;
use ferryd_domain::event::Happening;
use ferryd_domain::exchange::{Answer, Request};
use ferryd_domain::ledger::next_action::NextAction;
use ferryd_domain::ledger::record::Reason;
use ferryd_domain::lifecycle::{self, Admission, Decision, Kind};
use ferryd_domain::outcome::{Failure, Outcome, Verdict};
use ferryd_domain::progress::Attempted;
use ferryd_domain::retry::Rung;
use ferryd_domain::token::NoToken;
use ferryd_provider::{Call, Operation, Provider, Remedies};

impl Pipeline {
    /// Makes the next call of a command, if the ledger allows it, and returns the effects.
    pub(super) async fn attempt(
        &self,
        lane: &Lane,
        operation: &Operation,
        order: &mut Order,
        slot: CallSlot,
    ) -> Result<Effects, BrokerError> {
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
                    // Another process may have called, perhaps just now.
                    order.progress_mut().suspect(Timestamp::now());
                }
                start
            }
            Begun::No(next) => {
                let remedies = operation.remedies(order.progress());
                return self.follow_ruling(&mut order.parcel, remedies, None, next).await;
            }
        };
        if let Some(event) = self.outbox.tell(&order.parcel, Happening::Processing, Timestamp::now()) {
            self.broker.publish(&event).await?;
        }
        // The broker may have been slow to confirm either record.
        if start.is_late() {
            self.memory.release(&order.parcel, start).await?;
            let remedies = operation.remedies(order.progress());
            return self.follow_ruling(&mut order.parcel, remedies, None, NextAction::Again).await;
        }
        hit(Failpoint::Rendered);
        let outcome = self.call(lane, operation, order, &request).await;
        // The rest needs only the broker, so the provider may get the next call.
        drop(slot);
        if let Outcome::Unknown(failure) = &outcome {
            self.tell_mismatch(&order.parcel, failure).await?;
        }
        lifecycle::mark(order.progress_mut(), &outcome, Timestamp::now());
        // The answer may state an id by which a lookup is possible.
        let (limits, random) = (order.limits(operation), rand::rng().random());
        let decision = lifecycle::after_call(outcome, order.progress(), &limits, Timestamp::now(), random);
        hit(Failpoint::Decided);
        self.follow(lane, order, decision).await
    }

    /// Makes a command wait without a call.
    pub(super) async fn wait(&self, order: &mut Order, rung: Rung, reason: Reason) -> Result<Effects, BrokerError> {
        if order.progress().inquiry.is_some() {
            return Ok(self.outbox.park(&order.parcel, rung));
        }
        let until = order.command.not_before.filter(|_| reason == Reason::Early);
        match self.memory.wait(&mut order.parcel, reason, until).await? {
            None => Ok(self.outbox.park(&order.parcel, rung)),
            Some(next) => self.follow_ruling(&mut order.parcel, Remedies::default(), None, next).await,
        }
    }

    /// Builds the request, under the generation's key, and notes in the order what is about to be
    /// sent.
    fn request(lane: &Lane, order: &mut Order) -> Result<Request, (Kind, Failure)> {
        let first_sent = order.progress().first_sent.unwrap_or_else(Timestamp::now);
        if order.progress().digest.is_none() {
            // A repeated request carries the same token as the first one, or none.
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

    /// Sends the request, logs every HTTP call that this took, and interprets the answer.
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
        // A panic here comes after the request was sent, so the outcome is unknown.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(interpret)).unwrap_or_else(|_| {
            Outcome::Unknown(Failure::new("panic", "interpreting the answer failed in ferryd itself; see its log"))
        });
        let outcome = if operation.repeatable { outcome.of_read() } else { outcome };
        lane.health.note(&lane.provider.name, &order.command.account, &outcome);
        let attempt = order.progress().attempt;
        order.progress_mut().record(Attempted::new(attempt, started, elapsed, &outcome));
        outcome
    }

    /// Turns a decision into the messages to publish.
    pub(super) async fn follow(
        &self,
        lane: &Lane,
        order: &mut Order,
        decision: Decision,
    ) -> Result<Effects, BrokerError> {
        log_decision(&order.parcel, &decision);
        let remedies = remedies_of(&lane.provider, &order.parcel);
        self.conclude(&mut order.parcel, decision, remedies).await
    }
}

pub(super) fn remedies_of(provider: &Provider, parcel: &Parcel) -> Remedies {
    let operation = parcel.identity.operation.as_ref().and_then(|name| provider.operations.get(name));
    operation.map(|operation| operation.remedies(&parcel.travel.progress)).unwrap_or_default()
}

/// Returns the call that an order is at.
pub(super) fn call_of(order: &Order) -> Call<'_> {
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
