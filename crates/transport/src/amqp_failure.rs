//! Classifies errors of the link to a provider's broker by one question: may the broker have taken
//! the message?
//!
//! A channel carries one message at a time. So an error that closes the channel concerns this
//! message, and a broker that closes a channel over a message has not taken it. All other errors
//! after the message was handed to the client leave it in doubt.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use lapin::message::BasicReturnMessage;
use lapin::{Error, ErrorKind};

use super::tls_error::describe_cause;

use ferryd_domain::message_call::MessageResult;
use ferryd_domain::outcome::Failure;

/// The name under which lapin refuses to publish on a closed channel, before it takes the message.
const PUBLISH: &str = "basic.publish";

/// The code of a failure that says that the broker refuses the login.
pub const LOGIN_REFUSED: &str = "login_refused";

/// Reply codes of AMQP 0-9-1.
const INVALID_PATH: u16 = 402;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// Classifies an error of connecting.
pub(super) fn connect_failure(address: &str, error: &Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::ProtocolError(error) => match error.get_id() {
            ACCESS_REFUSED => LOGIN_REFUSED,
            NOT_ALLOWED | INVALID_PATH => "vhost_refused",
            _ => "connect_failed",
        },
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::TimedOut => "connect_timeout",
        ErrorKind::IOError(error) if is_of_tls(error) => "tls",
        _ => "connect_failed",
    };
    Failure::new(code, format!("no connection to {address}: {}", describe(error)))
}

/// The broker did not answer while connecting.
pub(super) fn connect_timeout(address: &str, within: Duration) -> Failure {
    let within = humantime::format_duration(within);
    Failure::new("connect_timeout", format!("no connection to {address} within {within}"))
}

/// The broker opened no channel.
pub(super) fn channel_failure(error: &Error) -> Failure {
    Failure::new("channel_refused", format!("the broker opened no channel: {}", describe(error)))
}

/// The broker did not answer to the opening of a channel.
pub(super) fn channel_timeout(within: Duration) -> Failure {
    let within = humantime::format_duration(within);
    Failure::new("timeout", format!("the broker opened no channel within {within}"))
}

/// The time of the call ended before the message was handed to the client.
pub(super) fn timed_out_before_publish(timeout: Duration) -> MessageResult {
    let timeout = humantime::format_duration(timeout);
    MessageResult::NotSent(Failure::new(
        "timeout",
        format!("no channel of the broker was free within {timeout}, and nothing was sent"),
    ))
}

/// The broker has too little memory or disk space to take messages.
pub(super) fn blocked() -> Failure {
    Failure::new("blocked", "the broker blocks publishers: it is short of memory or disk space")
}

/// No confirm came in time.
pub(super) fn unconfirmed(timeout: Duration) -> MessageResult {
    let timeout = humantime::format_duration(timeout);
    MessageResult::Incomplete(Failure::new(
        "timeout",
        format!("no confirm of the broker within {timeout}"),
    ))
}

/// The broker refused responsibility for the message; one of several queues may hold it.
pub(super) fn nacked() -> MessageResult {
    MessageResult::Incomplete(Failure::new(
        "nack",
        "the broker answered with a nack: is a queue full?",
    ))
}

/// The broker has confirmed nothing, although it was asked to.
pub(super) fn without_confirms() -> MessageResult {
    MessageResult::Incomplete(Failure::new("protocol", "the channel has no publisher confirms"))
}

/// No queue is bound for the message.
pub(super) fn unroutable(returned: &BasicReturnMessage) -> MessageResult {
    let (exchange, key) = (returned.exchange.as_str(), returned.routing_key.as_str());
    let missing = if exchange.is_empty() {
        format!("the broker has no queue `{key}`")
    } else {
        format!("exchange `{exchange}` has no queue for the routing key `{key}`")
    };
    MessageResult::NotSent(Failure::new("unroutable", missing))
}

/// Classifies an error of publishing. `is_connected` says that the connection outlived the error.
pub(super) fn publish_failure(error: &Error, is_connected: bool) -> MessageResult {
    let failure = |code| Failure::new(code, describe(error));
    match error.kind() {
        ErrorKind::InvalidChannelState(_, PUBLISH) => {
            MessageResult::NotSent(failure("connection_lost"))
        }
        // The same codes, where they close the connection, need not concern this message.
        ErrorKind::ProtocolError(cause) if is_connected => match cause.get_id() {
            NOT_FOUND => MessageResult::NotSent(failure("no_exchange")),
            ACCESS_REFUSED => MessageResult::NotSent(failure("access_refused")),
            PRECONDITION_FAILED => MessageResult::NotSent(failure("refused")),
            _ => MessageResult::Incomplete(failure("channel_closed")),
        },
        _ => MessageResult::Incomplete(failure("connection_lost")),
    }
}

/// Classifies an error of consuming a queue, or the end of it where there is no error.
pub(super) fn consume_failure(queue: &str, error: Option<&Error>) -> Failure {
    let Some(error) = error else {
        let ended = "the broker ended the consumer: was the queue deleted?";
        return Failure::new("consumer_cancelled", format!("queue `{queue}`: {ended}"));
    };
    let code = match error.kind() {
        ErrorKind::ProtocolError(cause) => match cause.get_id() {
            NOT_FOUND => "no_queue",
            ACCESS_REFUSED => "access_refused",
            _ => "channel_closed",
        },
        _ => "connection_lost",
    };
    Failure::new(code, format!("queue `{queue}`: {}", describe(error)))
}

fn is_of_tls(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<rustls::Error>())
}

/// Describes an error by the broker's text, or by its innermost cause.
fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => describe_cause(&**error),
        _ => error.source().map_or_else(|| error.to_string(), describe_cause),
    }
}

#[cfg(test)]
#[path = "amqp_failure_tests.rs"]
mod tests;
