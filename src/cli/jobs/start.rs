//! Starting a job and following it: the common part of `ferryd dead-letters replay`, `discard` and
//! `resolve`, and `ferryd lookup`.

use std::path::Path;

use clap::{ArgGroup, Args};
use jiff::Timestamp;

use super::super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::super::error::CommandError;
use super::super::output::TerminalOutput;
use super::follow::JobFollow;
use crate::web::job_order::JobOrder;
use crate::web::jobs::JobView;
use ferryd_domain::job::JobRate;
use ferryd_ledger::command_filter::{CommandFilter, parse_past_time};

/// The arguments by which a job on dead letters is started and followed.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::cli) struct JobArguments {
    /// All dead letters, also of providers that are not configured any more
    #[arg(long)]
    pub all: bool,
    /// At most so many a second
    #[arg(long, value_name = "N")]
    rate: Option<JobRate>,
    /// Begin with one a second and become faster, up to the rate
    #[arg(long)]
    ramp: bool,
    /// Leave alone what was given up after this time (RFC 3339), or so long ago and later, such as
    /// 2h [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_past_time)]
    cut_off: Option<Timestamp>,
    /// Change nothing, only count what would be done
    #[arg(long)]
    dry_run: bool,
    /// Let Ctrl-C stop the job, and not only leave it
    #[arg(long)]
    stop: bool,
    #[command(flatten)]
    pub api: ApiArguments,
    /// Print JSON: the job, as `ferryd jobs show --json` does
    #[arg(long)]
    pub json: bool,
}

/// Requires one of the arguments that select dead letters, so that no person replays everything by
/// accident.
pub(in crate::cli) fn letter_choice() -> ArgGroup {
    // Every dead letter has failed, and what contradicts one is no matter of a job.
    let arguments =
        CommandFilter::ARGUMENTS.into_iter().filter(|name| !["state", "conflicts"].contains(name));
    ArgGroup::new("meant").arg("all").args(arguments).multiple(true).required(true)
}

impl JobArguments {
    /// Starts a job, and follows it to its end.
    pub fn run(
        self,
        order: JobOrder,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { all, rate, ramp, cut_off, dry_run, stop, api, json } = self;
        let client = ApiClient::open(&api, config)?;
        let order = JobOrder { all, cut_off, rate, ramp, dry_run, ..order };
        let job: JobView = client.send_request(&ApiRequest::post(["jobs"]).with_body(&order))?;
        JobFollow { client: &client, stops: stop, json }.run(job, out)
    }

    /// Returns whether an argument says how a job is run.
    pub fn wants_job(&self) -> bool {
        let is_paced = self.rate.is_some() || self.ramp || self.cut_off.is_some();
        self.all || is_paced || self.dry_run || self.stop
    }
}
