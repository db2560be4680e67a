//! `ferryd dead-letters`: the commands that ferryd gave up on.

mod discard;
mod groups;
mod list;
mod replay;
mod resolve;
mod show;

use std::path::Path;

use clap::Subcommand;

use super::error::CommandError;
use super::output::TerminalOutput;

/// Look at the commands that ferryd gave up on, send them again, or give them up for good.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List dead letters, which stay as they are
    #[command(after_help = list::EXAMPLES)]
    List(list::ListDeadLetters),
    /// Count dead letters by how they failed
    #[command(after_help = groups::EXAMPLES)]
    Groups(groups::CountDeadLetters),
    /// Show all that is known of a command's dead letter, which stays as it is
    #[command(after_help = show::EXAMPLES)]
    Show(show::ShowDeadLetter),
    /// Send commands to their providers again
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayDeadLetters),
    /// State the outcome of commands that only a person can find out
    #[command(after_help = resolve::EXAMPLES)]
    Resolve(resolve::ResolveDeadLetters),
    /// Give commands up for good, and notify their publishers
    #[command(after_help = discard::EXAMPLES)]
    Discard(discard::DiscardDeadLetters),
}

impl DeadLettersCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        match self {
            Self::List(list) => list.run(config, out),
            Self::Groups(groups) => groups.run(config, out),
            Self::Show(show) => show.run(config, out),
            Self::Replay(replay) => replay.run(config, out),
            Self::Resolve(resolve) => resolve.run(config, out),
            Self::Discard(discard) => discard.run(config, out),
        }
    }
}
