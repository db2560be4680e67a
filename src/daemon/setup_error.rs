//! The reasons for which the daemon can't start.

use crate::pipeline::lane::LaneSetupError;
use ferryd_broker::message::TextTooLong;
use ferryd_ledger::index::IndexError;

/// The reason why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The TLS settings of a provider can't be used.
    #[error("provider `{provider}`: {source}")]
    Http {
        /// The provider's name.
        provider: String,
        /// The fault in the settings.
        source: LaneSetupError,
    },
    /// A queue's name is too long.
    #[error("queue name {0}; choose a shorter `prefix` or provider name")]
    QueueName(#[from] TextTooLong),
    /// The ledger's index can't be kept.
    #[error("ledger.dir: {0}")]
    Index(#[from] IndexError),
}
