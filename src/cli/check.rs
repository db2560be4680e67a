//! `ferryd check`: what the configuration amounts to, or everything that is wrong with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use url::Url;

use super::error::CommandError;
use super::kept::{self, KeptData, kept_data};
use super::output::{Output, Table};
use super::plaintext::describe_plaintext;
use super::setup::{self, Setup};
use super::token_scopes;
use crate::amqp::connection::AmqpSettings;
use crate::config::{AmqpUri, Config};
use crate::provider::Provider;
use crate::transport::handshake::handshake;

const EXAMPLES: &str = "\
Examples:
  ferryd check
  ferryd check --config ./ferryd.toml
  ferryd check --connect
  ferryd check --json | jq -r '.warnings[]'

Without --connect nothing is connected to. With it the broker is logged in to, and TCP and TLS are tried with every
provider; no provider is called. Ends with 3 where something is wrong, with 4 where something cannot be reached.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Check {
    /// Print JSON: `ok`, `file`, `broker`, `providers`, `kept`, `warnings`, `faults`, `reached`
    #[arg(long)]
    json: bool,
    /// Also try the broker, and TLS with every provider
    #[arg(long)]
    connect: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    /// The configuration file; absent where there is none.
    file: Option<PathBuf>,
    /// The broker's addresses, without their passwords.
    broker: Option<String>,
    providers: Vec<Found>,
    /// For how long what is kept.
    kept: Vec<KeptData>,
    warnings: Vec<String>,
    faults: Vec<String>,
    /// What was tried with `--connect`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<Reached>,
}

/// How reaching the broker or a provider went.
#[derive(Debug, Serialize)]
struct Reached {
    what: String,
    address: String,
    /// Why not; absent where it was reached.
    error: Option<String>,
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
            Ok(setup) => {
                let mut report = Report::of(file, &setup.config, &setup.providers());
                if self.connect {
                    report.reach(&setup)?;
                }
                report
            }
            Err(error) if self.json => Report { file, faults: error.lines(), ..Report::default() },
            Err(error) => return Err(error),
        };
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        match (report.ok, self.json) {
            (true, _) if report.reached.iter().any(|reached| reached.error.is_some()) => {
                Err(CommandError::Told(super::Exit::Broker))
            }
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
            broker: Some(config.amqp.addresses().iter().map(AmqpUri::to_string).collect::<Vec<_>>().join(", ")),
            providers: providers.iter().map(|provider| Found::of(provider)).collect(),
            kept: kept_data(config, providers),
            warnings: describe_plaintext(config)
                .into_iter()
                .chain(token_scopes::warn_of_unbound_tokens(config, providers))
                .chain(providers.iter().flat_map(|provider| warnings(config, provider)))
                .collect(),
            faults,
            reached: Vec::new(),
        }
    }

    /// Tries everything that the daemon would connect to.
    fn reach(&mut self, setup: &Setup) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        self.reached = runtime.block_on(async {
            let amqp = AmqpSettings::from(&setup.config.amqp);
            let mut reached = Vec::new();
            for node in amqp.each_node() {
                let error = match node.connect("check").await {
                    Ok(connection) => node.check_user(&connection).await.err(),
                    Err(error) => Some(error),
                };
                let error = error.map(|error| error.to_string());
                reached.push(Reached { what: "broker".to_owned(), address: node.address(), error });
            }
            for provider in setup.registry.iter() {
                for url in hosts(provider) {
                    let error = handshake(&url, &provider.http).await.err().map(|error| error.to_string());
                    reached.push(Reached { what: provider.name.to_string(), address: url.to_string(), error });
                }
            }
            reached
        });
        Ok(())
    }

    fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        let file =
            self.file.as_ref().map_or("none: defaults and environment".to_owned(), |path| path.display().to_string());
        out.line(format!("configuration  {file}"))?;
        out.line(format!("broker         {}", self.broker.as_deref().unwrap_or_default()))?;
        out.gap()?;
        let mut table = Table::new(["PROVIDER", "TYPE", "OPERATIONS"]);
        for Found { name, r#type, operations } in &self.providers {
            table.row([name, r#type, &operations.join(", ")]);
        }
        out.table(&table)?;
        out.gap()?;
        out.table(&kept::table(&self.kept))?;
        if !self.warnings.is_empty() {
            out.gap()?;
        }
        for warning in &self.warnings {
            out.line(format!("warning: {warning}"))?;
        }
        if !self.reached.is_empty() {
            out.gap()?;
            let mut table = Table::new(["TRIED", "AT", "RESULT"]);
            for Reached { what, address, error } in &self.reached {
                table.row([what.as_str(), address, error.as_deref().unwrap_or("reached")]);
            }
            out.table(&table)?;
        }
        if self.ok && self.reached.iter().all(|reached| reached.error.is_none()) {
            out.gap()?;
            out.line("all is well")?;
        }
        Ok(())
    }
}

/// One address for each host that a provider's accounts call.
fn hosts(provider: &Provider) -> Vec<Url> {
    let mut hosts: Vec<Url> = Vec::new();
    for account in provider.accounts.values() {
        let token_endpoint = account.adapter.token_request(Duration::ZERO).map(|request| request.url);
        for url in std::iter::once(account.base_url.clone()).chain(token_endpoint) {
            if !hosts.iter().any(|known| known.origin() == url.origin()) {
                hosts.push(url);
            }
        }
    }
    hosts
}

fn warnings(config: &Config, provider: &Provider) -> impl Iterator<Item = String> {
    setup::warnings(config, provider).into_iter().chain(setup::unheard(config, provider))
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

    fn forgetful() -> Config {
        let mut config = Config::default();
        config.ledger.enabled = false;
        config
    }

    #[test]
    fn a_report_tells_providers_warnings_and_faults() {
        let (payments, messages) = (fixture::payments(), fixture::messages());
        let report = Report::of(Some("/etc/ferryd/ferryd.toml".into()), &forgetful(), &[&messages, &payments]);
        assert!(!report.ok);
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn a_report_reads_well() {
        let report = Report::of(None, &forgetful(), &[&fixture::messages()]);
        let printed = fixture::printed(|out| report.print(out).unwrap());
        insta::assert_snapshot!(printed);
    }
}
