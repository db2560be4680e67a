//! Why a message was not confirmed.

use std::time::Duration;

use lapin::protocol::AMQPErrorKind;
use lapin::{Error, ErrorKind};

/// Why one publish came to nothing. The message may be in the broker's hands all the same: only a confirm says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// The broker answered with a nack: a queue that is full.
    #[error("the broker answered with a nack (is the queue full?)")]
    Nacked,
    /// The broker did not answer.
    #[error("no confirm within {} s (has the queue no leader?)", after.as_secs())]
    Unconfirmed {
        /// For how long.
        after: Duration,
    },
    /// The broker closed the channel, or opened none. Everything that was unconfirmed on it fails like this.
    #[error("the channel was closed: {}", cause.reason)]
    ChannelClosed {
        /// What it said.
        cause: CloseCause,
    },
    /// The session is over. Everything that was unconfirmed on it fails like this.
    #[error("the session ended: {}", cause.reason)]
    SessionLost {
        /// Why.
        cause: CloseCause,
    },
}

/// Why a channel or a connection was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseCause {
    /// The reply code of AMQP 0-9-1, such as 406 or 501, where the broker gave one.
    pub code: Option<u16>,
    /// In words.
    pub reason: String,
}

impl CloseCause {
    /// A cause that ferryd found by itself.
    #[must_use]
    pub fn found(reason: &str) -> Self {
        Self { code: None, reason: reason.to_owned() }
    }
}

impl From<&Error> for CloseCause {
    fn from(error: &Error) -> Self {
        let code = match error.kind() {
            ErrorKind::ProtocolError(error) => Some(error.get_id()),
            _ => None,
        };
        Self { code, reason: error.to_string() }
    }
}

/// The end of a channel alone, or of its connection?
pub(super) fn is_of_a_channel(error: &Error) -> bool {
    match error.kind() {
        // A "soft error" of AMQP 0-9-1.
        ErrorKind::ProtocolError(error) => matches!(error.kind(), AMQPErrorKind::Soft(_)),
        ErrorKind::InvalidChannelState(..) | ErrorKind::ChannelsLimitReached => true,
        _ => false,
    }
}

impl From<Error> for PublishFailure {
    fn from(error: Error) -> Self {
        let cause = CloseCause::from(&error);
        if is_of_a_channel(&error) { Self::ChannelClosed { cause } } else { Self::SessionLost { cause } }
    }
}
