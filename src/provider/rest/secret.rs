//! Secrets of a provider, and where they come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use minijinja::Value;
use secrecy::{ExposeSecret as _, SecretString};

/// Why a secret cannot be had. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    /// An environment variable is not set.
    #[error("the environment variable {0} is not set; set it, or write `${{file:/run/secrets/…}}`")]
    NoVariable(String),
    /// A file cannot be read.
    #[error("the file {path} cannot be read ({error}); write the path of a file that ferryd may read")]
    NoFile {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the secret is empty; {0}")]
    Empty(String),
    /// A `${` that is no reference.
    #[error("`${{` begins a reference; write `${{env:NAME}}` or `${{file:/run/secrets/x}}` and nothing around it")]
    Reference,
}

/// Reads a secret: `${env:NAME}`, `${file:path}` (relative to `folder`), or the value itself.
pub(super) fn resolve(
    text: &str,
    folder: &Path,
    env: impl Fn(&str) -> Option<String>,
) -> Result<SecretString, SecretError> {
    let reference = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let (value, remedy) = match reference.and_then(|reference| reference.split_once(':')) {
        Some(("env", name)) => {
            let value = env(name).ok_or_else(|| SecretError::NoVariable(name.to_owned()))?;
            (value, format!("set the environment variable {name}"))
        }
        Some(("file", path)) => {
            let path = folder.join(path);
            let shown = path.display().to_string();
            let value =
                fs::read_to_string(&path).map_err(|error| SecretError::NoFile { path: shown.clone(), error })?;
            (without_last_break(&value).to_owned(), format!("put it into {shown}"))
        }
        _ if text.contains("${") => return Err(SecretError::Reference),
        _ => (text.to_owned(), "write `${env:NAME}`".to_owned()),
    };
    if value.is_empty() { Err(SecretError::Empty(remedy)) } else { Ok(value.into()) }
}

fn without_last_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// The secrets of one provider, by name.
#[derive(Debug, Clone, Default)]
pub(in crate::provider) struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    /// Keeps these secrets.
    pub(in crate::provider) fn new(secrets: BTreeMap<String, SecretString>) -> Self {
        Self(secrets)
    }

    /// The secrets themselves.
    pub(super) fn values(&self) -> impl Iterator<Item = &SecretString> {
        self.0.values()
    }

    /// How many there are.
    pub(in crate::provider) fn len(&self) -> usize {
        self.0.len()
    }

    /// What expressions see as `secrets`.
    pub(in crate::provider) fn variable(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("sk_test_123".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn a_secret_comes_from_the_environment_a_file_or_the_text_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "from-file\r\n").unwrap();
        fs::write(folder.path().join("two"), "a\n\n").unwrap();
        let absolute = format!("${{file:{}}}", folder.path().join("token").display());
        let table = [
            ("${env:KEY}", "sk_test_123"),
            ("${file:token}", "from-file"),
            (absolute.as_str(), "from-file"),
            ("${file:two}", "a\n"),
            ("literal $ { }", "literal $ { }"),
        ];
        for (text, expected) in table {
            assert_eq!(resolve(text, folder.path(), env).unwrap().expose_secret(), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_that_cannot_be_had_is_refused() {
        let bad = [
            "${env:OTHER}",
            "${env:EMPTY}",
            "${file:missing}",
            "",
            "${KEY}",
            "x${env:KEY}",
            "${env:KEY}x",
            "${vault:x}",
        ];
        for text in bad {
            assert!(resolve(text, Path::new("/nowhere"), env).is_err(), "{text}");
        }
    }

    #[test]
    fn no_debug_shows_a_secret() {
        let secrets = Secrets::new([("a".to_owned(), "sk_live".into())].into());
        assert!(!format!("{secrets:?}").contains("sk_live"));
    }
}
