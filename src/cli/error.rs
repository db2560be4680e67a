//! What a command can fail with.

use std::io;

use super::exit::Exit;
use crate::config::ConfigError;
use crate::provider::FileError;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Provider files are wrong, or do not go with the configuration: one line for each fault.
    #[error("{}", .0.join("\n"))]
    Providers(Vec<String>),
    /// There is no such provider.
    #[error("there is no provider `{name}`: configured are {known}")]
    NoProvider {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// What was asked for cannot be done as it was asked.
    #[error("{0}")]
    Refused(String),
    /// The sandbox cannot be started.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::SandboxError),
    /// The broker cannot be reached, or refuses.
    #[error(transparent)]
    Broker(#[from] crate::amqp::error::BrokerError),
    /// The daemon cannot be set up.
    #[error(transparent)]
    Daemon(#[from] crate::daemon::SetupError),
    /// The broker's address cannot be read by the AMQP client.
    #[error("amqp.uri: {0}")]
    AmqpUri(String),
    /// Logging cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] crate::telemetry::TelemetryError),
    /// The command has printed what is wrong itself.
    #[error("failed as told")]
    Told(Exit),
    /// The operating system refuses, mostly because nothing can be printed.
    #[error("failed on input or output: {0}")]
    Output(#[from] io::Error),
}

impl From<Vec<FileError>> for CommandError {
    fn from(faults: Vec<FileError>) -> Self {
        Self::Providers(faults.iter().map(FileError::to_string).collect())
    }
}

impl CommandError {
    /// The code to end with. A reader that has seen enough and closed its end of the pipe is no failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Providers(_) | Self::Daemon(_) | Self::AmqpUri(_) => Exit::Configuration,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Broker(_) => Exit::Broker,
            Self::NoProvider { .. } | Self::Refused(_) | Self::Sandbox(_) | Self::Telemetry(_) | Self::Output(_) => {
                Exit::Failed
            }
            Self::Told(exit) => *exit,
        }
    }

    /// What the standard error should say: one line for each fault, none where nothing is left to say.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(error) => error.lines(),
            Self::Providers(lines) => lines.clone(),
            Self::Told(_) => Vec::new(),
            Self::Output(_) if self.exit() == Exit::Done => Vec::new(),
            other => vec![other.to_string()],
        }
    }
}
