//! The command line: one file for each subcommand.
//!
//! Each subcommand reads its arguments, does its work, and prints to the [`TerminalOutput`] it is
//! given. Failures are [`CommandError`]s, which know their [`ExitStatus`] code; only `main` prints
//! them and ends the process.

mod actor;
mod api_client;
mod calls;
mod cancel;
mod certificates;
mod check;
mod command_checks;
mod commands;
mod completions;
mod context;
mod credentials;
mod dead_letters;
mod erase;
pub mod error;
mod event_line;
mod events;
pub mod exit_status;
#[cfg(test)]
mod fixture;
mod format;
mod interrupt;
mod jobs;
mod ledger;
mod ledger_retention;
pub mod loaded_config;
mod lookup;
pub mod output;
mod plaintext;
mod progress;
mod provider;
mod provider_folder;
mod publish;
mod publish_result;
mod publishers;
mod render_request;
mod replicas;
mod retained_data;
pub mod run;
mod sandbox;
mod schema;
mod status;
mod test_provider;
mod token;
mod token_scopes;
mod topology;
pub mod usage;
pub(crate) mod webhook;

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use error::CommandError;
pub use exit_status::ExitStatus;
pub use output::TerminalOutput;

const CONFIG_HELP: &str =
    "The configuration file [default: $FERRYD_CONFIG, else /etc/ferryd/ferryd.toml if it exists]";

/// Carries integration commands from RabbitMQ to HTTPS providers, and carries the answers back.
#[derive(Debug, Parser)]
#[command(name = "ferryd", bin_name = "ferryd", version, max_term_width = 110, after_help = exit_status::HELP)]
pub struct CliArguments {
    /// The configuration file; without it the one that
    /// [`Config::load`](crate::config::Config::load) finds.
    #[arg(long, global = true, value_name = "FILE", help = CONFIG_HELP)]
    pub config: Option<PathBuf>,
    /// The subcommand to run.
    #[command(subcommand)]
    pub command: CliCommand,
}

/// The subcommands of ferryd.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the daemon: carry out commands until stopped
    Run(run::RunArguments),
    /// Read the configuration and every provider file, and report their contents or what is wrong
    Check(check::CheckArguments),
    /// Publish commands, and wait for their ends
    Publish(publish::PublishArguments),
    /// Follow events as they are published
    Events(events::EventArguments),
    /// Show the requests that were sent for a command, and their answers
    Calls(calls::CallArguments),
    /// Show what happened to a command, and what comes next
    Status(status::StatusArguments),
    /// List commands, newest first
    Commands(commands::CommandListArguments),
    /// Cancel a command that was not sent to its provider yet
    Cancel(cancel::CancelArguments),
    /// Erase the contents of commands that have ended, such as personal data
    Erase(erase::EraseArguments),
    /// Ask providers about commands whose outcome is unknown
    Lookup(lookup::LookupArguments),
    /// Follow the ledger, compare its index with it, or make the index anew
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Look at dead letters, replay, resolve or discard them
    #[command(subcommand, visible_alias = "dead")]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Look at jobs, which act on many dead letters, and pause, resume or stop them
    #[command(subcommand)]
    Jobs(jobs::JobCommand),
    /// Print or declare the exchanges, queues and bindings that ferryd works with
    #[command(subcommand)]
    Topology(topology::TopologyCommand),
    /// Look at the configured providers
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Verify, sign and send webhooks of providers
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Print the token with which this host uses the HTTP API
    Token(token::TokenArguments),
    /// Run a local provider over HTTPS, for demonstrations and tests
    Sandbox(sandbox::SandboxArguments),
    /// Print a JSON Schema, for editors and other programs
    Schema(schema::SchemaArguments),
    /// Print a completion script for a shell
    Completions(completions::CompletionArguments),
}

impl CliArguments {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Every error of the subcommand.
    pub fn run(self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let config = self.config.as_deref();
        match self.command {
            CliCommand::Run(command) => command.run(config),
            CliCommand::Check(command) => command.run(config, out),
            CliCommand::Publish(command) => command.run(config, out),
            CliCommand::Events(command) => command.run(config, out),
            CliCommand::Calls(command) => command.run(config, out),
            CliCommand::Status(command) => command.run(config, out),
            CliCommand::Commands(command) => command.run(config, out),
            CliCommand::Cancel(command) => command.run(config, out),
            CliCommand::Erase(command) => command.run(config, out),
            CliCommand::Lookup(command) => command.run(config, out),
            CliCommand::Ledger(command) => command.run(config, out),
            CliCommand::DeadLetters(command) => command.run(config, out),
            CliCommand::Jobs(command) => command.run(config, out),
            CliCommand::Topology(command) => command.run(config, out),
            CliCommand::Provider(command) => command.run(config, out),
            CliCommand::Webhook(command) => command.run(config, out),
            CliCommand::Token(command) => command.run(config, out),
            CliCommand::Sandbox(command) => command.run(out),
            CliCommand::Schema(command) => command.run(out),
            CliCommand::Completions(command) => command.run(Self::command(), out),
        }
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
