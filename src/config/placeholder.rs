//! `${env:NAME}` and `${file:/path}` in settings that hold secrets, so that the file itself need not be one.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::Environment;

/// Puts the values in the place of every `${…}` of an address.
///
/// Where the placeholder is the whole text, its value is taken as it is; in the middle it is percent-encoded, so
/// that a
/// password may hold `@` or `/`. One line break at the end of a file is dropped. Relative paths start at `base`.
///
/// # Errors
/// What is wrong, never quoting a value.
pub(super) fn expand(text: &str, base: &Path, environment: &Environment) -> Result<String, String> {
    if let Some(inner) = whole(text) {
        return value(inner, base, environment);
    }
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inner, after) = after.split_once('}').ok_or("has `${` without `}`: write ${env:NAME} or ${file:/path}")?;
        let value = value(inner, base, environment)?;
        expanded.push_str(before);
        expanded.extend(utf8_percent_encode(&value, NON_ALPHANUMERIC));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn whole(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|inner| !inner.contains('}'))
}

fn value(inner: &str, base: &Path, environment: &Environment) -> Result<String, String> {
    let value = match inner.split_once(':') {
        Some(("env", name)) => {
            environment.get(name).cloned().ok_or_else(|| format!("needs the environment variable {name}: set it"))?
        }
        Some(("file", path)) => {
            let path = base.join(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("needs the file {}, which cannot be read: {error}", path.display()))?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
        _ => return Err("has a placeholder that is not known: write ${env:NAME} or ${file:/path}".to_owned()),
    };
    if value.is_empty() { Err(format!("needs a value, but {inner} is empty")) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand_in(text: &str, base: &Path) -> Result<String, String> {
        let environment = [("PW", "p@ss/word"), ("URI", "amqp://a:b@c"), ("EMPTY", "")];
        expand(text, base, &environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    }

    #[test]
    fn a_value_is_encoded_in_the_middle_and_whole_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pw"), "s3cret\r\n").unwrap();
        for (text, expected) in [
            ("plain", "plain"),
            ("${env:URI}", "amqp://a:b@c"),
            ("amqp://u:${env:PW}@h", "amqp://u:p%40ss%2Fword@h"),
            ("${file:pw}", "s3cret"),
            ("${env:PW}${file:pw}", "p%40ss%2Fwords3cret"),
        ] {
            assert_eq!(expand_in(text, dir.path()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, part) in [
            ("${env:NONE}", "variable NONE"),
            ("${env:EMPTY}", "env:EMPTY is empty"),
            ("${file:/no/such}", "/no/such"),
            ("${vault:x}", "${env:NAME}"),
            ("x${env:PW", "without `}`"),
        ] {
            let error = expand_in(text, Path::new("/")).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
