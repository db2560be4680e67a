//! `ferryd dead-letters resolve`.

use std::path::Path;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::Value;

use super::super::actor;
use super::super::error::CommandError;
use super::super::jobs::start::JobArguments;
use super::super::output::TerminalOutput;
use crate::web::job_order::{JobActionName, JobOrder};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::Resolution;
use ferryd_domain::name::Name;
use ferryd_ledger::command_filter::{CommandFilter, WantedKind, parse_past_time};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters resolve shop.order-1001.charge --completed --reference pi_3Q9 --reason 'seen in the dashboard'
  ferryd dead-letters resolve shop.order-7.payout --failed --code not_executed --by ann --reason 'the bank says so'
  ferryd dead-letters resolve --provider bank --older-than 7d --failed --reason 'ticket 4711: none was executed'

For commands whose outcome only a person can find out. Each ends as `completed`,
or as `failed` of kind `declined`, both final; its publisher is notified, and its dead letter removed.
The ledger notes who said so and why. The daemon runs it as a job, which is followed to its end: Ctrl-C, or a
terminal that is lost, leaves the job, which goes on; with --stop it stops it.

Ends with 0 where all that was meant is done, else with 1.";

/// The arguments of `resolve`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").args(["completed", "failed"]).required(true))]
pub struct ResolveDeadLetters {
    #[command(flatten)]
    filter: ResolvedFilter,
    /// The provider did it
    #[arg(long)]
    completed: bool,
    /// The provider's own id for what it did
    #[arg(long, value_name = "TEXT", requires = "completed")]
    reference: Option<String>,
    /// The result for subscribers, as JSON
    #[arg(long, value_name = "JSON", requires = "completed", value_parser = json_value)]
    result: Option<Value>,
    /// The provider did not do it, and will not: the command ends as declined
    #[arg(long)]
    failed: bool,
    /// A code for the reason [default: resolved]
    #[arg(long, value_name = "TEXT", requires = "failed")]
    code: Option<String>,
    /// The reason for the failure, for people
    #[arg(long, value_name = "TEXT", requires = "failed")]
    message: Option<String>,
    #[command(flatten)]
    job: JobArguments,
    /// The person who states the outcome
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = actor::text)]
    by: String,
    /// The source of that knowledge
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: String,
}

/// The part of a [`CommandFilter`] that leaves `--reference` and `--code` for the outcome of the
/// commands.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("meant").args(RESOLVED_FILTER).multiple(true).required(true))]
struct ResolvedFilter {
    /// Only those with one of these ids
    #[arg(value_name = "ID")]
    ids: Vec<CommandId>,
    /// Only those of this type, such as payment
    #[arg(long)]
    r#type: Option<Name>,
    /// Only those of this provider, which need not be configured any more
    #[arg(long)]
    provider: Option<Name>,
    /// Only those of this account
    #[arg(long)]
    account: Option<Name>,
    /// Only those of this operation
    #[arg(long)]
    operation: Option<Name>,
    /// Only those that failed as this, such as unresolved
    #[arg(long)]
    kind: Option<WantedKind>,
    /// Only those that were given up longer ago than this, such as 36h, or before this time (RFC
    /// 3339)
    #[arg(long, value_name = "AGE", value_parser = parse_past_time)]
    older_than: Option<Timestamp>,
    /// Only those that were given up within this time, such as 2h, or at this time (RFC 3339) or
    /// later
    #[arg(long, value_name = "AGE", value_parser = parse_past_time)]
    newer_than: Option<Timestamp>,
}

/// The arguments that say which commands are resolved.
const RESOLVED_FILTER: [&str; 9] =
    ["all", "ids", "type", "provider", "account", "operation", "kind", "older_than", "newer_than"];

impl From<ResolvedFilter> for CommandFilter {
    fn from(filter: ResolvedFilter) -> Self {
        let ResolvedFilter {
            ids,
            r#type,
            provider,
            account,
            operation,
            kind,
            older_than,
            newer_than,
        } = filter;
        Self {
            ids,
            r#type,
            provider,
            account,
            operation,
            kind,
            older_than,
            newer_than,
            ..Self::default()
        }
    }
}

impl ResolveDeadLetters {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self {
            filter,
            completed,
            reference,
            result,
            failed: _,
            code,
            message,
            job,
            by,
            reason,
        } = self;
        let resolution = if completed {
            Resolution::Completed { reference, result }
        } else {
            Resolution::Failed { code: code.unwrap_or_else(|| "resolved".to_owned()), message }
        };
        let order = JobOrder::new(JobActionName::Resolve, filter.into());
        let order =
            JobOrder { resolution: Some(resolution), by: Some(by), reason: Some(reason), ..order };
        job.run(order, config, out)
    }
}

/// Reads a result that is given by hand.
fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))
}
