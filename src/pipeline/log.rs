//! Writes lines about a command to the log, and its calls to their stream. No decision is made
//! here.

use tracing::{debug, error, info, warn};

use super::Pipeline;
use super::lane::{Lane, Lanes};
use super::parcel::{Order, Parcel};
use super::send::{Exchanged, Sent};
use ferryd_broker::callback::Callback;
use ferryd_domain::callback_token::{PARAMETER, token_in};
use ferryd_domain::inquiry::{Accepted, Inquiry, Purpose};
use ferryd_domain::lifecycle::{Decision, Kind, State};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::token::bearer_token;
use ferryd_redact::Mask;
use ferryd_transport::exchange_log::{self, Exchange, StepLabel};

impl Pipeline {
    /// Writes a call to the log and to the stream of calls. The call is masked once, and only where
    /// one of the two takes it.
    pub(super) async fn log_exchange(&self, lane: &Lane, order: &Order, exchanged: &Exchanged<'_>, mask: &Mask) {
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
            let mask = mask.clone().capped_at(self.log_body_cap);
            let exchange = Exchange::new(&step, request, answer, *elapsed, &mask, lane.provider.log.bodies);
            if exchange_log::is_heard() {
                exchange.log(&mask);
            }
            self.exchanges.write(&exchange)
        };
        writing.await;
    }
}

/// Makes the mask for a command: it hides the secrets of its account, the tokens that prove its
/// webhook calls, and the sensitive values of its payload.
pub(super) fn mask_of(lane: &Lane, order: &Order) -> Mask {
    let Order { command, callback_url, .. } = order;
    let callback_token = callback_url.as_deref().and_then(token_in);
    let tokens: Vec<&str> = order.progress().token.as_deref().into_iter().chain(callback_token).collect();
    let mask = lane.mask().with_tokens(&tokens);
    let operation = lane.provider.operations.get(&command.operation);
    match operation.map(|operation| operation.payload.sensitive_values(&command.payload)) {
        Some(values) if !values.is_empty() => mask.with_values(&values),
        _ => mask,
    }
}

/// Makes the mask for a call, which also hides the access tokens of that call: others may have been
/// granted since.
pub(super) fn mask_of_call(lane: &Lane, order: &Order, sent: &Sent<'_>) -> Mask {
    let mask = mask_of(lane, order);
    if lane.tokens().is_none() {
        return mask;
    }
    let tokens = sent.exchanges().filter_map(|exchanged| bearer_token(&exchanged.request.headers));
    mask.with_tokens(&tokens.collect::<Vec<_>>())
}

/// Makes the mask for a webhook call: it hides the secrets and access tokens of its account, and the token in its URL.
pub(super) fn mask_of_notices(lanes: &Lanes, Callback { account, call, .. }: &Callback) -> Mask {
    let mask = lanes.of(account).map_or_else(|| lanes.mask(), Lane::mask);
    mask.with_tokens(call.query(PARAMETER).as_deref().as_slice())
}

/// Logs the decision about a command, where it is more than another try.
pub(super) fn log_decision(parcel: &Parcel, decision: &Decision) {
    let command = parcel.identity.id.as_str();
    let provider = parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = parcel.travel.progress.attempt;
    match decision {
        Decision::Complete(_) => {
            let state = State::Completed.as_str();
            info!(command.id = command, provider, attempt, state, "command ended");
        }
        Decision::GiveUp(kind, failure) => log_failure(parcel, *kind, failure),
        Decision::Wait(accepted) => {
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
        Decision::Inquire(Inquiry { purpose: Purpose::Lookup, due, tried: 0, .. }, failure) => {
            let reason = failure.as_ref().map_or("", |failure| &failure.message);
            let due = due.to_string();
            warn!(command.id = command, provider, attempt, due, reason, "a call may have acted; asking the provider");
        }
        Decision::Inquire(Inquiry { purpose, number, due, .. }, failure) => {
            let reason = failure.as_ref().map_or("", |failure| &failure.message);
            let (purpose, due) = (purpose.as_str(), due.to_string());
            debug!(command.id = command, provider, attempt, purpose, number, due, reason, "asking the provider again");
        }
        Decision::Retry { .. } => {}
    }
}

/// Logs that a command failed.
fn log_failure(parcel: &Parcel, kind: Kind, failure: &Failure) {
    let command = parcel.identity.id.as_str();
    let provider = parcel.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = parcel.travel.progress.attempt;
    let operation = parcel.identity.operation.as_ref().map(Name::as_str);
    let Failure { code, message: reason, http_status, .. } = failure;
    let (is_urgent, kind) = (matches!(kind, Kind::Poison | Kind::Unresolved), kind.as_str());
    let status = *http_status;
    if is_urgent {
        error!(
            command.id = command,
            provider,
            operation,
            attempt,
            kind,
            code,
            http.response.status_code = status,
            reason,
            "command failed"
        );
    } else {
        warn!(
            command.id = command,
            provider,
            operation,
            attempt,
            kind,
            code,
            http.response.status_code = status,
            reason,
            "command failed"
        );
    }
}
