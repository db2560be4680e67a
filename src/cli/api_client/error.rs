//! Errors between the command line and the API of a daemon.

use std::io;
use std::time::Duration;

use super::super::exit_status::ExitStatus;
use crate::web::problem::{ProblemBody, ProblemKind};

/// The advice for a host where no daemon runs.
const START: &str = "start one with `ferryd run`, or name another with --url; `ferryd dead-letters list --queues` reads dead letters without one";

/// The reason why a request to a daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No daemon listens at the address.
    #[error("no ferryd answers at {url} ({why}): {START}")]
    NoDaemon {
        /// The address.
        url: String,
        /// The system's reason.
        why: String,
    },
    /// The daemon of this host has written its address nowhere.
    #[error(
        "no ferryd runs on this host, or not with this configuration: there is no {path}; {START}"
    )]
    NotRunning {
        /// The file that would hold the address.
        path: String,
    },
    /// The file with the daemon's address can't be read.
    #[error("{path}: failed to read where ferryd listens ({error}); name its address with --url")]
    NoAddress {
        /// The file.
        path: String,
        /// The system's reason.
        error: io::Error,
    },
    /// The daemon of this host has no API.
    #[error(
        "`api.enabled` is false, so the ferryd of this host answers no requests; name another with --url"
    )]
    Disabled,
    /// The connection would cross a network without TLS.
    #[error(
        "{url} is plain HTTP to another machine: everybody on the network path can read and change the token and all answers; write https://, or --allow-plaintext where they may"
    )]
    Plaintext {
        /// The address.
        url: String,
    },
    /// A daemon on another host needs a token, and none is given.
    #[error("{url} needs a token in FERRYD_TOKEN: that of this host is sent to no other")]
    NoToken {
        /// The address.
        url: String,
    },
    /// The text is no valid token.
    #[error(
        "the token in FERRYD_TOKEN has to be 16 to 512 characters of A-Z a-z 0-9 - . _ ~ + / ="
    )]
    InvalidToken,
    /// The TLS client can't be set up.
    #[error("the HTTP API cannot be used ({0})")]
    Setup(String),
    /// The connection ended before the answer did.
    #[error(
        "the connection to {url} ended before its answer did ({why}); what was asked for may be done all the same: ask again"
    )]
    BrokenOff {
        /// The address.
        url: String,
        /// The system's reason.
        why: String,
    },
    /// No answer came in time.
    #[error("{url} did not answer within {} s; what was asked for may be done all the same: ask again", after.as_secs())]
    NoAnswer {
        /// The address.
        url: String,
        /// The time that was waited.
        after: Duration,
    },
    /// The answer has neither the form of a success nor that of a problem of ferryd's.
    #[error(
        "{url} answered with status {status}, and not as ferryd does: is that the address of its API?"
    )]
    NoFerryd {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The answer has a form that this version does not understand.
    #[error(
        "the answer of {url} cannot be read ({why}): does a ferryd of another version run there?"
    )]
    Unreadable {
        /// The address.
        url: String,
        /// The fault in the answer.
        why: String,
    },
    /// The daemon does not know the token.
    #[error("the ferryd at {url} does not know the token {origin}")]
    UnknownToken {
        /// The address.
        url: String,
        /// The origin of the token.
        origin: String,
    },
    /// The daemon was reading the ledger for too long.
    #[error(
        "ferryd still reads the ledger, {records} records so far, after {} s: see its log, and ask again", after.as_secs()
    )]
    CatchingUp {
        /// The number of records that the daemon has read.
        records: u64,
        /// The time that was waited.
        after: Duration,
    },
    /// The daemon answers with a problem.
    #[error("{}", .0.sentence())]
    Problem(Box<ProblemBody>),
}

impl ApiError {
    /// Returns the exit code.
    pub(in crate::cli) fn exit(&self) -> ExitStatus {
        match self {
            Self::NoDaemon { .. } | Self::NotRunning { .. } | Self::BrokenOff { .. } => {
                ExitStatus::Unreachable
            }
            Self::NoAddress { .. } | Self::Disabled | Self::NoToken { .. } | Self::InvalidToken => {
                ExitStatus::Configuration
            }
            Self::Plaintext { .. } => ExitStatus::Usage,
            Self::NoAnswer { .. } | Self::CatchingUp { .. } => ExitStatus::Timeout,
            Self::Problem(problem) => match problem.kind() {
                Some(ProblemKind::BrokerAway) => ExitStatus::Unreachable,
                Some(ProblemKind::NotConfirmed | ProblemKind::Busy | ProblemKind::CatchingUp) => {
                    ExitStatus::Timeout
                }
                _ => ExitStatus::Failed,
            },
            Self::Setup(_)
            | Self::NoFerryd { .. }
            | Self::Unreadable { .. }
            | Self::UnknownToken { .. } => ExitStatus::Failed,
        }
    }

    /// Returns the problem, where the daemon answered with one of this kind.
    pub(in crate::cli) fn into_problem(self, kind: ProblemKind) -> Result<ProblemBody, Self> {
        match self {
            Self::Problem(problem) if problem.kind() == Some(kind) => Ok(*problem),
            other => Err(other),
        }
    }
}

/// Describes the innermost cause of an error, which says most.
pub(super) fn innermost_cause(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map_or_else(String::new, ToString::to_string)
}
