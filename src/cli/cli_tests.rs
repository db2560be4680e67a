use std::io;
use std::path::Path;

use clap::CommandFactory as _;

use super::*;

/// Runs a command line. Returns the result and the output.
fn run(arguments: &[&str]) -> (Result<(), CommandError>, String) {
    let mut result = Ok(());
    let printed = fixture::printed(|out| {
        let cli = CliArguments::try_parse_from(["ferryd"].iter().chain(arguments)).unwrap();
        result = cli.run(out);
    });
    (result, printed)
}

fn help_of(command: &mut clap::Command, path: &str, found: &mut Vec<(String, String)>) {
    found.push((path.to_owned(), command.render_long_help().to_string()));
    for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
        let path = format!("{path} {}", inner.get_name());
        help_of(inner, &path, found);
    }
}

#[test]
fn the_command_line_is_consistent() {
    CliArguments::command().debug_assert();
}

#[test]
fn every_command_explains_itself() {
    let mut found = Vec::new();
    let mut command = CliArguments::command().term_width(110);
    command.build();
    help_of(&mut command, "ferryd", &mut found);
    for (path, help) in found {
        insta::assert_snapshot!(path.replace(' ', "-"), help);
    }
}

#[test]
fn every_command_shows_examples() {
    let mut found = Vec::new();
    let mut command = CliArguments::command();
    command.build();
    help_of(&mut command, "ferryd", &mut found);
    for (path, help) in found {
        let leaf = !help.contains("Commands:");
        assert!(!leaf || help.contains("Examples:"), "{path}");
    }
}

#[test]
fn a_wrong_configuration_is_reported_and_ends_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ferryd.toml");
    std::fs::write(&path, "colour = 'red'\n[amqp]\nheartbeat = 'ten'\n").unwrap();
    let config = ["--config", path.to_str().unwrap()];

    let (result, printed) = run(&[&["check"], &config[..]].concat());
    let error = result.unwrap_err();
    assert_eq!(
        (error.exit(), error.lines().len(), printed.as_str()),
        (ExitStatus::Configuration, 2, "")
    );

    let (result, printed) = run(&[&["check", "--json"], &config[..]].concat());
    let error = result.unwrap_err();
    assert_eq!((error.exit(), error.lines().len()), (ExitStatus::Configuration, 0));
    let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&report["ok"], report["faults"].as_array().map(Vec::len)),
        (&false.into(), Some(2))
    );
}

#[test]
fn schemas_and_completions_are_printed() {
    for subject in ["config", "command", "event"] {
        let (result, printed) = run(&["schema", subject]);
        result.unwrap();
        assert!(
            serde_json::from_str::<serde_json::Value>(&printed).unwrap().is_object(),
            "{subject}"
        );
    }
    for shell in ["bash", "zsh", "fish"] {
        let (result, printed) = run(&["completions", shell]);
        result.unwrap();
        assert!(printed.contains("ferryd") && printed.contains("completions"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    struct ClosedPipe;
    impl io::Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cli = CliArguments::try_parse_from(["ferryd", "schema", "event"]).unwrap();
    let error = cli.run(&mut TerminalOutput::plain(ClosedPipe)).unwrap_err();
    assert_eq!((error.exit(), error.lines()), (ExitStatus::Done, Vec::new()));
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    let error = CliArguments::try_parse_from(["ferryd", "sail"]).unwrap_err();
    assert_eq!(error.exit_code(), ExitStatus::Usage as i32);
}

#[test]
fn the_configuration_can_be_named_before_or_after_the_command() {
    for arguments in
        [["ferryd", "--config", "a.toml", "check"], ["ferryd", "check", "--config", "a.toml"]]
    {
        let cli = CliArguments::try_parse_from(arguments).unwrap();
        assert_eq!(cli.config.as_deref(), Some(Path::new("a.toml")));
    }
}
