//! `ferryd ledger`: reads the stream of records, and verifies or rebuilds the index.

mod rebuild;
mod record_line;
mod tail;
mod verify;

use std::path::Path;

use clap::Subcommand;

use super::context::CliContext;
use super::error::CommandError;
use super::output::TerminalOutput;

/// Follow the ledger, compare its index with it, or make the index anew.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    /// Show records, and follow them as they are written
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::TailArguments),
    /// Compare this host's index with the stream
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::LedgerVerifyArguments),
    /// Make this host's index anew from the stream
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(rebuild::RebuildArguments),
}

impl LedgerCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let context = CliContext::open(config)?;
        let place = context.ledger()?;
        match self {
            Self::Tail(tail) => tail.run(&context, out),
            Self::Verify(verify) => verify.run(&context, &place, out),
            Self::Rebuild(rebuild) => rebuild.run(&context, &place, out),
        }
    }
}
