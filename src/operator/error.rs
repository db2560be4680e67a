//! Errors of an operator's work.

use std::time::Duration;

use lapin::ErrorKind;

use ferryd_broker::error::BrokerError;
use ferryd_ledger::index::IndexError;

/// The reply code for "there is no such exchange or queue" (AMQP 0-9-1, `not-found`).
const NOT_FOUND: u16 = 404;

/// Reason for which an operator's work was not done, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The broker could not be reached or used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The topology is not there.
    #[error(
        "there is no exchange `{exchange}` at {address}; start ferryd once or run `ferryd topology apply`, and check `prefix` and the virtual host"
    )]
    NoExchange {
        /// The exchange.
        exchange: String,
        /// The broker, without password.
        address: String,
    },
    /// No queue took the message, so it was dropped.
    #[error(
        "exchange `{exchange}` led key `{key}` to no queue; run `ferryd topology apply`, which gives it an alternate exchange"
    )]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The routing key.
        key: String,
    },
    /// The broker answered with a nack.
    #[error(
        "the broker refused a message for exchange `{exchange}` (a queue is full or has no quorum); try again later"
    )]
    Refused {
        /// The exchange.
        exchange: String,
    },
    /// The broker may or may not have taken the message.
    #[error(
        "no confirm for a message to exchange `{exchange}` within {} s (a memory or disk alarm?); it may have been taken all the same", after.as_secs()
    )]
    NoConfirm {
        /// The exchange.
        exchange: String,
        /// For how long.
        after: Duration,
    },
    /// The broker took the deliveries back, because the connection, the channel or the queue was
    /// lost.
    #[error(
        "lost hold of queue `{queue}`: what was not finished is in the queue again; start the command once more"
    )]
    HoldLost {
        /// The queue.
        queue: String,
    },
    /// There are messages, but they do not come.
    #[error("queue `{queue}` holds messages, but the broker delivers none within {} s", after.as_secs())]
    Stuck {
        /// The queue.
        queue: String,
        /// For how long.
        after: Duration,
    },
    /// Events can't be followed any more.
    #[error("lost the subscription to events; some may have been missed")]
    SubscriptionLost,
    /// The ledger's index on this host can't be used.
    #[error("ledger.dir: {0}")]
    Index(#[from] IndexError),
    /// The daemon that has the index does not get on.
    #[error(
        "{index}: the ferryd that keeps this index has not read the ledger up to now within {} s; it may still be catching up: see its log", after.as_secs()
    )]
    Behind {
        /// The index.
        index: String,
        /// For how long was waited.
        after: Duration,
    },
    /// There is no such stream.
    #[error(
        "there is no stream `{stream}` at {address}; start ferryd once, and check `prefix` and the virtual host"
    )]
    NoStream {
        /// The stream.
        stream: String,
        /// The broker, without password.
        address: String,
    },
    /// The stream does not come.
    #[error("stream `{stream}` can't be read: nothing came for {} s", after.as_secs())]
    Silent {
        /// The stream.
        stream: String,
        /// For how long.
        after: Duration,
    },
    /// The management API does not answer a request.
    #[error(transparent)]
    Management(#[from] super::management::ManagementError),
    /// A name that AMQP does not take.
    #[error("{0}")]
    Name(#[from] ferryd_broker::message::TextTooLong),
}

/// Returns true if an error of the broker says that an exchange or queue does not exist.
pub(super) fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == NOT_FOUND)
}
