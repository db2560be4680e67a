//! `ferryd schema`: prints the JSON Schemas of documents that other programs and people write for
//! ferryd or read from it.

use clap::{Args, ValueEnum};

use super::error::CommandError;
use super::output::Output;
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
pub struct Schema {
    /// The document that the schema describes
    of: Subject,
}

/// The documents that have a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Subject {
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
    /// An event about a webhook call
    Callback,
    /// A record of the ledger
    Record,
    /// The HTTP API
    Openapi,
}

impl Schema {
    pub(super) fn run(self, out: &mut Output) -> Result<(), CommandError> {
        let schema = match self.of {
            Subject::Config => schema::config(),
            Subject::Provider => file_schema().clone(),
            Subject::Account => account_schema().clone(),
            Subject::Command => schema::command(),
            Subject::Event => schema::event(),
            Subject::Conflict => schema::conflict(),
            Subject::Callback => schema::callback(),
            Subject::Record => schema::record(),
            Subject::Openapi => openapi::document(),
        };
        Ok(out.json(&schema)?)
    }
}
