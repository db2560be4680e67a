//! `ferryd dead`: the commands that ferryd gave up on.

mod clear;
mod groups;
mod list;
mod show;

use std::path::Path;

use clap::Subcommand;

use super::desk::Desk;
use super::error::CommandError;
use super::output::Output;

/// Look at the commands that ferryd gave up on, send them again, or give them up for good.
#[derive(Debug, Subcommand)]
pub enum Dead {
    /// List dead letters, which stay as they are
    #[command(after_help = list::EXAMPLES)]
    List(list::List),
    /// Count dead letters by how they failed
    #[command(after_help = groups::EXAMPLES)]
    Groups(groups::Groups),
    /// Show all that is known of a command's dead letter, which stays as it is
    #[command(after_help = show::EXAMPLES)]
    Show(show::Show),
    /// Send commands to their providers again
    #[command(after_help = clear::REPLAY_EXAMPLES)]
    Replay(clear::Replay),
    /// State what became of a command that nobody else can know about
    #[command(after_help = clear::RESOLVE_EXAMPLES)]
    Resolve(clear::Resolve),
    /// Give commands up for good, and tell their publishers
    #[command(after_help = clear::DISCARD_EXAMPLES)]
    Discard(clear::Discard),
}

impl Dead {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        match self {
            Self::List(list) => list.run(config, out),
            Self::Groups(groups) => groups.run(config, out),
            Self::Show(show) => show.run(&Desk::open(config)?, out),
            Self::Replay(replay) => replay.run(&Desk::open(config)?, out),
            Self::Resolve(resolve) => resolve.run(&Desk::open(config)?, out),
            Self::Discard(discard) => discard.run(&Desk::open(config)?, out),
        }
    }
}
