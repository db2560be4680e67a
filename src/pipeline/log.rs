//! Writes lines about a command to the log, and its calls to their stream. No decision is made
//! here.

use tracing::{Level, debug, error, info, warn};

use super::Pipeline;
use super::command_message::CommandMessage;
use super::incoming_message::IncomingMessage;
use super::lane::{Lane, ProviderLanes};
use super::send::{CallAttempt, CallExchange, SentCalls};
use crate::telemetry;
use ferryd_broker::webhook_message::WebhookMessage;
use ferryd_domain::lifecycle::{Decision, FailureKind, LifecycleState};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::query::{AcceptedCommand, ProviderQuery, QueryPurpose};
use ferryd_domain::token::bearer_token;
use ferryd_domain::webhook_token::{PARAMETER, token_in};
use ferryd_redact::Mask;
use ferryd_transport::call_log::{self, HttpCall, StepLabel};
use ferryd_transport::encoded_call::EncodedCall;

impl Pipeline {
    /// Writes a call to the log and to the stream of calls. The call is masked once, and encoded
    /// once for both.
    pub(super) async fn log_call(
        &self,
        lane: &Lane,
        command_message: &CommandMessage,
        made: &CallAttempt<'_>,
        mask: &Mask,
    ) {
        let CommandMessage { command, message, .. } = command_message;
        let CallAttempt { exchange, at, elapsed } = made;
        let step = StepLabel {
            at: *at,
            command: &command.id,
            provider: &lane.provider.name,
            operation: &command.operation,
            generation: message.state.progress.generation,
            attempt: message.state.progress.attempt,
        };
        let writing = {
            let mask = mask.clone().capped_at(self.max_logged_body_size);
            let bodies = lane.provider.log.bodies;
            let shown;
            let call = match exchange {
                CallExchange::Http(request, answer) => {
                    HttpCall::new(&step, request, answer, *elapsed, &mask, bodies)
                }
                CallExchange::Message(message, result) => {
                    shown = message.shown_headers();
                    HttpCall::of_message(&step, (message, &shown), result, *elapsed, &mask, bodies)
                }
            };
            let encoded = EncodedCall::new(&call);
            if call_log::is_heard() {
                let fields = |line: &mut String| {
                    encoded.push_log_fields(line, self.max_logged_body_size);
                };
                if !telemetry::write_json(call_log::TARGET, Level::INFO, fields) {
                    call.log(&mask);
                }
            }
            self.call_log.write(encoded.line(), &command.id, *at)
        };
        writing.await;
    }
}

/// Makes the mask for a command: it hides the secrets of its account, the tokens that prove its
/// webhooks, and the sensitive values of its payload.
pub(super) fn mask_of(lane: &Lane, command_message: &CommandMessage) -> Mask {
    let CommandMessage { command, webhook_url, .. } = command_message;
    let webhook_token = webhook_url.as_deref().and_then(token_in);
    let tokens: Vec<&str> =
        [command_message.progress().token.as_str()].into_iter().chain(webhook_token).collect();
    let mask = lane.mask().with_tokens(&tokens);
    let operation = lane.provider.operations.get(&command.operation);
    match operation.map(|operation| operation.payload.sensitive_values(&command.payload)) {
        Some(values) if !values.is_empty() => mask.with_values(&values),
        _ => mask,
    }
}

/// Makes the mask for a call, which also hides the access tokens of that call: others may have been
/// granted since.
pub(super) fn mask_of_call(lane: &Lane, command: &CommandMessage, sent: &SentCalls<'_>) -> Mask {
    let mask = mask_of(lane, command);
    if lane.tokens().is_none() {
        return mask;
    }
    let tokens = sent.calls().filter_map(|made| match &made.exchange {
        CallExchange::Http(request, _) => bearer_token(&request.headers),
        CallExchange::Message(..) => None,
    });
    mask.with_tokens(&tokens.collect::<Vec<_>>())
}

/// Makes the mask for a webhook: it hides the secrets and access tokens of its account, and the
/// token in its URL.
pub(super) fn mask_of_notices(
    lanes: &ProviderLanes,
    WebhookMessage { account, call, .. }: &WebhookMessage,
) -> Mask {
    let mask = lanes.of(account).map_or_else(|| lanes.mask(), Lane::mask);
    mask.with_tokens(call.query(PARAMETER).as_deref().as_slice())
}

/// Logs the decision about a command, where it is more than another try.
pub(super) fn log_decision(message: &IncomingMessage, decision: &Decision) {
    let command = message.identity.id.as_str();
    let provider = message.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = message.state.progress.attempt;
    match decision {
        Decision::Complete(_) => {
            let state = LifecycleState::Completed.as_str();
            info!(command.id = command, provider, attempt, state, "command ended");
        }
        Decision::GiveUp(kind, failure) => log_failure(message, *kind, failure),
        Decision::Wait(accepted) => {
            let AcceptedCommand { deadline, query, first, .. } = accepted.as_ref();
            let (deadline, next) = (deadline.to_string(), query.due.to_string());
            if *first {
                info!(
                    command.id = command,
                    provider, attempt, deadline, next, "the provider accepted the command"
                );
            } else {
                debug!(
                    command.id = command,
                    provider, attempt, deadline, next, "the provider still works on the command"
                );
            }
        }
        Decision::Query(
            ProviderQuery { purpose: QueryPurpose::Lookup, due, tried: 0, .. },
            failure,
        ) => {
            let reason = failure.as_ref().map_or("", |failure| &failure.message);
            let due = due.to_string();
            warn!(
                command.id = command,
                provider, attempt, due, reason, "a call may have acted; asking the provider"
            );
        }
        Decision::Query(ProviderQuery { purpose, number, due, .. }, failure) => {
            let reason = failure.as_ref().map_or("", |failure| &failure.message);
            let (purpose, due) = (purpose.as_str(), due.to_string());
            debug!(
                command.id = command,
                provider, attempt, purpose, number, due, reason, "asking the provider again"
            );
        }
        Decision::Retry { .. } => {}
    }
}

/// Logs that a command failed.
fn log_failure(incoming: &IncomingMessage, kind: FailureKind, failure: &Failure) {
    let command = incoming.identity.id.as_str();
    let provider = incoming.identity.provider.as_ref().map_or("unknown", |name| name.as_str());
    let attempt = incoming.state.progress.attempt;
    let operation = incoming.identity.operation.as_ref().map(Name::as_str);
    let Failure { code, message: reason, http_status, .. } = failure;
    let (is_urgent, kind) =
        (matches!(kind, FailureKind::Poison | FailureKind::Unresolved), kind.as_str());
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
