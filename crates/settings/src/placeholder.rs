//! `${env:NAME}` and `${file:/path}` in settings that hold secrets, so that the settings file
//! itself holds none.

use std::fs;
use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;

/// The reason why a placeholder has no value. The error never quotes a part of the value.
#[derive(Debug, thiserror::Error)]
pub enum PlaceholderError {
    /// An environment variable is not set.
    #[error("the environment variable {0} is not set; set it, or write `${{file:/run/secrets/…}}`")]
    NoVariable(String),
    /// A file cannot be read.
    #[error(
        "the file {path} cannot be read ({error}); write the path of a file that ferryd may read"
    )]
    NoFile {
        /// The file.
        path: String,
        /// The system's error.
        error: std::io::Error,
    },
    /// The variable or file is empty.
    #[error("the secret is empty; {0}")]
    Empty(String),
    /// A `${` that is no placeholder.
    #[error("`${{` begins a reference; write `${{env:NAME}}` or `${{file:/run/secrets/x}}`")]
    Unknown,
    /// Text surrounds the placeholder in a setting that accepts a placeholder only as the whole
    /// text.
    #[error(
        "`${{` begins a reference; write `${{env:NAME}}` or `${{file:/run/secrets/x}}` and nothing around it"
    )]
    NotWhole,
}

/// The sources from which placeholders take their values.
#[derive(Clone, Copy)]
pub struct PlaceholderSources<'a> {
    /// The folder against which relative paths are resolved.
    pub folder: &'a Path,
    /// Looks up the value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a secret: a placeholder, or the value itself.
///
/// # Errors
/// The placeholder has no value, or other text surrounds it.
pub fn resolve_secret(
    text: &str,
    sources: PlaceholderSources<'_>,
) -> Result<SecretString, PlaceholderError> {
    match placeholder_name(text) {
        Some(name) => sources.value(name).map(SecretString::from),
        None if text.contains("${") => Err(PlaceholderError::NotWhole),
        None if text.is_empty() => Err(PlaceholderError::Empty("write `${env:NAME}`".to_owned())),
        None => Ok(text.into()),
    }
}

/// Replaces every placeholder of an address by its value.
///
/// Where the placeholder is the whole text, its value is taken as it is; in the middle it is
/// percent-encoded, so that a password may hold `@` or `/`.
///
/// # Errors
/// A placeholder has no value.
pub fn expand_address(
    text: &str,
    sources: PlaceholderSources<'_>,
) -> Result<String, PlaceholderError> {
    if let Some(name) = placeholder_name(text) {
        return sources.value(name);
    }
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or(PlaceholderError::Unknown)?;
        expanded.push_str(before);
        expanded.extend(utf8_percent_encode(&sources.value(name)?, NON_ALPHANUMERIC));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The text between `${` and `}` if the whole text is one placeholder.
fn placeholder_name(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| !name.contains('}'))
}

impl PlaceholderSources<'_> {
    /// The value of a placeholder. One line break at the end of a file is dropped.
    fn value(self, name: &str) -> Result<String, PlaceholderError> {
        let (value, remedy) = match name.split_once(':') {
            Some(("env", name)) => {
                let value = (self.variable)(name)
                    .ok_or_else(|| PlaceholderError::NoVariable(name.to_owned()))?;
                (value, format!("set the environment variable {name}"))
            }
            Some(("file", path)) => {
                let path = self.folder.join(path);
                let shown = path.display().to_string();
                let value = fs::read_to_string(&path)
                    .map_err(|error| PlaceholderError::NoFile { path: shown.clone(), error })?;
                (without_last_break(&value).to_owned(), format!("put it into {shown}"))
            }
            _ => return Err(PlaceholderError::Unknown),
        };
        if value.is_empty() { Err(PlaceholderError::Empty(remedy)) } else { Ok(value) }
    }
}

fn without_last_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn variable(name: &str) -> Option<String> {
        let known =
            [("KEY", "sk_test_123"), ("PW", "p@ss/word"), ("URI", "amqp://a:b@c"), ("EMPTY", "")];
        known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn sources(folder: &Path) -> PlaceholderSources<'_> {
        PlaceholderSources { folder, variable: &variable }
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
            assert_eq!(
                resolve_secret(text, sources(folder.path())).unwrap().expose_secret(),
                expected,
                "{text}"
            );
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
            assert!(resolve_secret(text, sources(Path::new("/nowhere"))).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_encoded_in_the_middle_of_an_address_and_whole_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pw"), "s3cret\r\n").unwrap();
        for (text, expected) in [
            ("plain", "plain"),
            ("${env:URI}", "amqp://a:b@c"),
            ("amqp://u:${env:PW}@h", "amqp://u:p%40ss%2Fword@h"),
            ("${file:pw}", "s3cret"),
            ("${env:PW}${file:pw}", "p%40ss%2Fwords3cret"),
        ] {
            assert_eq!(expand_address(text, sources(dir.path())).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, part) in [
            ("${env:NONE}", "variable NONE is not set"),
            ("${env:EMPTY}", "is empty; set the environment variable EMPTY"),
            ("${file:/no/such}", "/no/such"),
            ("${vault:x}", "${env:NAME}"),
            ("x${env:PW", "${env:NAME}"),
        ] {
            let error = expand_address(text, sources(Path::new("/"))).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
