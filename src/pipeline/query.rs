//! Queries the provider about the outcome of a call, when a query is due.
//!
//! A query only reads. It needs no recorded start, and repeating it does no harm. Its answer is
//! recorded and published like the outcome of a call, so copies of its message come to one
//! continuation.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use jiff::Timestamp;
use rand::RngExt as _;
use tracing::warn;

use super::Pipeline;
use super::attempt::call_of;
use super::command_message::CommandMessage;
use super::incoming_message::IncomingMessage;
use super::lane::{CallPermit, Lane};
use super::log::{mask_of, mask_of_call};
use super::messages::Effects;
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::OutgoingMessage;
use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::http_call::{CallResult, HttpRequest};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{CommandPrompt, PromptRecord, Record, RecordBody};
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::{Failure, LookupOutcome, PollOutcome};
use ferryd_domain::progress::GenerationProgress;
use ferryd_domain::query::{self, ProviderQuery, QueryAction, QueryPurpose};
use ferryd_provider::Operation;
use ferryd_redact::Mask;

/// The result of a request to query the provider about a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupRequestResult {
    /// The provider is queried now.
    Published,
    /// The command is not known.
    NotKnown,
    /// The command has ended, is not sent yet, or is being called: there is nothing to ask.
    NotWaiting,
    /// The command's operation had no `lookup` when the command began to wait.
    NoLookup,
}

impl LookupRequestResult {
    /// Explains why the provider is not queried; `None` where it is.
    #[must_use]
    pub fn refusal_reason(self) -> Option<&'static str> {
        match self {
            Self::Published => None,
            Self::NotKnown => Some("it is not known; `ferryd commands` lists those that are"),
            Self::NotWaiting => Some(
                "it is neither a dead letter nor waiting for its provider; see `ferryd status`",
            ),
            Self::NoLookup => Some(
                "its operation had no `lookup` when it began to wait, or one by an id that the provider had not returned; its \
                 poll, a webhook or its deadline ends it",
            ),
        }
    }
}

