//! `ferryd webhook`: verifies, signs and sends webhook calls of a provider.
//!
//! Only `send` connects to anything.

mod body;
pub(crate) mod captured;
mod endpoint;
mod send;
mod sign;
mod verify;

use std::path::Path;

use clap::Subcommand;

use super::error::CommandError;
use super::output::Output;
use super::setup::Setup;

/// Verify, sign and send webhook calls of providers.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Verify a captured call step by step
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Verify),
    /// Sign a call as the provider would, nothing sent
    #[command(after_help = sign::EXAMPLES)]
    Sign(sign::Sign),
    /// Sign a body as the provider would, and send it to a running daemon
    #[command(after_help = send::EXAMPLES)]
    Send(send::Send),
}

impl Webhook {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let setup = Setup::load(config)?;
        match self {
            Self::Verify(command) => command.run(&setup, out),
            Self::Sign(command) => command.run(&setup, out),
            Self::Send(command) => command.run(&setup, out),
        }
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
