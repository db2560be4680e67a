//! Tests that log lines and errors in the documentation are in the sources.

use std::fs;
use std::path::Path;

use super::{documents, prose, read, root};

/// Joins all sources but tests into one text, with string continuations joined and without
/// backticks.
fn printed_sources() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.display().to_string().ends_with("_tests.rs")
            {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in
        ["src", "crates"].map(|folder| root().join(folder)).iter().filter(|folder| folder.exists())
    {
        collect(folder, &mut text);
    }
    let mut joined = String::new();
    for part in text.split("\\\n") {
        joined.push_str(part.trim_start());
    }
    joined.replace('`', "")
}

/// Lists the code spans of a document that read like a log line or an error: three to twenty words
/// of lower-case text.
fn quoted_messages(text: &str) -> Vec<String> {
    const COMMANDS: [&str; 4] = ["ferryd ", "rabbitmq", "cargo ", "make "];
    let prose = prose(text).replace('\n', " ");
    let spans = prose.split('`').skip(1).step_by(2).map(str::to_owned);
    let is_message = |span: &String| {
        let is_text = span.chars().all(|c| c.is_alphanumeric() || " ,;:'’()*.-…".contains(c));
        let is_command =
            COMMANDS.iter().any(|command| span.starts_with(command)) || span.contains(" --");
        span.starts_with(|c: char| c.is_ascii_lowercase())
            && (3..=20).contains(&span.split(' ').count())
            && is_text
            && !is_command
    };
    spans.filter(is_message).collect()
}

#[test]
fn every_quoted_log_line_and_error_is_in_the_sources() {
    let sources = printed_sources();
    let (mut quoted, mut unknown) = (0, Vec::new());
    for document in documents().into_iter().filter(|document| document.starts_with("docs/")) {
        for message in quoted_messages(&read(&document)) {
            quoted += 1;
            if !message.split('…').all(|piece| sources.contains(piece.trim())) {
                unknown.push(format!("{document}: {message}"));
            }
        }
    }
    assert!(quoted > 30, "{quoted}");
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn log_lines_are_distinguished_from_commands_and_keys() {
    let text = "`failed to reach it; trying again`, `ferryd dead list --all`, `retry_group`, `a.b == \'c\' and d`, `the token … is none`";
    assert_eq!(quoted_messages(text), ["failed to reach it; trying again", "the token … is none"]);
}
