//! `ferryd dead-letters discard`.

use std::path::Path;

use clap::Args;

use super::super::actor;
use super::super::error::CommandError;
use super::super::jobs::start::{JobArguments, letter_choice};
use super::super::output::TerminalOutput;
use crate::web::job_order::{JobActionName, JobOrder};
use ferryd_ledger::command_filter::CommandFilter;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters discard shop.order-1001.charge --reason 'order was cancelled'
  ferryd dead-letters discard --provider twilio --older-than 7d --reason 'too late to send' --by ann
  ferryd dead-letters discard --all --reason 'test data' --dry-run

The daemon runs it as a job, which is followed to its end: Ctrl-C, or a terminal that is lost, leaves
the job, which goes on; with --stop it stops it. Each command ends with a final `failed` event of kind
`discarded` that says who and why; then its dead letter is removed.

Ends with 0 where all that was meant is done, else with 1.";

/// The arguments of `discard`.
#[derive(Debug, Args)]
#[command(group = letter_choice())]
pub struct DiscardDeadLetters {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    job: JobArguments,
    /// The person who decided
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = actor::text)]
    by: String,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: String,
}

impl DiscardDeadLetters {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { filter, job, by, reason } = self;
        let order = JobOrder::new(JobActionName::Discard, filter);
        job.run(JobOrder { by: Some(by), reason: Some(reason), ..order }, config, out)
    }
}
