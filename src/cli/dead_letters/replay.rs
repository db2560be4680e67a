//! `ferryd dead-letters replay`.

use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::super::actor;
use super::super::error::CommandError;
use super::super::jobs::start::{JobArguments, letter_choice};
use super::super::output::TerminalOutput;
use crate::web::job_order::{JobActionName, JobOrder};
use ferryd_domain::job::{FailureLimit, ReplayTerms};
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_settings::units::parse_duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters replay shop.order-1001.charge
  ferryd dead-letters replay --provider stripe --kind unavailable --canary --rate 20 --stop-at 5%
  ferryd dead-letters replay --all --dry-run
  ferryd dead-letters replay --provider twilio --kind expired --extend 1h
  ferryd dead-letters replay shop.order-7.payout --force-new-key --by ann --reason 'not at the bank, ticket 4711'

A replay starts the command's next generation. The daemon runs it as a job, which takes only what was given up
before it started, and which is followed to its end: Ctrl-C, or a terminal that is lost, leaves the job, which
goes on; with --stop it stops it. Each dead letter is removed after its replay was confirmed by the broker.
A call that may have acted is repeated only under its old key, while the provider remembers it.

Ends with 0 where all that was meant is done, else with 1: where some were refused or not found, the first one
or too many failed again, or it was interrupted.";

/// The arguments of `replay`.
#[derive(Debug, Args)]
#[command(group = letter_choice())]
pub struct ReplayDeadLetters {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    job: JobArguments,
    /// Send one first, wait for its end, and go on only where it completed or the provider accepted
    /// it
    #[arg(long)]
    canary: bool,
    /// The longest wait for the end of the first command
    #[arg(long, requires = "canary", value_parser = parse_duration, default_value = "2m")]
    canary_timeout: Duration,
    /// End by itself once more than this number, or this share, of the replayed commands have
    /// failed again
    #[arg(long, value_name = "LIMIT")]
    stop_at: Option<FailureLimit>,
    /// Give commands that have expired so much more time from their replay
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    extend: Option<Duration>,
    /// Send again under a new key even where a call may have acted: it may act twice
    #[arg(long, requires_all = ["by", "reason"])]
    force_new_key: bool,
    /// The person who decided [default: $USER, or the user who runs this]
    #[arg(long, value_name = "NAME", value_parser = actor::text)]
    by: Option<String>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: Option<String>,
}

impl ReplayDeadLetters {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self {
            filter,
            job,
            canary,
            canary_timeout,
            stop_at,
            extend,
            force_new_key,
            by,
            reason,
        } = self;
        let terms = ReplayTerms {
            extend_s: extend.map(whole_seconds),
            force_new_key,
            canary_s: canary.then(|| whole_seconds(canary_timeout)),
            stop_at,
        };
        let order = JobOrder::new(JobActionName::Replay, filter);
        let by = Some(by.unwrap_or_else(actor::user));
        job.run(JobOrder { replay: Some(terms), by, reason, ..order }, config, out)
    }
}

/// The seconds of a time, rounded up.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
