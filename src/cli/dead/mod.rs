//! `ferryd dead`: the commands that ferryd gave up on.

mod clear;
mod groups;
mod list;
mod show;

use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::desk::Desk;
use super::error::CommandError;
use super::output::Output;
use crate::config::human::parse_duration;
use crate::domain::command_id::CommandId;
use crate::domain::name::Name;
use crate::operator::dead::{Filter, WantedKind};

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
        let desk = Desk::open(config)?;
        match self {
            Self::List(list) => list.run(&desk, out),
            Self::Groups(groups) => groups.run(&desk, out),
            Self::Show(show) => show.run(&desk, out),
            Self::Replay(replay) => replay.run(&desk, out),
            Self::Resolve(resolve) => resolve.run(&desk, out),
            Self::Discard(discard) => discard.run(&desk, out),
        }
    }
}

/// Which dead letters; everything given must hold.
#[derive(Debug, Clone, Default, Args)]
struct Which {
    /// Ids of commands
    #[arg(value_name = "ID")]
    ids: Vec<CommandId>,
    /// Only those of this type, such as payment
    #[arg(long)]
    r#type: Option<Name>,
    /// Only those of this provider, which need not be configured any more
    #[arg(long)]
    provider: Option<Name>,
    /// Only those of this account
    #[arg(long)]
    account: Option<Name>,
    /// Only those of this operation
    #[arg(long)]
    operation: Option<Name>,
    /// Only those with this reference of their publisher's
    #[arg(long)]
    reference: Option<String>,
    /// Only those given up as this: invalid, rejected, unavailable, expired, unresolved, poison; or unreadable
    #[arg(long)]
    kind: Option<WantedKind>,
    /// Only those with this code, the provider's or ferryd's own
    #[arg(long)]
    code: Option<String>,
    /// Only those whose last answer had this status
    #[arg(long, value_name = "STATUS")]
    http_status: Option<u16>,
    /// Only those that failed in this generation: 0 as published, 1 after a first replay
    #[arg(long)]
    generation: Option<u32>,
    /// Only those given up longer ago than this, such as 2h
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only those given up within this time
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    newer_than: Option<Duration>,
}

impl Which {
    /// The names of its arguments.
    const ALL: [&str; 12] = [
        "ids",
        "type",
        "provider",
        "account",
        "operation",
        "reference",
        "kind",
        "code",
        "http_status",
        "generation",
        "older_than",
        "newer_than",
    ];

    fn filter(self) -> Filter {
        let Self { r#type, provider, account, operation, reference, .. } = self;
        let Self { ids, kind, code, http_status, generation, older_than, newer_than, .. } = self;
        Filter {
            ids: ids.into_iter().collect(),
            r#type,
            provider,
            account,
            operation,
            reference,
            kind,
            code,
            http_status,
            generation,
            older_than,
            newer_than,
        }
    }
}
