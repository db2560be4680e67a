//! Reads the command line, and prints usage errors or the requested help.

use std::error::Error as _;
use std::ffi::OsString;
use std::process::ExitCode;

use anstream::adapter::strip_str;
use clap::Parser as _;
use clap::error::{ContextValue, ErrorKind};

use super::output::TerminalOutput;
use super::{CliArguments, ExitStatus};
use ferryd_redact::escape::escape_text;

/// Reads the arguments of this process. Prints help and usage errors.
///
/// # Errors
/// The exit code where there is nothing to run.
pub fn read_command_line(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<CliArguments, ExitCode> {
    CliArguments::try_parse_from(arguments).map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(ExitStatus::Usage as u8);
        // A failure to print can't be reported anywhere.
        let _ = match error.kind() {
            // This text is ferryd's own, with clap's styles.
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.print(),
            _ => TerminalOutput::stderr().lines(&describe(error)),
        };
        ExitCode::from(code)
    })
}

/// Describes a usage error over several lines. Arguments are escaped, because they may be copied
/// from anywhere.
fn describe(mut error: clap::Error) -> String {
    let arguments: Vec<_> =
        error.context().filter_map(|(kind, value)| Some((kind, escape(value)?))).collect();
    for (kind, value) in arguments {
        error.insert(kind, value);
    }
    let reason = error.source().map(ToString::to_string);
    let mut text = error.render().ansi().to_string();
    if let Some(reason) = reason {
        text = text.replace(&reason, &escape_text(&reason));
    }
    strip_str(&text).to_string()
}

/// Escapes the arguments that clap quotes.
fn escape(value: &ContextValue) -> Option<ContextValue> {
    let escape = |text: &String| escape_text(text).into_owned();
    match value {
        ContextValue::String(text) => Some(ContextValue::String(escape(text))),
        ContextValue::Strings(texts) => {
            Some(ContextValue::Strings(texts.iter().map(escape).collect()))
        }
        // Tips, one line each.
        ContextValue::StyledStrs(tips) => {
            let tips = tips
                .iter()
                .map(|tip| escape(&strip_str(&tip.ansi().to_string()).to_string()).into());
            Some(ContextValue::StyledStrs(tips.collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture::printed;

    /// Returns the usage errors of a wrong command line.
    fn usage_error(arguments: &[&str]) -> String {
        let error = CliArguments::try_parse_from(["ferryd"].iter().chain(arguments)).unwrap_err();
        printed(|out| out.lines(&describe(error)).unwrap())
    }

    #[test]
    fn no_argument_writes_a_line_of_its_own_or_moves_the_cursor() {
        let hostile = "x\u{1b}[2J\u{202e}\r\nerror: forged";
        let shown = r"x\u{1b}[2J\u{202e}\r\nerror: forged";
        let unknown = format!("--{hostile}");
        let (pair, file) = (format!("--metadata={hostile}"), format!("--payload=@{hostile}"));
        let publish = ["publish", "--type", "payment", "--operation", "charge"];
        for arguments in [
            &["status", hostile][..],
            &[hostile],
            &["status", "a", &unknown],
            &["status", "a", hostile],
            &["schema", hostile],
            &[&publish[..], &[&pair]].concat(),
            &[&publish[..], &[&file]].concat(),
        ] {
            let text = usage_error(arguments);
            assert!(text.starts_with("error: ") && text.contains(shown), "{text}");
            assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{text}");
        }
    }

    #[test]
    fn a_wrong_command_line_says_what_is_right() {
        let text = usage_error(&["schema", "configs"]);
        assert!(text.contains("a similar value exists: 'config'"), "{text}");
        assert!(text.contains("\n\nFor more information, try '--help'."), "{text}");
    }
}
