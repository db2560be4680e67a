//! What a command can fail with.

use std::io;

use super::exit::Exit;
use crate::config::ConfigError;
use crate::provider::registry::FileError;

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
    /// The command has printed what is wrong itself.
    #[error("failed as told")]
    Told(Exit),
    /// Nothing can be printed.
    #[error("cannot write to the standard output: {0}")]
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
            Self::Config(_) | Self::Providers(_) => Exit::Configuration,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::NoProvider { .. } | Self::Output(_) => Exit::Failed,
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
