//! `ferryd check`: prints a summary of the configuration, or every fault in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde::Serialize;
use url::Url;

use super::certificates::examine_certificates;
use super::credentials::{TriedCredentials, try_credentials};
use super::error::CommandError;
use super::loaded_config::{self, LoadedConfig};
use super::output::{TerminalOutput, TextTable};
use super::plaintext::describe_plaintext;
use super::provider_folder::warn_of_folders;
use super::retained_data::{self, RetainedData, kept_data};
use super::token_scopes;
use crate::config::{AmqpUri, Config};
use ferryd_broker::connection::AmqpSettings;
use ferryd_provider::{Provider, ProviderLink};
use ferryd_transport::handshake::try_handshake;

const EXAMPLES: &str = "\
Examples:
  ferryd check
  ferryd check --config ./ferryd.toml
  ferryd check --connect
  ferryd check --json | jq -r '.warnings[]'

Without --connect nothing is connected to. With it the broker is logged in to, TCP and TLS are tried with every provider,
and the credentials of each account are tried where the provider file has a harmless request for it (`verification`);
nothing else is called. Ends with 3 where something is wrong, refused credentials too, and with 4 where something cannot
be reached.";

/// The most handshakes at the same time.
const HANDSHAKES_AT_ONCE: usize = 8;

/// The arguments of `ferryd check`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CheckArguments {
    /// Print JSON: `ok`, `file`, `broker`, `providers`, `kept`, `warnings`, `faults`, `reached`,
    /// `credentials`
    #[arg(long)]
    json: bool,
    /// Also try the broker, TLS with every provider, and credentials
    #[arg(long)]
    connect: bool,
}

/// The findings, as JSON.
#[derive(Debug, Default, Serialize)]
struct CheckReport {
    ok: bool,
    /// The configuration file; absent where there is none.
    file: Option<PathBuf>,
    /// The broker's addresses, without their passwords.
    broker: Option<String>,
    providers: Vec<ProviderSummary>,
    /// The data that is kept, and for how long.
    kept: Vec<RetainedData>,
    warnings: Vec<String>,
    faults: Vec<String>,
    /// The hosts that were tried with `--connect`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<ReachResult>,
    /// The result of trying the credentials of each account, with `--connect`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    credentials: Vec<TriedCredentials>,
}

/// The result of connecting to the broker or a provider.
#[derive(Debug, Serialize)]
struct ReachResult {
    what: String,
    address: String,
    /// The reason of a failure; absent where the connection succeeded.
    error: Option<String>,
}

/// The summary of a provider.
#[derive(Debug, Serialize)]
struct ProviderSummary {
    name: String,
    r#type: String,
    operations: Vec<String>,
}

impl CheckArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let file = Config::file(config)?;
        let report = match LoadedConfig::load(config) {
            Ok(setup) => {
                let mut report = CheckReport::of(file, &setup.config, &setup.providers());
                if self.connect {
                    report.reach(&setup)?;
                }
                report
            }
            Err(error) if self.json => {
                CheckReport { file, faults: error.lines(), ..CheckReport::default() }
            }
            Err(error) => return Err(error),
        };
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        match (report.ok, self.json) {
            (true, _) if report.is_in_doubt() => {
                Err(CommandError::Reported(super::ExitStatus::Unreachable))
            }
            (true, _) => Ok(()),
            (false, true) => Err(CommandError::Reported(super::ExitStatus::Configuration)),
            (false, false) => Err(CommandError::Providers(report.faults)),
        }
    }
}

impl CheckReport {
    fn of(file: Option<PathBuf>, config: &Config, providers: &[&Provider]) -> Self {
        let mut faults = loaded_config::cross_file_faults(config, providers);
        let certificates = examine_certificates(config, providers, Timestamp::now());
        faults.extend(certificates.faults);
        Self {
            ok: faults.is_empty(),
            file,
            broker: Some(
                config
                    .amqp
                    .addresses()
                    .iter()
                    .map(AmqpUri::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
            ),
            providers: providers.iter().map(|provider| ProviderSummary::of(provider)).collect(),
            kept: kept_data(config, providers),
            warnings: warn_of_folders(config, providers)
                .into_iter()
                .chain(describe_plaintext(config))
                .chain(certificates.warnings)
                .chain(token_scopes::warn_of_unbound_tokens(config, providers))
                .chain(providers.iter().flat_map(|provider| warnings(config, provider)))
                .collect(),
            faults,
            reached: Vec::new(),
            credentials: Vec::new(),
        }
    }

    /// Returns true where a host could not be reached, or its answer leaves the result open.
    fn is_in_doubt(&self) -> bool {
        self.reached.iter().any(|reached| reached.error.is_some())
            || self.credentials.iter().any(TriedCredentials::is_in_doubt)
    }

    /// Connects to every host that the daemon would connect to, and tries the credentials for its
    /// calls.
    fn reach(&mut self, setup: &LoadedConfig) -> Result<(), CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (broker, providers, credentials) = runtime.block_on(async {
            tokio::join!(
                reach_broker(setup),
                reach_providers(setup),
                try_credentials(setup.providers())
            )
        });
        self.reached = broker.into_iter().chain(providers).collect();
        self.faults.extend(credentials.iter().filter_map(TriedCredentials::fault));
        self.ok = self.faults.is_empty();
        self.credentials = credentials;
        Ok(())
    }

    fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let file = self
            .file
            .as_ref()
            .map_or("none: defaults and environment".to_owned(), |path| path.display().to_string());
        out.line(format!("configuration  {file}"))?;
        out.line(format!("broker         {}", self.broker.as_deref().unwrap_or_default()))?;
        out.print_blank_line()?;
        let mut table = TextTable::new(["PROVIDER", "TYPE", "OPERATIONS"]);
        for ProviderSummary { name, r#type, operations } in &self.providers {
            table.row([name, r#type, &operations.join(", ")]);
        }
        out.table(&table)?;
        out.print_blank_line()?;
        out.table(&retained_data::retention_table(&self.kept))?;
        if !self.warnings.is_empty() {
            out.print_blank_line()?;
        }
        for warning in &self.warnings {
            out.line(format!("warning: {warning}"))?;
        }
        if !self.reached.is_empty() {
            out.print_blank_line()?;
            let mut table = TextTable::new(["TRIED", "AT", "RESULT"]);
            for ReachResult { what, address, error } in &self.reached {
                table.row([what.as_str(), address, error.as_deref().unwrap_or("reached")]);
            }
            out.table(&table)?;
        }
        if !self.credentials.is_empty() {
            out.print_blank_line()?;
            let mut table = TextTable::new(["CREDENTIALS OF", "ACCOUNT", "RESULT"]);
            for tried in &self.credentials {
                table.row([tried.provider.as_str(), &tried.account, &tried.describe()]);
            }
            out.table(&table)?;
        }
        if self.ok && !self.is_in_doubt() {
            out.print_blank_line()?;
            out.line(match self.warnings.len() {
                0 => "all is well".to_owned(),
                1 => "no fault, and one warning".to_owned(),
                warnings => format!("no fault, and {warnings} warnings"),
            })?;
        }
        Ok(())
    }
}

/// Logs in to each node of the broker.
async fn reach_broker(setup: &LoadedConfig) -> Vec<ReachResult> {
    let amqp = AmqpSettings::from(&setup.config.amqp);
    let mut reached = Vec::new();
    for node in amqp.each_node() {
        let error = match node.connect("check").await {
            Ok(connection) => node.check_user(&connection).await.err(),
            Err(error) => Some(error),
        };
        let error = error.map(|error| error.to_string());
        reached.push(ReachResult { what: "broker".to_owned(), address: node.address(), error });
    }
    reached
}

/// Makes a TLS handshake with every host of every provider, several at a time.
async fn reach_providers(setup: &LoadedConfig) -> Vec<ReachResult> {
    let of_provider = |provider| hosts(provider).into_iter().map(move |url| (provider, url));
    let hosts: Vec<(&Provider, Url)> =
        setup.providers().into_iter().flat_map(of_provider).collect();
    let reached = hosts.into_iter().map(|(provider, url)| async move {
        let error = try_handshake(&url, &provider.http).await.err().map(|error| error.to_string());
        ReachResult { what: provider.name.to_string(), address: url.to_string(), error }
    });
    stream::iter(reached).buffered(HANDSHAKES_AT_ONCE).collect().await
}

/// Returns one address for each host that a provider's accounts call.
fn hosts(provider: &Provider) -> Vec<Url> {
    let mut hosts: Vec<Url> = Vec::new();
    // The login at a broker is tried with the credentials.
    let by_https =
        provider.accounts.values().filter(|account| matches!(account.link, ProviderLink::Https));
    for account in by_https {
        let token_endpoint =
            account.adapter.build_token_request(Duration::ZERO).map(|request| request.url);
        for url in std::iter::once(account.base_url.clone()).chain(token_endpoint) {
            if !hosts.iter().any(|known| known.origin() == url.origin()) {
                hosts.push(url);
            }
        }
    }
    hosts
}

fn warnings(config: &Config, provider: &Provider) -> impl Iterator<Item = String> {
    loaded_config::warnings(config, provider)
        .into_iter()
        .chain(loaded_config::warn_unheard_webhooks(config, provider))
}

impl ProviderSummary {
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
    use std::time::Duration;

    use super::*;
    use crate::cli::fixture;

    fn short_window_config() -> Config {
        let mut config = Config::default();
        config.ledger.duplicate_window = Duration::from_hours(9 * 24);
        config
    }

    #[test]
    fn a_report_lists_providers_warnings_and_faults() {
        let (payments, messages) = (fixture::payments(), fixture::called_back(fixture::messages()));
        let report = CheckReport::of(
            Some("/etc/ferryd/ferryd.toml".into()),
            &short_window_config(),
            &[&messages, &payments],
        );
        assert!(!report.ok);
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn a_report_reads_well() {
        let report = CheckReport::of(
            None,
            &short_window_config(),
            &[&fixture::called_back(fixture::messages())],
        );
        let printed = fixture::printed(|out| report.print(out).unwrap());
        insta::assert_snapshot!(printed);
    }
}
