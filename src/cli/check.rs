//! `ferryd check`: what the configuration amounts to, or everything that is wrong with it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::CommandError;
use super::output::{Output, Table};
use super::setup::{self, Setup};
use crate::config::Config;
use crate::provider::Provider;

const EXAMPLES: &str = "\
Examples:
  ferryd check
  ferryd check --config ./ferryd.toml
  ferryd check --json | jq -r '.warnings[]'

Nothing is connected to. Ends with 3 where something is wrong.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Print JSON: `ok`, `file`, `broker`, `providers`, `warnings`, `faults`
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// The configuration file; absent where there is none.
    file: Option<PathBuf>,
    /// The broker's address, without its password.
    broker: Option<String>,
    providers: Vec<Found>,
    warnings: Vec<String>,
    faults: Vec<String>,
}

/// A provider, in short.
#[derive(Debug, Serialize)]
struct Found {
    name: String,
    r#type: String,
    operations: Vec<String>,
}

impl Check {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let file = Config::file(config)?;
        let report = match Setup::load(config) {
            Ok(setup) => Report::of(file, &setup.config, &setup.providers()),
            Err(error) if self.json => Report { file, faults: error.lines(), ..Report::default() },
            Err(error) => return Err(error),
        };
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        match (report.ok, self.json) {
            (true, _) => Ok(()),
            (false, true) => Err(CommandError::Told(super::Exit::Configuration)),
            (false, false) => Err(CommandError::Providers(report.faults)),
        }
    }
}

impl Report {
    fn of(file: Option<PathBuf>, config: &Config, providers: &[&Provider]) -> Self {
        let faults = setup::refusals(config, providers);
        Self {
            ok: faults.is_empty(),
            file,
            broker: Some(config.amqp.uri.to_string()),
            providers: providers.iter().map(|provider| Found::of(provider)).collect(),
            warnings: providers.iter().flat_map(|provider| setup::warnings(provider)).collect(),
            faults,
        }
    }

    fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        let file =
            self.file.as_ref().map_or("none: defaults and environment".to_owned(), |path| path.display().to_string());
        out.line(format!("configuration  {file}"))?;
        out.line(format!("broker         {}", self.broker.as_deref().unwrap_or_default()))?;
        out.line("")?;
        let mut table = Table::new(["PROVIDER", "TYPE", "OPERATIONS"]);
        for Found { name, r#type, operations } in &self.providers {
            table.row([name, r#type, &operations.join(", ")]);
        }
        out.table(&table)?;
        if !self.warnings.is_empty() {
            out.line("")?;
        }
        for warning in &self.warnings {
            out.line(format!("warning: {warning}"))?;
        }
        if self.ok {
            out.line("\nall is well")?;
        }
        Ok(())
    }
}

impl Found {
    fn of(provider: &Provider) -> Self {
        Self {
            name: provider.name.to_string(),
            r#type: provider.kind.to_string(),
            operations: provider.operations.keys().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    #[test]
    fn a_report_tells_providers_warnings_and_faults() {
        let (payments, messages) = (fixture::payments(), fixture::messages());
        let report = Report::of(Some("/etc/ferryd/ferryd.toml".into()), &Config::default(), &[&messages, &payments]);
        assert!(!report.ok);
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn a_report_reads_well() {
        let report = Report::of(None, &Config::default(), &[&fixture::messages()]);
        let printed = fixture::printed(|out| report.print(out).unwrap());
        insta::assert_snapshot!(printed);
    }
}
