//! The causes for which a message was not confirmed.

use std::time::Duration;

use lapin::protocol::AMQPErrorKind;
use lapin::{Error, ErrorKind};

/// The reply code for a frame that can't be read or is too large.
const FRAME_ERROR: u16 = 501;

/// The failure of one publish. The message may be in the broker's hands all the same: only a
/// confirm is certain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// The broker answered with a nack: a queue that is full.
    #[error("the broker answered with a nack (is the queue full?)")]
    Nacked,
    /// The broker did not answer.
    #[error("no confirm within {} s (has the queue no leader?)", after.as_secs())]
    Unconfirmed {
        /// The time without an answer.
        after: Duration,
    },
    /// The broker closed the channel, or opened none. All unconfirmed messages of the channel fail
    /// with this.
    #[error("the channel was closed: {}", cause.reason)]
    ChannelClosed {
        /// The broker's reason.
        cause: CloseCause,
    },
    /// The message can't be sent: its header frame is larger than the broker accepts.
    #[error("{}", cause.reason)]
    TooLarge {
        /// The reason that the broker would give.
        cause: CloseCause,
    },
    /// The session is over. All unconfirmed messages of the session fail with this.
    #[error("the session ended: {}", cause.reason)]
    SessionLost {
        /// The cause of the session's end.
        cause: CloseCause,
    },
}

impl PublishFailure {
    /// Returns the cause for which a message was refused, if one was: perhaps not this message, but
    /// one unconfirmed with it.
    #[must_use]
    pub fn refusal(&self) -> Option<&CloseCause> {
        match self {
            Self::ChannelClosed { cause } | Self::SessionLost { cause } => {
                Some(cause).filter(|cause| cause.code.is_some_and(refuses_message))
            }
            Self::TooLarge { cause } => Some(cause),
            Self::Nacked | Self::Unconfirmed { .. } => None,
        }
    }
}

/// Returns true if a reply code of AMQP 0-9-1 blames a message: precondition-failed, frame-error or
/// unexpected-frame. All others concern the broker's state, rights, or something missing, and may
/// be different in a moment.
#[must_use]
pub fn refuses_message(code: u16) -> bool {
    matches!(code, 406 | FRAME_ERROR | 505)
}

/// The cause for which a channel or a connection was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseCause {
    /// The reply code of AMQP 0-9-1, such as 406 or 501, where the broker gave one.
    pub code: Option<u16>,
    /// The broker's text, or ferryd's own.
    pub reason: String,
}

impl CloseCause {
    /// Builds a cause that ferryd found by itself.
    #[must_use]
    pub fn found(reason: &str) -> Self {
        Self { code: None, reason: reason.to_owned() }
    }

    /// Builds the cause that the broker would give for refusing a header frame of so many bytes.
    #[must_use]
    pub fn large_header_frame(bytes: usize) -> Self {
        Self {
            code: Some(FRAME_ERROR),
            reason: format!("its properties and headers need a frame of {bytes} bytes"),
        }
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

/// Returns true if an error ends a channel alone; false if it ends the connection.
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
        if is_of_a_channel(&error) {
            Self::ChannelClosed { cause }
        } else {
            Self::SessionLost { cause }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wrong_with_a_message_itself_is_a_refusal() {
        // All reply codes of AMQP 0-9-1.
        for (code, refused) in [
            (200, false),
            (311, false),
            (312, false),
            (313, false),
            (320, false),
            (402, false),
            (403, false),
            (404, false),
            (405, false),
            (406, true),
            (501, true),
            (502, false),
            (503, false),
            (504, false),
            (505, true),
            (506, false),
            (530, false),
            (540, false),
            (541, false),
        ] {
            assert_eq!(refuses_message(code), refused, "{code}");
            let cause = CloseCause { code: Some(code), reason: String::new() };
            for failure in [
                PublishFailure::ChannelClosed { cause: cause.clone() },
                PublishFailure::SessionLost { cause: cause.clone() },
            ] {
                assert_eq!(failure.refusal().is_some(), refused, "{failure:?}");
            }
        }
        let found = PublishFailure::SessionLost { cause: CloseCause::found("no answer") };
        for failure in
            [found, PublishFailure::Nacked, PublishFailure::Unconfirmed { after: Duration::ZERO }]
        {
            assert_eq!(failure.refusal(), None);
        }
    }
}
