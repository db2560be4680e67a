//! `ferryd schema`: prints the JSON Schemas of documents that other programs and people write for
//! ferryd or read from it.

use clap::{Args, ValueEnum};

use super::error::CommandError;
use super::output::TerminalOutput;
use crate::schema;
use crate::web::openapi;
use ferryd_provider::{account_schema, file_schema};

const EXAMPLES: &str = "\
Examples:
  ferryd schema config > ferryd.schema.json
  ferryd schema provider > provider.schema.json
  ferryd schema event | jq '.properties.data'

An editor completes ferryd.toml with this as its first line:
  #:schema ./ferryd.schema.json";

/// The arguments of `ferryd schema`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SchemaArguments {
    /// The document that the schema describes
    of: SchemaSubject,
}

/// The documents that have a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum SchemaSubject {
    /// The configuration file
    Config,
    /// A provider file
    Provider,
    /// A file of an account of a provider
    Account,
    /// A command's body, as a core application publishes it
    Command,
    /// An event, as subscribers read it
    Event,
    /// An event about a contradiction
    Conflict,
    /// An event about a webhook
    Webhook,
    /// A record of the ledger
    Record,
    /// The HTTP API
    Openapi,
}

impl SchemaArguments {
    pub(super) fn run(self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let schema = match self.of {
            SchemaSubject::Config => schema::config(),
            SchemaSubject::Provider => file_schema().clone(),
            SchemaSubject::Account => account_schema().clone(),
            SchemaSubject::Command => schema::command(),
            SchemaSubject::Event => schema::event(),
            SchemaSubject::Conflict => schema::conflict(),
            SchemaSubject::Webhook => schema::webhook(),
            SchemaSubject::Record => schema::record(),
            SchemaSubject::Openapi => openapi::document(),
        };
        Ok(out.json(&schema)?)
    }
}
