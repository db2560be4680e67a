//! Makes the next call of a command: asks the ledger, builds the request, records the start, calls,
//! and decides by the answer.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use jiff::Timestamp;
use rand::RngExt as _;

use super::Pipeline;
use super::command_message::CommandMessage;
use super::incoming_message::IncomingMessage;
use super::lane::{CallPermit, Lane};
use super::ledger_gate::ClaimResult;
use super::log::{log_decision, mask_of, mask_of_call};
use super::messages::Effects;
use super::send::{CallAttempt, CallExchange};
use crate::failpoint::{Failpoint, pass_failpoint};
use ferryd_broker::error::BrokerError;
use ferryd_domain::event::EventKind;
use ferryd_domain::http_call::CallResult;
use ferryd_domain::ledger::next_action::NextAction;
use ferryd_domain::ledger::record::WaitReason;
use ferryd_domain::lifecycle::{self, Admission, Decision, FailureKind};
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, Outcome, OutcomeName};
use ferryd_domain::progress::AttemptSummary;
use ferryd_domain::retry::Rung;
use ferryd_domain::token::TokenUnavailable;
use ferryd_provider::{CallContext, Operation, Provider, RecoveryOptions};

impl Pipeline {
    /// Makes the next call of a command, if the ledger allows it, and returns the effects.
    pub(super) async fn attempt(
        &self,
        lane: &Lane,
        operation: &Operation,
        command: &mut CommandMessage,
        slot: CallPermit,
    ) -> Result<Effects, BrokerError> {
        let limits = command.attempt_limits(operation);
        match lifecycle::decide_before_call(command.progress(), &limits, Timestamp::now()) {
            Admission::Call => {}
            Admission::Park(rung) => {
                return Box::pin(self.wait(command, rung, WaitReason::Early)).await;
            }
            Admission::Instead(decision) => {
                return Box::pin(self.follow(lane, command, *decision)).await;
            }
        }
        pass_failpoint(Failpoint::Admitted);
        let request = match Self::prepare_request(lane, command) {
            Ok(request) => request,
            Err((kind, failure)) => {
                let decision = Decision::GiveUp(kind, failure);
                return Box::pin(self.follow(lane, command, decision)).await;
            }
        };
        let money = lane.account.adapter.requested_amount(&call_of(command));
        let start =
            match self.ledger_gate.claim(&mut command.message, operation, &request, money).await? {
                ClaimResult::Yes { unknown, start } => {
                    pass_failpoint(Failpoint::Begun);
                    if unknown {
                        // Another process may have called, perhaps just now.
                        command.progress_mut().mark_unknown(Timestamp::now());
                    }
                    start
                }
                ClaimResult::No(next) => {
                    let options = operation.recovery_options(command.progress());
                    let follow = self.follow_ruling(&mut command.message, options, None, next);
                    return Box::pin(follow).await;
                }
            };
        if let Some(event) =
            self.messages.event_message(&command.message, EventKind::Processing, Timestamp::now())
        {
            self.broker.publish(&event).await?;
        }
        // The broker may have been slow to confirm either record.
        if start.is_late() {
            Box::pin(self.ledger_gate.release_start(&command.message, start)).await?;
            let options = operation.recovery_options(command.progress());
            let follow = self.follow_ruling(&mut command.message, options, None, NextAction::Again);
            return Box::pin(follow).await;
        }
        pass_failpoint(Failpoint::Rendered);
        let outcome = self.call(lane, operation, command, &request).await;
        // The rest needs only the broker, so the provider may get the next call.
        drop(slot);
        if let Outcome::Unknown(failure) = &outcome {
            Box::pin(self.publish_mismatch(&command.message, failure)).await?;
        }
        lifecycle::note_outcome(command.progress_mut(), &outcome, Timestamp::now());
        // The answer may state an id by which a lookup is possible.
        let (limits, random) = (command.attempt_limits(operation), rand::rng().random());
        let decision = lifecycle::decide_after_call(
            outcome,
            command.progress(),
            &limits,
            Timestamp::now(),
            random,
        );
        pass_failpoint(Failpoint::Decided);
        // Boxed, so that a call that waits for its answer does not hold the place of what follows.
        Box::pin(self.follow(lane, command, decision)).await
    }

    /// Makes a command wait without a call.
    pub(super) async fn wait(
        &self,
        command: &mut CommandMessage,
        rung: Rung,
        reason: WaitReason,
    ) -> Result<Effects, BrokerError> {
        if command.progress().query.is_some() {
            return Ok(self.messages.park_effects(&command.message, rung));
        }
        let until = command.command.not_before.filter(|_| reason == WaitReason::Early);
        match self.ledger_gate.wait(&mut command.message, reason, until).await? {
            None => Ok(self.messages.park_effects(&command.message, rung)),
            Some(next) => {
                self.follow_ruling(&mut command.message, RecoveryOptions::default(), None, next)
                    .await
            }
        }
    }

