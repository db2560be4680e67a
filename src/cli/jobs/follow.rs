//! Following a job: with its progress, to its end.

use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use super::super::api_client::ApiClient;
use super::super::error::CommandError;
use super::super::exit_status::ExitStatus;
use super::super::format::format_time;
use super::super::interrupt;
use super::super::output::{TerminalOutput, TextTable};
use super::super::progress::ProgressCounter;
use super::requests::{change_job, find_job};
use crate::web::jobs::JobView;
use ferryd_domain::job::state::{JobEndReason, JobPhase};

/// The pause between two requests about a job.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Longest time for which requests to a silent daemon are repeated: it may be starting anew.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows a job.
pub(in crate::cli) struct JobFollow<'c> {
    pub client: &'c ApiClient,
    /// True where an interruption stops the job, and does not only leave it.
    pub stops: bool,
    pub json: bool,
}

impl JobFollow<'_> {
    /// Follows a job to its end, and prints that. An interruption leaves the job, which goes on.
    pub fn run(&self, mut job: JobView, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let signals = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let signals = signals.map_err(CommandError::Runtime)?;
        let interrupted = {
            let _entered = signals.enter();
            interrupt::token().map_err(CommandError::Runtime)?
        };
        let mut progress = ProgressCounter::new("dead letters", None);
        let mut heard = Instant::now();
        while job.phase != JobPhase::Ended {
            if interrupted.is_cancelled() && !self.stops {
                drop(progress);
                print_how_to_return(&job);
                return Err(CommandError::Reported(ExitStatus::Failed));
            }
            progress.show_progress_of(gone_through(&job), job.state.progress.total);
            sleep(ASK_EVERY);
            match self.ask_again(&job, &interrupted) {
                Ok(found) => (job, heard) = (found, Instant::now()),
                Err(_) if heard.elapsed() < PATIENCE => {}
                Err(error) => {
                    drop(progress);
                    print_how_to_return(&job);
                    return Err(error);
                }
            }
        }
        drop(progress);
        if self.json {
            out.json(&job)?;
        } else {
            print_job(&job, out)?;
        }
        let is_whole = job.state.progress.refused == 0 && without_letter(&job) == 0;
        let well = end_reason(&job) == Some(JobEndReason::Finished) && is_whole;
        if well { Ok(()) } else { Err(CommandError::Reported(ExitStatus::Failed)) }
    }

    /// Asks for the job as it is now; stops it, where an interruption does that.
    fn ask_again(
        &self,
        job: &JobView,
        interrupted: &CancellationToken,
    ) -> Result<JobView, CommandError> {
        if self.stops && interrupted.is_cancelled() && job.state.stopped.is_none() {
            return change_job(self.client, job.id, "stop", Some("interrupted"));
        }
        find_job(self.client, job.id)
    }
}

/// Says that the job goes on, and how to come back.
fn print_how_to_return(job: &JobView) {
    // Whoever lost the terminal does not see it.
    let _ = TerminalOutput::stderr().line(format!(
        "left the job, which goes on; `ferryd jobs follow {}` comes back to it",
        job.id
    ));
}

fn gone_through(job: &JobView) -> u64 {
    job.done.saturating_add(job.state.progress.closed).saturating_add(job.state.progress.refused)
}

/// The number of commands that an ended job was to act on by their ids and that had no dead letter
/// of the kind that was meant.
fn without_letter(job: &JobView) -> u64 {
    let progress = &job.state.progress;
    let named = u64::try_from(job.state.spec.filter.ids.len()).unwrap_or(u64::MAX);
    let met = gone_through(job).saturating_add(progress.not_found);
    // What ended early did not look for all of them.
    let has_looked =
        matches!(end_reason(job), Some(JobEndReason::Finished | JobEndReason::Incomplete));
    if has_looked { named.saturating_sub(met) } else { 0 }
}

fn end_reason(job: &JobView) -> Option<JobEndReason> {
    job.state.end.as_ref().map(|end| end.reason)
}

/// The state of a job, and the reason why it ended.
pub(super) fn describe_state(job: &JobView) -> String {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    match &job.state.end {
        Some(end) => format!(
            "ended: {}",
            word(serde_json::to_value(end.reason).unwrap_or_default()).replace('_', " ")
        ),
        None => word(serde_json::to_value(job.phase).unwrap_or_default()),
    }
}

/// Prints what is known of a job.
pub(super) fn print_job(job: &JobView, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let (state, progress) = (&job.state, &job.state.progress);
    out.heading(&format!("{} {}", state.spec.action.as_str(), job.id))?;
    // The ledger may not know all that the queues hold.
    let total = progress.total.filter(|total| *total >= gone_through(job));
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    let dry = if state.spec.dry_run { ", a dry run: nothing is changed" } else { "" };
    let pairs = [
        ("phase", Some(describe_state(job))),
        ("done", Some(format!("{}{total}{dry}", job.done))),
        (
            "closed",
            (progress.closed > 0)
                .then(|| format!("{}: their commands had ended or gone on", progress.closed)),
        ),
        ("refused", (progress.refused > 0).then(|| progress.refused.to_string())),
        ("not found", (progress.not_found > 0).then(|| progress.not_found.to_string())),
        (
            "no dead letter",
            Some(without_letter(job))
                .filter(|count| *count > 0)
                .map(|count| format!("{count} of those that were named")),
        ),
        ("ended well", (state.completed > 0).then(|| state.completed.to_string())),
        ("failed again", (state.failed_again > 0).then(|| state.failed_again.to_string())),
        ("started", Some(format!("{} {}", format_time(state.started_at), state.spec.actor))),
        ("ended", state.end.as_ref().map(|end| format_time(end.at))),
        ("because", state.end.as_ref().and_then(|end| end.detail.clone())),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            out.line(format!("  {name:16}{value}"))?;
        }
    }
    if !progress.refusals.is_empty() {
        out.print_blank_line()?;
        let mut table = TextTable::new(["REFUSED", "QUEUE", "WHY"]);
        for refusal in &progress.refusals {
            table.row([refusal.id.as_str(), &refusal.queue, &refusal.reason]);
        }
        out.table(&table)?;
    }
    for id in &progress.missing {
        out.line(format!("  in no queue: {id}"))?;
    }
    Ok(())
}
