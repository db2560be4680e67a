//! Asking the provider what came of a call, when that is due.
//!
//! A question only reads. It needs no start in the ledger, and one that is asked twice does no harm; what it leads to is put
//! down and told like the outcome of a call, so copies of its message come to one continuation.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use jiff::Timestamp;
use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Pipeline;
use super::attempt::call_of;
use super::lane::{CallSlot, Lane};
use super::log::{mask_of, mask_of_call};
use super::outbox::Effects;
use super::parcel::{Order, Parcel};
use crate::amqp::error::BrokerError;
use crate::amqp::message::Message;
use crate::domain::command::Command;
use crate::domain::command_id::CommandId;
use crate::domain::exchange::{Answer, Request};
use crate::domain::inquiry::{self, Asking, Inquiry, Purpose};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::{Fact, Prompt, Prompted, Record};
use crate::domain::lifecycle::State;
use crate::domain::outcome::{Failure, LookedUp, Polled};
use crate::domain::progress::Progress;
use crate::provider::Operation;
use crate::redact::Mask;

/// What came of a wish to have a provider asked about a command that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookupWish {
    /// The provider is asked now.
    Asked,
    /// The command is not known.
    NotKnown,
    /// It has ended, or is not sent yet, or is being called: there is nothing to ask.
    NotWaiting,
    /// Its operation had no `lookup` when it began to wait.
    NoLookup,
}

impl LookupWish {
    /// The reason why a provider is not asked, where it is not.
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
    /// Has a provider asked now about a command that waits for it, or for a lookup of its own time.
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

    /// A copy of the message of a command that waits, which asks its provider within a second: for a purpose, or what is planned.
    /// Whichever of the two asks first goes on, and the other finds that its question has been asked.
    pub(super) fn asked_now(&self, case: &Case, purpose: Option<Purpose>) -> Option<Message> {
        let (kept, asking) = case.kept.as_deref().zip(case.asking.as_ref())?;
        let provider = case.opening.as_ref()?.identity.provider.as_ref()?;
        Some(self.outbox.asked_now(kept, asking, provider, (purpose, Timestamp::now())))
    }

    /// The question of a message that asks early and finds another one decided meanwhile, which may have been asked before
    /// there was this reason to ask: the next one, where the command still waits.
    pub(super) fn asked_anew(&self, parcel: &Parcel) -> Option<Message> {
        let Progress { inquiry, generation, .. } = &parcel.travel.progress;
        let inquiry = inquiry.filter(|inquiry| inquiry.planned.is_some() && inquiry.tried == 0)?;
        let case = self.memory.case(&parcel.identity.id)?;
        let waits = case.ending.is_none() && case.step.generation == *generation;
        waits.then(|| self.asked_now(&case, Some(inquiry.purpose)))?
    }

    /// Adds to what follows from a command the question about the other one that it has changed at their provider, if
    /// it has completed: the other's poll may be hours away.
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
            // It is asked about in its own time as well.
            Err(error) => warn!(command.id = id.as_str(), %error, "failed to read the ledger's index"),
        }
        effects
    }

    /// Asks what is due, if it is, and says what follows.
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
                    // What was accepted and is overdue, or what a version before this one sent on.
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

    /// Notes what concerns a command besides ferryd's own timers, for people who ask why its provider was asked.
    pub(super) fn note_prompt(&self, id: &CommandId, prompt: Prompt, asks: bool) {
        let fact = Fact::Prompted(Prompted { prompt, asks });
        self.memory.ledger.note(Record { at: Timestamp::now(), command: id.clone(), fact });
    }

    /// Asks a question; returns the answer, and the mask for it.
    async fn ask(&self, lane: &Lane, order: &Order, request: &Request) -> (Answer, Mask) {
        // A question only reads.
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