impl Pipeline {
    /// Queries a provider now about a command that waits for it, or for its planned lookup.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn look_up_now(
        &self,
        id: &CommandId,
        by: &str,
    ) -> Result<LookupRequestResult, BrokerError> {
        let Some(state) =
            self.ledger_gate.command_state(id).filter(|state| state.identity.is_some())
        else {
            return Ok(LookupRequestResult::NotKnown);
        };
        let Some(query_message) = self.early_query_message(&state, Some(QueryPurpose::Lookup))
        else {
            let waits = state.state() == LifecycleState::Waiting;
            return Ok(if waits {
                LookupRequestResult::NoLookup
            } else {
                LookupRequestResult::NotWaiting
            });
        };
        self.note_prompt(id, CommandPrompt::Actor(by.to_owned()), true);
        self.broker.publish(&query_message).await?;
        Ok(LookupRequestResult::Published)
    }

    /// Copies the message of a command that waits, to query its provider within a second: for
    /// `purpose`, or else as planned. Whichever of the two messages queries first goes on, and the
    /// other finds that its query has been made.
    pub(super) fn early_query_message(
        &self,
        state: &CommandState,
        purpose: Option<QueryPurpose>,
    ) -> Option<OutgoingMessage> {
        let (kept, asking) = state.retained_message.as_deref().zip(state.asking.as_ref())?;
        let provider = state.identity.as_ref()?.command.provider.as_ref()?;
        Some(self.messages.early_query_message(kept, asking, provider, (purpose, Timestamp::now())))
    }

    /// Copies a message that queries early once more, for its next query, where another query was
    /// decided meanwhile. That one may have been made before there was a reason to ask. `None`
    /// where the command no longer waits.
    pub(super) fn repeated_query_message(
        &self,
        message: &IncomingMessage,
    ) -> Option<OutgoingMessage> {
        let GenerationProgress { query, generation, .. } = &message.state.progress;
        let query = query.filter(|query| query.planned.is_some() && query.tried == 0)?;
        let state = self.ledger_gate.command_state(&message.identity.id)?;
        let waits = state.ending.is_none() && state.step.generation == *generation;
        waits.then(|| self.early_query_message(&state, Some(query.purpose)))?
    }

    /// Adds to the effects of a completed command a query about the other command that it has
    /// changed at their provider, whose next poll may be hours away.
    pub(super) async fn add_affected_query(
        &self,
        lane: &Lane,
        command_message: &CommandMessage,
        mut effects: Effects,
    ) -> Effects {
        if effects.settles.is_none() {
            return effects;
        }
        let ledger = &self.ledger_gate.ledger;
        let Some(reference) = lane.account.adapter.affected_reference(&call_of(command_message))
        else {
            return effects;
        };
        let Command { id, account, .. } = &command_message.command;
        let ended = |state: Arc<CommandState>| state.state() == LifecycleState::Completed;
        if !ledger.command_state(id).is_some_and(ended) {
            return effects;
        }
        match ledger
            .find_by_reference(&lane.provider.name, account, &reference, |state| {
                state.state() == LifecycleState::Waiting
            })
            .await
        {
            Ok(other) => {
                let state = other.as_ref().and_then(|other| ledger.command_state(other));
                let query_message = state.and_then(|state| self.early_query_message(&state, None));
                if let (Some(other), Some(_)) = (&other, &query_message) {
                    self.note_prompt(other, CommandPrompt::Command(id.clone()), true);
                }
                effects.messages.extend(query_message);
            }
            // The other command is also polled at its planned time.
            Err(error) => {
                warn!(command.id = id.as_str(), %error, "failed to read the ledger's index");
            }
        }
        effects
    }

    /// Makes the query that is due, if it is due, and returns the effects.
    pub(super) async fn run_due_query(
        &self,
        lane: &Lane,
        operation: &Operation,
        command: &mut CommandMessage,
        query: ProviderQuery,
        slot: CallPermit,
    ) -> Result<Effects, BrokerError> {
        let limits = command.attempt_limits(operation);
        let query = match query::decide_before_query(
            query,
            command.progress(),
            &limits,
            Timestamp::now(),
        ) {
            QueryAction::Now(query) => query,
            QueryAction::Park(rung) => {
                return Ok(self.messages.park_effects(&command.message, rung));
            }
            QueryAction::Instead(decision) => return self.follow(lane, command, *decision).await,
        };
        command.progress_mut().query = Some(query);
        let first_sent = command.progress().first_sent.unwrap_or_else(Timestamp::now);
        command.webhook_url = lane.webhook_urls(command, first_sent).swap_remove(0);
        let decision = match query.purpose {
            QueryPurpose::Poll => {
                let polled = self.poll(lane, command).await;
                if let PollOutcome::Still(Some(failure)) = &polled {
                    self.publish_mismatch(&command.message, failure).await?;
                }
                query::decide_after_poll(
                    polled,
                    query,
                    command.progress(),
                    &limits,
                    Timestamp::now(),
                )
            }
            QueryPurpose::Lookup => {
                let now = Timestamp::now();
                let progress = command.progress_mut();
                if !progress.unknown {
                    // The command was accepted and is overdue.
                    progress.mark_unknown(now);
                }
                let looked_up = self.look_up(lane, command).await;
                if let LookupOutcome::Unclear(failure) = &looked_up {
                    self.publish_mismatch(&command.message, failure).await?;
                }
                let random = rand::rng().random();
                query::decide_after_lookup(
                    looked_up,
                    query,
                    command.progress_mut(),
                    &limits,
                    Timestamp::now(),
                    random,
                )
            }
        };
        drop(slot);
        self.follow(lane, command, decision).await
    }

    async fn poll(&self, lane: &Lane, command: &CommandMessage) -> PollOutcome {
        let adapter = &lane.account.adapter;
        let request = match adapter.build_query(&call_of(command), QueryPurpose::Poll) {
            Ok(request) => request,
            Err(failure) => {
                return PollOutcome::Still(Some(failure.masked(&mask_of(lane, command))));
            }
        };
        let (answer, mask) = self.send_query(lane, command, request).await;
        let read = || adapter.interpret_poll(&call_of(command), &answer).masked(&mask);
        std::panic::catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| PollOutcome::Still(Some(panicked())))
    }

    async fn look_up(&self, lane: &Lane, command: &CommandMessage) -> LookupOutcome {
        let adapter = &lane.account.adapter;
        let request = match adapter.build_query(&call_of(command), QueryPurpose::Lookup) {
            Ok(request) => request,
            Err(failure) => return LookupOutcome::Unclear(failure.masked(&mask_of(lane, command))),
        };
        let (answer, mask) = self.send_query(lane, command, request).await;
        let read = || adapter.interpret_lookup(&call_of(command), &answer).masked(&mask);
        std::panic::catch_unwind(AssertUnwindSafe(read))
            .unwrap_or_else(|_| LookupOutcome::Unclear(panicked()))
    }

    /// Records an event about a command that is not one of ferryd's own timers, for people who ask
    /// why its provider was queried.
    pub(super) fn note_prompt(&self, id: &CommandId, prompt: CommandPrompt, asks: bool) {
        let body = RecordBody::Prompted(PromptRecord { prompt, starts_query: asks });
        self.ledger_gate.ledger.append_unawaited(Record {
            at: Timestamp::now(),
            command: id.clone(),
            fact: body,
        });
    }

    /// Sends a query. Returns the answer, and the mask for it.
    async fn send_query(
        &self,
        lane: &Lane,
        command: &CommandMessage,
        request: HttpRequest,
    ) -> (CallResult, Mask) {
        let request = OutboundRequest::Http(request);
        // A query only reads.
        let sent = lane.send(&request, |_| true).await;
        let mask = mask_of_call(lane, command, &sent);
        for made in sent.calls() {
            self.log_call(lane, command, made, &mask).await;
        }
        (sent.into_answer(), mask)
    }
}

fn panicked() -> Failure {
    Failure::new("panic", "interpreting the answer failed in ferryd itself; see its log")
}
