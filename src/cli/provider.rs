//! `ferryd provider`: shows the settings of providers, with the times at which a failed call is
//! really repeated.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::error::CommandError;
use super::loaded_config::LoadedConfig;
use super::output::{TerminalOutput, TextTable};
use super::publishers;
use super::render_request::{self, RenderArguments};
use super::test_provider::{self, TestFile};
use ferryd_domain::retry::{RetryPolicy, Rung};
use ferryd_provider::{Operation, ProviderLink};
use ferryd_settings::units::{format_duration, format_size};

const LIST_EXAMPLES: &str = "\
Examples:
  ferryd provider list
  ferryd provider list --json | jq -r '.[].name'";

const SHOW_EXAMPLES: &str = "\
Examples:
  ferryd provider show stripe
  ferryd provider show stripe --json | jq '.operations[].retry'

The delays are those of the queues that failed commands wait in. With jitter a delay may be
that of the next shorter or longer queue. Accepted commands are polled, and doubtful calls looked up,
as far as the second table says; what is left then waits for a person. Secrets are never shown.";

/// Look at the configured providers.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// List every provider
    #[command(after_help = LIST_EXAMPLES)]
    List(ProviderListArguments),
    /// Show one provider: its operations, limits and the real retry schedule
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ProviderShowArguments),
    /// Render the request of an operation for a payload, secrets masked, nothing sent
    #[command(after_help = render_request::EXAMPLES)]
    Render(RenderArguments),
    /// Test a provider file against its examples, without its secrets, nothing sent
    #[command(after_help = test_provider::EXAMPLES)]
    Test(TestFile),
}

/// The arguments of `ferryd provider list`.
#[derive(Debug, Args)]
pub struct ProviderListArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The arguments of `ferryd provider show`.
#[derive(Debug, Args)]
pub struct ProviderShowArguments {
    /// The provider's name
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ProviderCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        match self {
            Self::List(ProviderListArguments { json }) => {
                list(&LoadedConfig::load(config)?, json, out)
            }
            Self::Show(ProviderShowArguments { name, json }) => {
                show(&LoadedConfig::load(config)?, &name, json, out)
            }
            Self::Render(command) => command.run(&LoadedConfig::load(config)?, out),
            Self::Test(command) => command.run(config, out),
        }
    }
}

fn list(setup: &LoadedConfig, json: bool, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let providers: Vec<_> =
        setup.registry.iter().map(|provider| DescribedProvider::new(provider)).collect();
    if json {
        return Ok(out.json(&providers)?);
    }
    let mut table = TextTable::new(["PROVIDER", "TYPE", "IN FLIGHT", "OPERATIONS"]);
    for provider in &providers {
        let operations: Vec<_> =
            provider.operations.iter().map(|operation| operation.name.as_str()).collect();
        table.row([
            &provider.name,
            &provider.r#type,
            &provider.max_in_flight.to_string(),
            &operations.join(", "),
        ]);
    }
    Ok(out.table(&table)?)
}

fn show(
    setup: &LoadedConfig,
    name: &str,
    json: bool,
    out: &mut TerminalOutput,
) -> Result<(), CommandError> {
    let described = DescribedProvider::new(setup.provider(name)?);
    if json { Ok(out.json(&described)?) } else { described.print(out) }
}

/// The settings of a provider, without secrets.
#[derive(Debug, Serialize)]
pub(super) struct DescribedProvider {
    name: String,
    r#type: String,
    /// The protocol by which the provider is reached.
    protocol: &'static str,
    accounts: Vec<String>,
    /// The AMQP users that may publish for each account; an account that is absent accepts commands
    /// of all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    publishers: BTreeMap<String, Vec<String>>,
    max_in_flight: u16,
    max_bytes_in_flight: usize,
    /// The group whose delay queue its retries wait in; absent where its delay queues are shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_group: Option<String>,
    connect_timeout: String,
    max_response_size: usize,
    ca_file: Option<String>,
    log_bodies: bool,
    log_mask: Vec<String>,
    /// The request or login by which `ferryd check --connect` tries credentials; absent where they
    /// are not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<String>,
    operations: Vec<DescribedOperation>,
}

/// The settings of an operation, without secrets.
#[derive(Debug, Serialize)]
struct DescribedOperation {
    name: String,
    /// The time for which the provider remembers an idempotency key; absent where it takes none.
    key_retention: Option<String>,
    repeatable: bool,
    /// The longest time for a call.
    timeout: String,
    retry: RetrySchedule,
    /// The longest time that the provider may take to finish what it has accepted.
    deadline: String,
    /// The polling of an accepted command; absent where there is none.
    poll: Option<DescribedPoll>,
    /// The lookup of calls; absent where there is none.
    lookup: Option<DescribedLookup>,
}

/// The polling of accepted commands.
#[derive(Debug, Serialize)]
struct DescribedPoll {
    interval: String,
    max_interval: String,
}

/// The lookup, and what its answers prove.
#[derive(Debug, Serialize)]
struct DescribedLookup {
    after: String,
    proves_absence: bool,
}

/// The times of calls while each one fails.
#[derive(Debug, Serialize)]
struct RetrySchedule {
    attempts: usize,
    delays: Vec<&'static str>,
    jitter: bool,
    /// The time from the first attempt to the last.
    span: String,
    give_up_after: String,
}

