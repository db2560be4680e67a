//! The command line: one file for each subcommand.
//!
//! Each subcommand reads its arguments, does its work, and prints to the [`Output`] it is given.
//! Failures are [`CommandError`]s, which know their [`Exit`] code; only `main` prints them and ends
//! the process.

mod api_client;
mod cancel;
mod certificates;
mod check;
mod command_checks;
mod commands;
mod completions;
mod credentials;
mod dead_letters;
mod desk;
mod erase;
pub mod error;
mod event_line;
mod events;
mod exchanges;
pub mod exit;
#[cfg(test)]
mod fixture;
mod interrupt;
mod jobs;
mod kept;
mod ledger;
mod ledger_retention;
mod lookup;
pub mod output;
mod person;
mod plaintext;
mod progress;
mod provider;
mod provider_folder;
mod publish;
mod published;
mod publishers;
mod replicas;
pub mod run;
mod sandbox;
mod schema;
pub mod setup;
mod status;
mod test_provider;
mod token;
mod token_scopes;
mod topology;
mod try_provider;
pub mod usage;
pub(crate) mod webhook;
mod wording;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use error::CommandError;
pub use exit::Exit;
pub use output::Output;

const CONFIG_HELP: &str = "The configuration file [default: $FERRYD_CONFIG, else /etc/ferryd/ferryd.toml if it exists]";

/// Carries integration commands from RabbitMQ to HTTPS providers, and carries the answers back.
#[derive(Debug, Parser)]
#[command(name = "ferryd", bin_name = "ferryd", version, max_term_width = 110, after_help = exit::HELP)]
pub struct Cli {
    /// The configuration file; without it the one that [`Config::load`](crate::config::Config::load) finds.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub config: Option<PathBuf>,
    /// The subcommand to run.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of ferryd.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon: carry commands until told to stop
    Run(run::Run),
    /// Read the configuration and every provider file, and say what they amount to or what is wrong
    Check(check::Check),
    /// Publish commands, and wait for their ends
    Publish(publish::Publish),
    /// Follow events as they are published
    Events(events::Events),
    /// Show the requests that were sent for a command, and their answers
    Exchanges(exchanges::Exchanges),
    /// Show what happened to a command, and what comes next
    Status(status::Status),
    /// List commands, newest first
    Commands(commands::Commands),
    /// Cancel a command that was not sent to its provider yet
    Cancel(cancel::Cancel),
    /// Erase the contents of commands that have ended, such as personal data
    Erase(erase::EraseArguments),
    /// Ask providers about commands whose outcome is unknown
    Lookup(lookup::Lookup),
    /// Follow the ledger, compare its index with it, or make the index anew
    #[command(subcommand)]
    Ledger(ledger::Ledger),
    /// Look at dead letters, replay, resolve or discard them
    #[command(subcommand, visible_alias = "dead")]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Look at jobs, which act on many dead letters, and pause, resume or stop them
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Print or declare the exchanges, queues and bindings that ferryd works with
    #[command(subcommand)]
    Topology(topology::Topology),
    /// Look at the configured providers
    #[command(subcommand)]
    Provider(provider::Provider),
    /// Verify, sign and send webhook calls of providers
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Print the token with which this host uses the HTTP API
    Token(token::TokenArguments),
    /// Run a local provider over HTTPS, for demonstrations and tests
    Sandbox(sandbox::Sandbox),
    /// Print a JSON Schema, for editors and other programs
    Schema(schema::Schema),
    /// Print a completion script for a shell
    Completions(completions::Completions),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Every error of the subcommand.
    pub fn run(self, out: &mut Output) -> Result<(), CommandError> {
        let config = self.config.as_deref();
        match self.command {
            Command::Run(command) => command.run(config),
            Command::Check(command) => command.run(config, out),
            Command::Publish(command) => command.run(config, out),
            Command::Events(command) => command.run(config, out),
            Command::Exchanges(command) => command.run(config, out),
            Command::Status(command) => command.run(config, out),
            Command::Commands(command) => command.run(config, out),
            Command::Cancel(command) => command.run(config, out),
            Command::Erase(command) => command.run(config, out),
            Command::Lookup(command) => command.run(config, out),
            Command::Ledger(command) => command.run(config, out),
            Command::DeadLetters(command) => command.run(config, out),
            Command::Jobs(command) => command.run(config, out),
            Command::Topology(command) => command.run(config, out),
            Command::Provider(command) => command.run(config, out),
            Command::Webhook(command) => command.run(config, out),
            Command::Token(command) => command.run(config, out),
            Command::Sandbox(command) => command.run(out),
            Command::Schema(command) => command.run(out),
            Command::Completions(command) => command.run(Self::command(), out),
        }
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
