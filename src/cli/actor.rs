//! The person who decides something at the command line, and the reason.

use std::os::unix::fs::MetadataExt as _;

/// The longest name and the longest reason, in bytes. Both stand in the record, in the event and in
/// every list.
const MAX_TEXT: usize = 512;

/// Reads a name or a reason.
pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        text if text.len() > MAX_TEXT => Err(format!("it is longer than {MAX_TEXT} bytes")),
        text => Ok(text.to_owned()),
    }
}

/// Returns the user who runs this process, for decisions without a named person.
pub(super) fn user() -> String {
    let named = ["USER", "LOGNAME"].into_iter().filter_map(|name| std::env::var(name).ok());
    let known = named
        .map(|name| name.trim().to_owned())
        .find(|name| !name.is_empty() && name.len() <= MAX_TEXT);
    known.unwrap_or_else(|| match std::fs::metadata("/proc/self") {
        Ok(process) => format!("user {}", process.uid()),
        Err(_) => "unknown".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_and_not_too_much() {
        assert_eq!(text(" order withdrawn "), Ok("order withdrawn".to_owned()));
        assert!(text("  ").is_err() && text(&"x".repeat(513)).is_err());
    }

    #[test]
    fn somebody_runs_this() {
        assert!(!user().is_empty());
    }
}
