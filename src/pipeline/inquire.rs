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
use super::lane::{CallSlot, Lane};
use super::log::{mask_of, mask_of_call};
use super::outbox::Effects;
use super::parcel::{Order, Parcel};
use ferryd_broker::error::BrokerError;
use ferryd_broker::message::Message;
use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::exchange::{Answer, Request};
use ferryd_domain::inquiry::{self, Asking, Inquiry, Purpose};
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::record::{Fact, Prompt, Prompted, Record};
use ferryd_domain::lifecycle::State;
use ferryd_domain::outcome::{Failure, LookedUp, Polled};
use ferryd_domain::progress::Progress;
use ferryd_provider::Operation;
use ferryd_redact::Mask;

/// The result of a request to query the provider about a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupWish {
    /// The provider is asked now.
    Asked,
    /// The command is not known.
    NotKnown,
    /// The command has ended, is not sent yet, or is being called: there is nothing to ask.
    NotWaiting,
    /// The command's operation had no `lookup` when the command began to wait.
    NoLookup,
}

impl LookupWish {
    /// Explains why the provider is not queried; `None` where it is.
    #[must_use]
    pub fn refusal(self) -> Option<&'static str> {
        match self {
            Self::Asked => None,
            Self::NotKnown => Some("it is not known; `ferryd commands` lists those that are"),
            Self::NotWaiting => Some("it is neither a dead letter nor waiting for its provider; see `ferryd status`"),
            Self::NoLookup => Some(
                "its operation had no `lookup` when it began to wait, or one by an id that the provider had not told; its \
                 poll, a webhook call or its deadline ends it",
            ),
        }
    }
}

