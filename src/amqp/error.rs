//! What can go wrong between ferryd and the broker.

use std::path::PathBuf;
use std::time::Duration;

use super::failure::CloseCause;

/// Why the broker could not be reached or used.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The broker or the network refused.
    #[error("{action}: {source}")]
    Amqp {
        /// What was being done.
        action: String,
        /// What lapin says.
        source: lapin::Error,
    },
    /// The broker did not answer in time.
    #[error("{action}: no answer from the broker within {} s", after.as_secs())]
    Timeout {
        /// What was being done.
        action: String,
        /// For how long.
        after: Duration,
    },
    /// The broker ended what was going on.
    #[error("{action}: the broker closed the channel; try again")]
    Closed {
        /// What was being done.
        action: String,
    },
    /// No node of the cluster could be reached.
    #[error("{}", .0.iter().map(Self::to_string).collect::<Vec<_>>().join("; "))]
    NoNode(Vec<Self>),
    /// A TLS file can't be used.
    #[error("{path}: {message}", path = path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what to do.
        message: String,
    },
    /// The broker refuses a message, whatever is published with it.
    #[error("the broker refuses the message: {}", cause.reason)]
    Refused {
        /// The broker's words.
        cause: CloseCause,
    },
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
}

impl BrokerError {
    /// The failures to connect to all nodes of a cluster, as one.
    pub(super) fn of_all_nodes(mut failures: Vec<Self>) -> Self {
        match failures.pop() {
            Some(only) if failures.is_empty() => only,
            last => Self::NoNode(failures.into_iter().chain(last).collect()),
        }
    }

    /// Wraps lapin's error with what was being done.
    pub(crate) fn during(action: impl Into<String>) -> impl FnOnce(lapin::Error) -> Self {
        let action = action.into();
        move |source| Self::Amqp { action, source }
    }
}
