//! Classifies errors of the link to a provider's NATS server by one question: may the server have
//! stored the message?

use std::error::Error;
use std::io;
use std::iter;
use std::time::Duration;

use async_nats::client::{RequestError, RequestErrorKind};
use async_nats::{ConnectError, ConnectErrorKind};

use super::amqp_failure::LOGIN_REFUSED;
use super::tls_error::describe_cause;

use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outcome::Failure;

/// Classifies an error of connecting.
pub(super) fn connect_failure(server: &str, error: &ConnectError) -> Failure {
    let code = match error.kind() {
        ConnectErrorKind::AuthorizationViolation => LOGIN_REFUSED,
        ConnectErrorKind::TimedOut => "connect_timeout",
        ConnectErrorKind::Tls => "tls",
        _ if causes(error).any(is_of_tls) => "tls",
        _ => "connect_failed",
    };
    Failure::new(code, format!("no connection to {server}: {}", describe(error)))
}

/// The server did not answer while connecting.
pub(super) fn connect_timeout(server: &str, within: Duration) -> Failure {
    let within = humantime::format_duration(within);
    Failure::new("connect_timeout", format!("no connection to {server} within {within}"))
}

/// The time of the call ended before the message was handed to the client.
pub(super) fn timed_out_before_publish(timeout: Duration) -> MessageResult {
    let timeout = humantime::format_duration(timeout);
    MessageResult::NotSent(Failure::new(
        "timeout",
        format!("there was no connection to the server within {timeout}, and nothing was sent"),
    ))
}

/// The server is too old to carry the message's id.
pub(super) fn without_headers() -> MessageResult {
    MessageResult::NotSent(Failure::new(
        "no_headers",
        "the server carries no headers, and so no message id: it needs NATS 2.2 or later",
    ))
}

/// No acknowledgement came in time. `said` is the latest error of the server.
pub(super) fn unacknowledged(timeout: Duration, said: Option<&str>) -> MessageResult {
    let timeout = humantime::format_duration(timeout);
    let said = said.map(|said| format!("; the server said: {said}")).unwrap_or_default();
    MessageResult::Incomplete(Failure::new(
        "timeout",
        format!("no acknowledgement of a stream within {timeout}{said}"),
    ))
}

/// Classifies an error of publishing.
pub(super) fn publish_failure(subject: &str, error: &RequestError) -> MessageResult {
    match error.kind() {
        RequestErrorKind::NoResponders => MessageResult::NotSent(Failure::new(
            "no_stream",
            format!("no stream listens on the subject `{subject}`"),
        )),
        // The client checks both before it takes the message.
        RequestErrorKind::MaxPayloadExceeded => {
            MessageResult::NotSent(Failure::new("too_large", describe(error)))
        }
        RequestErrorKind::InvalidSubject => {
            MessageResult::NotSent(Failure::new("invalid_message", describe(error)))
        }
        RequestErrorKind::TimedOut | RequestErrorKind::Other => MessageResult::Incomplete(
            Failure::new("connection_lost", "the connection was lost before an acknowledgement"),
        ),
    }
}

fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || matches!(inner, Some(inner) if inner.is::<rustls::Error>())
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// Describes an error by its innermost cause.
fn describe(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), describe_cause)
}
