//! The reasons for which the daemon can't start.

use crate::amqp::message::TooLong;
use crate::ledger::index::IndexError;
use crate::transport::http::HttpSetupError;

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A provider's TLS settings can't be used.
    #[error("provider `{provider}`: {source}")]
    Http {
        /// The provider.
        provider: String,
        /// What is wrong.
        source: HttpSetupError,
    },
    /// A queue's name is too long.
    #[error("queue name {0}; choose a shorter `prefix` or provider name")]
    QueueName(#[from] TooLong),
    /// The ledger's index can't be kept.
    #[error("ledger.dir: {0}")]
    Index(#[from] IndexError),
}
