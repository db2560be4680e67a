//! `ferryd completions`: a completion script for a shell.

use std::io;

use clap::{Args, Command};
use clap_complete::Shell;

use super::error::CommandError;
use super::output::{PlainText, TerminalOutput};

const EXAMPLES: &str = "\
Examples:
  ferryd completions bash > /etc/bash_completion.d/ferryd
  ferryd completions zsh > ~/.zfunc/_ferryd
  ferryd completions fish > ~/.config/fish/completions/ferryd.fish";

/// The arguments of `ferryd completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionArguments {
    /// The shell
    shell: Shell,
}

impl CompletionArguments {
    pub(super) fn run(
        self,
        mut command: Command,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        // Into memory first: the generator panics where it cannot write, for example into a closed
        // pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "ferryd", &mut script);
        let script = std::str::from_utf8(&script).ok().and_then(PlainText::new);
        Ok(out.verbatim(script.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?)?)
    }
}
