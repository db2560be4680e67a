//! Tests that commands, options and exit codes in the documentation are those of the program.

use clap::CommandFactory as _;
use clap::error::ErrorKind;
use ferryd::cli::CliArguments;

use super::{FencedBlock, blocks, documents, filled, prose, read};

/// Splits a line as a shell would, as far as our examples need it: quotes, and an end at `|`, `>`,
/// `;`, `&` or `#`.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | ';' | '&') => break,
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// Lists the command lines of ferryd in the shell blocks, from the word `ferryd` on.
fn command_lines() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let is_shell = |block: &FencedBlock| block.info == "sh" || block.info.starts_with("console");
    for block in blocks().into_iter().filter(is_shell) {
        for line in filled(&block.text.replace("\\\n", " "), "1").lines() {
            for part in line.trim_start_matches("$ ").split(" | ") {
                let words = words(part);
                if let Some(start) = words.iter().position(|word| word == "ferryd") {
                    let leading =
                        words[..start].iter().all(|word| word.contains('=') || word == "sudo");
                    if leading {
                        found
                            .push((format!("{}: {line}", block.document), words[start..].to_vec()));
                    }
                }
            }
        }
    }
    found
}

/// Lists the commands that sentences name, such as `ferryd dead-letters list`, as words without
/// options.
fn named_commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for document in documents() {
        let text = prose(&read(&document));
        for name in text.split('`').skip(1).step_by(2).filter(|code| code.starts_with("ferryd ")) {
            found.push((format!("{document}: {name}"), words(name)));
        }
    }
    found
}

#[test]
fn every_command_line_in_the_documentation_is_understood() {
    let lines = command_lines();
    assert!(lines.len() > 5, "{}", lines.len());
    let wrong = lines.into_iter().filter_map(|(place, words)| {
        let error = CliArguments::command().try_get_matches_from(words).err()?;
        let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        (!help).then(|| format!("{place}: {:?}", error.kind()))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_command_named_in_the_documentation_exists() {
    let wrong = named_commands().into_iter().filter(|(_, words)| {
        let kind =
            CliArguments::command().try_get_matches_from(words).err().map(|error| error.kind());
        matches!(kind, Some(ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument))
    });
    assert_eq!(wrong.map(|(place, _)| place).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_make_target_in_the_documentation_exists() {
    let makefile = read("Makefile");
    for document in documents() {
        let text = read(&document);
        for (at, command) in text.match_indices("make ") {
            let rest = &text[at + command.len()..];
            let target = rest.split(|c: char| !c.is_ascii_lowercase()).next().unwrap_or_default();
            let starts_line_or_code = matches!(text[..at].chars().last(), Some('`' | '\n'));
            let known = makefile.contains(&format!("\n{target}:"));
            assert!(
                known || target.is_empty() || !starts_line_or_code,
                "{document}: make {target}"
            );
        }
    }
}

#[test]
fn the_printed_exit_codes_are_those_of_the_help() {
    let help = CliArguments::command().get_after_help().unwrap().to_string();
    let codes = help
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let rows: Vec<_> = codes.filter_map(|line| line.trim().split_once("  ")).collect();
    assert!(rows.len() > 4, "{help}");
    let text = read("docs/reference/command-line.md");
    for (code, meaning) in rows {
        let row = format!("\n| {code} | {} |", meaning.trim());
        assert!(text.contains(&row), "{row}");
    }
}
