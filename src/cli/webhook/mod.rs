//! `ferryd webhook`: verifies, signs and sends webhooks of a provider.
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
use super::loaded_config::LoadedConfig;
use super::output::TerminalOutput;

/// Verify, sign and send webhooks of providers.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Verify a captured call step by step
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::WebhookVerifyArguments),
    /// Sign a call as the provider would, nothing sent
    #[command(after_help = sign::EXAMPLES)]
    Sign(sign::WebhookSignArguments),
    /// Sign a body as the provider would, and send it to a running daemon
    #[command(after_help = send::EXAMPLES)]
    Send(send::WebhookSendArguments),
}

impl WebhookCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let setup = LoadedConfig::load(config)?;
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
