//! One fault of a settings file, with file, line and key.

use std::fmt;

/// The place at which a wrong setting was written. Diagnostics are sorted in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiagnosticOrigin {
    /// A file, or a folder.
    File {
        /// The file, as errors show it.
        file: String,
        /// The line, from 1; `None` for the file as a whole.
        line: Option<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A default value that conflicts with a setting; no file or variable states it.
    Default,
}

impl fmt::Display for DiagnosticOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line: Some(line) } => write!(f, "{file}:{line}"),
            Self::File { file, line: None } => f.write_str(file),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One fault of a setting, for the person who wrote it.
///
/// The text of a diagnostic reads `providers/stripe.toml:12: operations.charge.request.path: …;
/// write …`, with ` = <value>` behind the key where the value is known to be no secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Diagnostic {
    /// The place at which the setting was written.
    pub origin: DiagnosticOrigin,
    /// The key, such as `operations.charge.request.path`; empty for a file as a whole.
    pub key: String,
    /// The value; `None` where it is a secret or may be one.
    pub value: Option<String>,
    /// The fault, and what to write instead.
    pub message: String,
}

impl Diagnostic {
    /// A fault of a file as a whole, or of a folder.
    pub fn of_file(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        let origin = DiagnosticOrigin::File { file: file.to_owned(), line };
        Self { origin, key: String::new(), value: None, message: message.into() }
    }

    /// The line, from 1, where it is known.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self.origin {
            DiagnosticOrigin::File { line, .. } => line,
            DiagnosticOrigin::Variable(_) | DiagnosticOrigin::Default => None,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, value, message } = self;
        write!(f, "{origin}: ")?;
        match value {
            _ if key.is_empty() => {}
            None => write!(f, "{key}: ")?,
            Some(value) => write!(f, "{key} = {value}: ")?,
        }
        f.write_str(message)
    }
}
