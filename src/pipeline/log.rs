//! What the log and the stream of exchanges are told about a command. Nothing is decided here.

use tracing::{debug, error, info, warn};

use super::Pipeline;
use super::conclude::Verdict;
use super::lane::Lane;
use super::parcel::{Order, Parcel};
use super::send::Exchanged;
use crate::domain::event::Happening;
use crate::domain::inquiry::{Accepted, Inquiry, Purpose};
use crate::domain::lifecycle::Kind;
use crate::transport::exchange_log::{self, Exchange, StepLabel};
use crate::transport::mask::Mask;

impl Pipeline {
    /// Writes an exchange to the log and to its stream; masked once, and only where somebody wants it.
    pub(super) async fn log_exchange(&self, lane: &Lane, order: &Order, exchanged: &Exchanged<'_>) {
        let heard = exchange_log::is_heard();
        if !heard && self.exchanges.is_none() {
            return;
        }
        let Order { command, parcel, .. } = order;
        let Exchanged { request, answer, at, elapsed } = exchanged;
        let step = StepLabel {
            at: *at,
            command: &command.id,
            provider: &lane.provider.name,
            operation: &command.operation,
            generation: parcel.travel.progress.generation,
            attempt: parcel.travel.progress.attempt,
        };
        let writing = {
            let mask = mask_of(lane, order).capped_at(self.log_body_cap);
            let exchange = Exchange::new(&step, request, answer, *elapsed, &mask, lane.provider.log.bodies);
            if heard {
                exchange.log(&mask);
            }
            self.exchanges.as_ref().map(|exchanges| exchanges.write(&exchange))
        };
        if let Some(writing) = writing {
            writing.await;
        }
    }
}

/// What must not be read in the log about a command.
pub(super) fn mask_of(lane: &Lane, order: &Order) -> Mask {
    let Order { command, .. } = order;
    let operation = lane.provider.operations.get(&command.operation);
    let sensitive = operation.map(|operation| operation.payload.sensitive_values(&command.payload));
    let mut hidden = sensitive.unwrap_or_default();
    hidden.extend(order.progress().token.clone().filter(|token| !token.is_empty()));
    lane.mask().with_values(&hidden)
}

/// Tells the log what was decided about a command, where it does not merely try again.
pub(super) fn log_verdict(parcel: &Parcel, verdict: &Verdict, mask: impl FnOnce() -> Mask) {
    let command = parcel.identity.id.as_str();
    let provider = parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = parcel.travel.progress.attempt;
    match verdict {
        Verdict::End(happening) => log_ending(parcel, happening, mask),
        Verdict::Wait(accepted) => {
            let Accepted { deadline, inquiry, first, .. } = accepted.as_ref();
            let (deadline, next) = (deadline.to_string(), inquiry.due.to_string());
            if *first {
                info!(command.id = command, provider, attempt, deadline, next, "the provider accepted the command");
            } else {
                debug!(
                    command.id = command,
                    provider, attempt, deadline, next, "the provider still works on the command"
                );
            }
        }
        Verdict::Inquire(Inquiry { purpose: Purpose::Lookup, due, tried: 0, .. }, failure) => {
            let reason = failure.as_ref().map(|failure| mask().text(&failure.message)).unwrap_or_default();
            let due = due.to_string();
            warn!(command.id = command, provider, attempt, due, reason, "a call may have acted; asking the provider");
        }
        Verdict::Inquire(Inquiry { purpose, number, due, .. }, failure) => {
            let reason = failure.as_ref().map(|failure| mask().text(&failure.message)).unwrap_or_default();
            let (purpose, due) = (purpose.as_str(), due.to_string());
            debug!(command.id = command, provider, attempt, purpose, number, due, reason, "asking the provider again");
        }
        Verdict::Retry { .. } => {}
    }
}

/// Tells the log how a command ended. A provider may quote in its messages what it was sent, so they are masked.
pub(super) fn log_ending(parcel: &Parcel, happening: &Happening, mask: impl FnOnce() -> Mask) {
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