impl Pipeline {
    /// Queries a provider now about a command that waits for it, or for its planned lookup.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn look_up_now(&self, id: &CommandId, by: &str) -> Result<LookupWish, BrokerError> {
        let Some(case) = self.memory.case(id).filter(|case| case.opening.is_some()) else {
            return Ok(LookupWish::NotKnown);
        };
        let Some(question) = self.asked_now(&case, Some(Purpose::Lookup)) else {
            let waits = case.state() == State::Waiting;
            return Ok(if waits { LookupWish::NoLookup } else { LookupWish::NotWaiting });
        };
        self.note_prompt(id, Prompt::Person(by.to_owned()), true);
        self.broker.publish(&question).await?;
        Ok(LookupWish::Asked)
    }

    /// Copies the message of a command that waits, to query its provider within a second: for
    /// `purpose`, or else as planned. Whichever of the two messages asks first goes on, and the
    /// other finds that its query has been made.
    pub(super) fn asked_now(&self, case: &Case, purpose: Option<Purpose>) -> Option<Message> {
        let (kept, asking) = case.kept.as_deref().zip(case.asking.as_ref())?;
        let provider = case.opening.as_ref()?.identity.provider.as_ref()?;
        Some(self.outbox.asked_now(kept, asking, provider, (purpose, Timestamp::now())))
    }

    /// Copies a message that queries early once more, for its next query, where another query was
    /// decided meanwhile. That one may have been made before there was a reason to ask. `None`
    /// where the command no longer waits.
    pub(super) fn asked_anew(&self, parcel: &Parcel) -> Option<Message> {
        let Progress { inquiry, generation, .. } = &parcel.travel.progress;
        let inquiry = inquiry.filter(|inquiry| inquiry.planned.is_some() && inquiry.tried == 0)?;
        let case = self.memory.case(&parcel.identity.id)?;
        let waits = case.ending.is_none() && case.step.generation == *generation;
        waits.then(|| self.asked_now(&case, Some(inquiry.purpose)))?
    }

    /// Adds to the effects of a completed command a query about the other command that it has
    /// changed at their provider, whose next poll may be hours away.
    pub(super) async fn with_affected(&self, lane: &Lane, order: &Order, mut effects: Effects) -> Effects {
        if effects.settles.is_none() {
            return effects;
        }
        let ledger = &self.memory.ledger;
        let Some(reference) = lane.account.adapter.affected(&call_of(order)) else { return effects };
        let Command { id, account, .. } = &order.command;
        let ended = |case: Arc<Case>| case.state() == State::Completed;
        if !ledger.case(id).is_some_and(ended) {
            return effects;
        }
        match ledger.called(&lane.provider.name, account, &reference, |case| case.state() == State::Waiting).await {
            Ok(other) => {
                let case = other.as_ref().and_then(|other| ledger.case(other));
                let question = case.and_then(|case| self.asked_now(&case, None));
                if let (Some(other), Some(_)) = (&other, &question) {
                    self.note_prompt(other, Prompt::Command(id.clone()), true);
                }
                effects.messages.extend(question);
            }
            // The other command is also polled at its planned time.
            Err(error) => warn!(command.id = id.as_str(), %error, "failed to read the ledger's index"),
        }
        effects
    }

    /// Makes the query that is due, if it is due, and returns the effects.
    pub(super) async fn inquire(
        &self,
        lane: &Lane,
        operation: &Operation,
        order: &mut Order,
        inquiry: Inquiry,
        slot: CallSlot,
    ) -> Result<Effects, BrokerError> {
        let limits = order.limits(operation);
        let inquiry = match inquiry::before_inquiry(inquiry, order.progress(), &limits, Timestamp::now()) {
            Asking::Now(inquiry) => inquiry,
            Asking::Park(rung) => return Ok(self.outbox.park(&order.parcel, rung)),
            Asking::Instead(decision) => return self.follow(lane, order, *decision).await,
        };
        order.progress_mut().inquiry = Some(inquiry);
        let first_sent = order.progress().first_sent.unwrap_or_else(Timestamp::now);
        order.callback_url = lane.callback_urls(order, first_sent).swap_remove(0);
        let decision = match inquiry.purpose {
            Purpose::Poll => {
                let polled = self.poll(lane, order).await;
                if let Polled::Still(Some(failure)) = &polled {
                    self.tell_mismatch(&order.parcel, failure).await?;
                }
                inquiry::after_poll(polled, inquiry, order.progress(), &limits, Timestamp::now())
            }
            Purpose::Lookup => {
                let now = Timestamp::now();
                let progress = order.progress_mut();
                if !progress.unknown {
                    // The command was accepted and is overdue, or an earlier version sent it on.
                    progress.suspect(now);
                }
                let looked_up = self.look_up(lane, order).await;
                if let LookedUp::Unclear(failure) = &looked_up {
                    self.tell_mismatch(&order.parcel, failure).await?;
                }
                let random = rand::rng().random();
                inquiry::after_lookup(looked_up, inquiry, order.progress_mut(), &limits, Timestamp::now(), random)
            }
        };
        drop(slot);
        self.follow(lane, order, decision).await
    }

    async fn poll(&self, lane: &Lane, order: &Order) -> Polled {
        let adapter = &lane.account.adapter;
        let request = match adapter.inquire(&call_of(order), Purpose::Poll) {
            Ok(request) => request,
            Err(failure) => return Polled::Still(Some(failure.masked(&mask_of(lane, order)))),
        };
        let (answer, mask) = self.ask(lane, order, &request).await;
        let read = || adapter.polled(&call_of(order), &answer).masked(&mask);
        std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Polled::Still(Some(panicked())))
    }

    async fn look_up(&self, lane: &Lane, order: &Order) -> LookedUp {
        let adapter = &lane.account.adapter;
        let request = match adapter.inquire(&call_of(order), Purpose::Lookup) {
            Ok(request) => request,
            Err(failure) => return LookedUp::Unclear(failure.masked(&mask_of(lane, order))),
        };
        let (answer, mask) = self.ask(lane, order, &request).await;
        let read = || adapter.looked_up(&call_of(order), &answer).masked(&mask);
        std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| LookedUp::Unclear(panicked()))
    }

    /// Records an event about a command that is not one of ferryd's own timers, for people who ask
    /// why its provider was queried.
    pub(super) fn note_prompt(&self, id: &CommandId, prompt: Prompt, asks: bool) {
        let fact = Fact::Prompted(Prompted { prompt, asks });
        self.memory.ledger.note(Record { at: Timestamp::now(), command: id.clone(), fact });
    }

    /// Sends a query. Returns the answer, and the mask for it.
    async fn ask(&self, lane: &Lane, order: &Order, request: &Request) -> (Answer, Mask) {
        // A query only reads.
        let sent = lane.send(request, |_| true).await;
        let mask = mask_of_call(lane, order, &sent);
        for exchanged in sent.exchanges() {
            self.log_exchange(lane, order, exchanged, &mask).await;
        }
        (sent.into_answer(), mask)
    }
}

fn panicked() -> Failure {
    Failure::new("panic", "interpreting the answer failed in ferryd itself; see its log")
}
