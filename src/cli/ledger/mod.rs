//! `ferryd ledger`: reads the stream of records, and verifies or rebuilds the index.

mod rebuild;
mod record_line;
mod tail;
mod verify;

use std::path::Path;

use clap::Subcommand;

use super::desk::Desk;
use super::error::CommandError;
use super::output::Output;

/// Follow the ledger, compare its index with it, or make the index anew.
#[derive(Debug, Subcommand)]
pub enum Ledger {
    /// Show records, and follow them as they are written
    #[command(after_help = tail::EXAMPLES)]
    Tail(tail::Tail),
    /// Compare this host's index with the stream
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Make this host's index anew from the stream
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(rebuild::Rebuild),
}

impl Ledger {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let place = desk.ledger()?;
        match self {
            Self::Tail(tail) => tail.run(&desk, out),
            Self::Verify(verify) => verify.run(&desk, &place, out),
            Self::Rebuild(rebuild) => rebuild.run(&desk, &place, out),
        }
    }
}
