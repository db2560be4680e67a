//! `ferryd jobs`: actions on many dead letters, which the daemon runs.

mod follow;
mod requests;
pub(super) mod start;

use std::path::Path;

use clap::{Args, Subcommand};

use self::follow::{JobFollow, print_job};
use self::requests::{change_job, find_job};
use super::actor::text;
use super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::error::CommandError;
use super::format::format_time;
use super::output::{TerminalOutput, TextTable};
use crate::web::jobs::JobList;
use ferryd_domain::job::JobId;

const LIST_EXAMPLES: &str = "\
Examples:
  ferryd jobs list
  ferryd jobs list --limit 20 --json";

const SHOW_EXAMPLES: &str = "\
Examples:
  ferryd jobs show 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55
  ferryd jobs show 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55 --json";

const PAUSE_EXAMPLES: &str = "\
Examples:
  ferryd jobs pause 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55 --reason 'the provider is slow'";

const RESUME_EXAMPLES: &str = "\
Examples:
  ferryd jobs resume 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55";

const STOP_EXAMPLES: &str = "\
Examples:
  ferryd jobs stop 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55 --reason 'the wrong filter'";

const FOLLOW_EXAMPLES: &str = "\
Examples:
  ferryd jobs follow 0199b0f2-6f0c-7c31-8d0a-2f6f3a9e1c55

Ctrl-C, or a terminal that is lost, leaves the job, which goes on; with --stop it stops it.
Ends with 0 where all that was meant is done, else with 1.";

/// Look at jobs, which act on many dead letters, and pause, resume or stop them.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// List jobs, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(ListJobs),
    /// Show how far a job is, what it refused, and why it ended
    #[command(after_help = SHOW_EXAMPLES)]
    Show(JobArgument),
    /// Follow a job to its end
    #[command(after_help = FOLLOW_EXAMPLES)]
    Follow(FollowJob),
    /// Pause a job
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(JobChangeArgument),
    /// Resume a paused job
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(JobChangeArgument),
    /// End a job: what is under way is finished, and what is left stays as it is
    #[command(after_help = STOP_EXAMPLES)]
    Stop(JobChangeArgument),
}

/// The arguments of `list`.
#[derive(Debug, Args)]
pub struct ListJobs {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u16,
    /// List the jobs behind this one: the `next` of the page before
    #[arg(long, value_name = "JOB")]
    cursor: Option<JobId>,
    /// Print JSON: `jobs` and `next`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArguments,
}

/// A job, and how it is shown.
#[derive(Debug, Args)]
pub struct JobArgument {
    /// The job
    #[arg(value_name = "JOB")]
    id: JobId,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArguments,
}

/// The arguments of `follow`.
#[derive(Debug, Args)]
pub struct FollowJob {
    #[command(flatten)]
    job: JobArgument,
    /// Let Ctrl-C stop the job, and not only leave it
    #[arg(long)]
    stop: bool,
}

/// The arguments of what changes a job.
#[derive(Debug, Args)]
pub struct JobChangeArgument {
    #[command(flatten)]
    job: JobArgument,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
}

impl JobCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        match self {
            Self::List(list) => list.run(config, out),
            Self::Show(job) => {
                let client = ApiClient::open(&job.api, config)?;
                let view = find_job(&client, job.id)?;
                if job.json { Ok(out.json(&view)?) } else { print_job(&view, out) }
            }
            Self::Follow(FollowJob { job, stop }) => {
                let client = ApiClient::open(&job.api, config)?;
                let view = find_job(&client, job.id)?;
                JobFollow { client: &client, stops: stop, json: job.json }.run(view, out)
            }
            Self::Pause(change) => change.run("pause", config, out),
            Self::Resume(change) => change.run("resume", config, out),
            Self::Stop(change) => change.run("stop", config, out),
        }
    }
}

impl ListJobs {
    fn run(self, config: Option<&Path>, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let client = ApiClient::open(&self.api, config)?;
        let request =
            ApiRequest::get(["jobs"]).with("limit", Some(self.limit)).with("cursor", self.cursor);
        let page: JobList = client.send_request(&request)?;
        if self.json {
            return Ok(out.json(&page)?);
        }
        if page.jobs.is_empty() {
            return Ok(out.line("no jobs")?);
        }
        let mut table =
            TextTable::new(["JOB", "ACTION", "PHASE", "DONE", "OF", "REFUSED", "STARTED", "BY"]);
        for job in &page.jobs {
            let state = &job.state;
            table.row([
                job.id.to_string(),
                state.spec.action.as_str().to_owned(),
                follow::describe_state(job),
                job.done.to_string(),
                state.progress.total.map_or_else(String::new, |total| total.to_string()),
                state.progress.refused.to_string(),
                format_time(state.started_at),
                state.spec.actor.by.clone(),
            ]);
        }
        out.table(&table)?;
        if let Some(next) = page.next {
            out.line(format!("more: --cursor {next}"))?;
        }
        Ok(())
    }
}

impl JobChangeArgument {
    fn run(
        self,
        what: &'static str,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let JobArgument { id, json, api } = self.job;
        let client = ApiClient::open(&api, config)?;
        let view = change_job(&client, id, what, self.reason.as_deref())?;
        if json {
            return Ok(out.json(&view)?);
        }
        Ok(out.line(format!("{id} {}", follow::describe_state(&view)))?)
    }
}