    /// Builds the request, under the generation's key, and notes in the order what is about to be
    /// sent.
    fn prepare_request(
        lane: &Lane,
        command: &mut CommandMessage,
    ) -> Result<OutboundRequest, (FailureKind, Failure)> {
        let first_sent = command.progress().first_sent.unwrap_or_else(Timestamp::now);
        if command.progress().digest.is_none() {
            // A repeated request carries the same token as the first one, or none.
            command.progress_mut().token = lane.command_token(command, first_sent);
        }
        for webhook_url in lane.webhook_urls(command, first_sent) {
            command.webhook_url = webhook_url;
            let request = lane.account.adapter.build_request(&call_of(command));
            let request = request.map_err(|failure| {
                (
                    lifecycle::misfit_kind(command.progress()),
                    failure.masked(&mask_of(lane, command)),
                )
            })?;
            let digest = request.digest();
            let progress = command.progress_mut();
            if progress.key.is_none() || progress.digest.as_ref().is_none_or(|sent| *sent == digest)
            {
                if !request.holds(&progress.token) {
                    progress.token.clear();
                }
                progress.digest = Some(digest);
                progress.first_sent = Some(first_sent);
                return Ok(request);
            }
        }
        let message = "the request would differ from the one already sent under this idempotency key; \
                       the provider file or the configuration was changed in between";
        let kind = if command.progress().unknown {
            FailureKind::Unresolved
        } else {
            FailureKind::Rejected
        };
        Err((kind, Failure::new("request_changed", message)))
    }

    /// Sends the request or message, logs every call that this took, and interprets the answer.
    async fn call(
        &self,
        lane: &Lane,
        operation: &Operation,
        command: &mut CommandMessage,
        request: &OutboundRequest,
    ) -> Outcome {
        let (started, clock) = (Timestamp::now(), Instant::now());
        let adapter = &lane.account.adapter;
        let is_refused = |answer: &CallResult| match answer {
            CallResult::Reply(_) => {
                adapter.interpret_reply(&call_of(command), answer).outcome_name()
                    == OutcomeName::Rejected
            }
            _ => true,
        };
        let sent = lane.send(request, is_refused).await;
        let elapsed = clock.elapsed();
        pass_failpoint(Failpoint::Answered);
        let mask = mask_of_call(lane, command, &sent);
        for made in sent.calls() {
            self.log_call(lane, command, made, &mask).await;
        }
        let interpret = || {
            pass_failpoint(Failpoint::Interpreting);
            match &sent.last {
                Ok(CallAttempt { exchange: CallExchange::Http(_, answer), .. }) => {
                    adapter.interpret_reply(&call_of(command), answer).masked(&mask)
                }
                Ok(CallAttempt { exchange: CallExchange::Message(_, result), .. }) => {
                    adapter.interpret_receipt(&call_of(command), result).masked(&mask)
                }
                Err(TokenUnavailable { failure, retry_after }) => {
                    Outcome::Transient(failure.clone(), *retry_after)
                }
            }
        };
        // A panic here comes after the request was sent, so the outcome is unknown.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(interpret)).unwrap_or_else(|_| {
            Outcome::Unknown(Failure::new(
                "panic",
                "interpreting the answer failed in ferryd itself; see its log",
            ))
        });
        let outcome = if operation.repeatable { outcome.for_read_only() } else { outcome };
        lane.health.record_call_end(&lane.provider.name, &command.command.account, &outcome);
        let attempt = command.progress().attempt;
        command
            .progress_mut()
            .record_attempt(AttemptSummary::new(attempt, started, elapsed, &outcome));
        outcome
    }

    /// Turns a decision into the messages to publish.
    pub(super) async fn follow(
        &self,
        lane: &Lane,
        command: &mut CommandMessage,
        decision: Decision,
    ) -> Result<Effects, BrokerError> {
        log_decision(&command.message, &decision);
        let options = options_of(&lane.provider, &command.message);
        self.record_decision(&mut command.message, decision, options).await
    }
}

pub(super) fn options_of(provider: &Provider, message: &IncomingMessage) -> RecoveryOptions {
    let operation =
        message.identity.operation.as_ref().and_then(|name| provider.operations.get(name));
    operation
        .map(|operation| operation.recovery_options(&message.state.progress))
        .unwrap_or_default()
}

/// Returns the call that an order is at.
pub(super) fn call_of(command_message: &CommandMessage) -> CallContext<'_> {
    let progress = command_message.progress();
    CallContext {
        command: &command_message.command,
        key: progress.key.as_ref(),
        generation: progress.generation,
        attempt: progress.attempt,
        provider_reference: progress.provider_reference.as_deref(),
        webhook_url: command_message.webhook_url.as_deref(),
        command_token: &progress.token,
        in_doubt: progress.unknown,
    }
}
