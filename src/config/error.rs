//! The reasons why there is no configuration.

use std::path::{Path, PathBuf};

use ferryd_settings::diagnostic::Diagnostic;

/// The reason why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// All faults, in the order of the file.
    #[error("{}", lines(.0).join("\n"))]
    Faults(Vec<Diagnostic>),
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), reason: error.to_string() }
    }

    /// Each fault as one line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec![self.to_string()],
            Self::Faults(faults) => lines(faults),
        }
    }
}

fn lines(faults: &[Diagnostic]) -> Vec<String> {
    faults.iter().map(Diagnostic::to_string).collect()
}