impl DescribedProvider {
    pub(super) fn new(provider: &ferryd_provider::Provider) -> Self {
        let operation =
            |(name, operation): (&_, &Operation)| DescribedOperation::new(name, operation);
        // All accounts of a provider are reached alike.
        let link = provider.accounts.values().next().map(|account| &account.link);
        let login = link.and_then(ProviderLink::verification).map(str::to_owned);
        Self {
            name: provider.name.to_string(),
            r#type: provider.kind.to_string(),
            protocol: link.map_or("none", ProviderLink::protocol),
            accounts: provider.accounts.keys().map(ToString::to_string).collect(),
            publishers: publishers::of_accounts(provider),
            max_in_flight: provider.max_in_flight,
            max_bytes_in_flight: provider.max_bytes_in_flight,
            retry_group: provider.retry_group.as_ref().map(ToString::to_string),
            connect_timeout: format_duration(provider.http.connect_timeout),
            max_response_size: provider.http.max_response_size,
            ca_file: provider.http.ca_file.as_ref().map(|path| path.display().to_string()),
            log_bodies: provider.log.bodies,
            log_mask: provider.log.mask.clone(),
            verification: provider.verification.clone().or(login),
            operations: provider.operations.iter().map(operation).collect(),
        }
    }

    pub(super) fn print(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let mask = if self.log_mask.is_empty() {
            "nothing more".to_owned()
        } else {
            self.log_mask.join(", ")
        };
        let calls = if self.accounts.len() > 1 { "calls per account" } else { "calls at a time" };
        out.heading(&self.name)?;
        for (key, value) in [
            ("type", self.r#type.as_str()),
            ("reached by", self.protocol),
            ("accounts", &self.accounts.join(", ")),
            ("publishers", &publishers::summary(&self.accounts, &self.publishers)),
            (calls, &self.max_in_flight.to_string()),
            ("bytes at a time", &format_size(self.max_bytes_in_flight)),
            ("retry group", self.retry_group.as_deref().unwrap_or("none")),
            ("connect timeout", &self.connect_timeout),
            ("largest response", &format_size(self.max_response_size)),
            ("trusts", self.ca_file.as_deref().unwrap_or("the system's authorities")),
            ("logs bodies", if self.log_bodies { "yes" } else { "no" }),
            ("masks", &mask),
            ("tries secrets by", self.verification.as_deref().unwrap_or("no request")),
        ] {
            out.line(format!("  {key:18}{value}"))?;
        }
        out.print_blank_line()?;
        let mut table = TextTable::new([
            "OPERATION",
            "IDEMPOTENCY KEY",
            "TIMEOUT",
            "ATTEMPTS",
            "DELAYS",
            "ALL WITHIN",
            "GIVEN UP AFTER",
        ]);
        for operation in &self.operations {
            table.row(operation.cells());
        }
        out.table(&table)?;
        out.print_blank_line()?;
        let mut table =
            TextTable::new(["OPERATION", "ACCEPTED FOR AT MOST", "POLLED", "LOOKED UP"]);
        for operation in &self.operations {
            table.row(operation.query_names());
        }
        Ok(out.table(&table)?)
    }
}

impl DescribedOperation {
    fn new(name: &impl ToString, operation: &Operation) -> Self {
        let retention =
            operation.idempotency.map(|idempotency| format_duration(idempotency.retention));
        Self {
            name: name.to_string(),
            key_retention: retention,
            repeatable: operation.repeatable,
            timeout: format_duration(operation.timeout),
            retry: RetrySchedule::of(&operation.retry),
            deadline: format_duration(operation.deadline),
            poll: operation.poll.map(|poll| DescribedPoll {
                interval: Rung::at_least(poll.interval).name().to_owned(),
                max_interval: format_duration(poll.max_interval.max(poll.interval)),
            }),
            lookup: operation.lookup.map(|lookup| DescribedLookup {
                after: format_duration(lookup.after),
                proves_absence: lookup.proves_absence,
            }),
        }
    }

    /// Describes the queries of the provider.
    fn query_names(&self) -> [String; 4] {
        let poll = self.poll.as_ref().map(|poll| {
            format!("first after {}, up to {} apart", poll.interval, poll.max_interval)
        });
        let lookup = self.lookup.as_ref().map(|lookup| {
            let worth = if lookup.proves_absence {
                "finding none proves none"
            } else {
                "finding none proves nothing"
            };
            format!("{} after the call; {worth}", lookup.after)
        });
        let or_no = |text: Option<String>| text.unwrap_or_else(|| "no".to_owned());
        [self.name.clone(), self.deadline.clone(), or_no(poll), or_no(lookup)]
    }

    fn cells(&self) -> [String; 7] {
        let key = match &self.key_retention {
            Some(retention) => format!("for {retention}"),
            None if self.repeatable => "not needed, repeating does no harm".to_owned(),
            None => "none".to_owned(),
        };
        let RetrySchedule { attempts, delays, jitter, span, give_up_after } = &self.retry;
        let jitter = if *jitter && !delays.is_empty() { " ± jitter" } else { "" };
        let delays = if delays.is_empty() { "-".to_owned() } else { delays.join(" ") };
        let delays = format!("{delays}{jitter}");
        let (attempts, timeout) = (attempts.to_string(), self.timeout.clone());
        [self.name.clone(), key, timeout, attempts, delays, span.clone(), give_up_after.clone()]
    }
}

impl RetrySchedule {
    /// Lists the rungs that the policy really takes within `give_up_after`, where calls take no
    /// time.
    fn of(policy: &RetryPolicy) -> Self {
        let (mut delays, mut span) = (Vec::new(), Duration::ZERO);
        for failed in 1.. {
            let Some(rung) = policy.next(failed, None, 0.5) else { break };
            if span + rung.duration() > policy.give_up_after {
                break;
            }
            span += rung.duration();
            delays.push(rung.name());
        }
        Self {
            attempts: delays.len() + 1,
            delays,
            jitter: policy.jitter,
            span: humantime::format_duration(span).to_string(),
            give_up_after: format_duration(policy.give_up_after),
        }
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
