//! Jobs: operators' actions on many dead letters, run by the daemon.
//!
//! Every instance looks for jobs that no instance runs, and claims them in the ledger; the first
//! claim counts. The owner goes through the queues of dead letters and acts on each that the job is
//! meant for. Acting is safe under a crash at every await: the record is the claim, what takes the
//! place of a dead letter is published and confirmed, then the dead letter is removed. So an
//! instance that takes a job over only has to go through what is left in the queues. At its end a
//! job is compared with the ledger, which knows the commands that the job was meant for.
//!
//! | module | what |
//! |---|---|
//! | `context`, `job_run` | the parts of the daemon that jobs use, and the state of one run |
//! | `run` | one job, from its claim to its end |
//! | `round` | one passage through the queues |
//! | `letter`, `replay`, `resolve`, `resubmit`, `lookup` | the action on one dead letter |
//! | `search` | the commands in the ledger that a job is meant for |
//! | `stop`, `pace` | the reasons to stop, and the rate |

mod context;
mod job_run;
mod letter;
mod lookup;
mod pace;
mod replay;
mod resolve;
mod resubmit;
mod round;
mod run;
mod search;
mod stop;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::context::JobContext;
use self::context::silence;
use self::job_run::JobRun;
use ferryd_domain::job::JobId;
use ferryd_domain::job::state::JobPhase;
use ferryd_ledger::jobs::LiveJob;
/// Time between two looks for jobs that no instance runs, while no record of a job arrives.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Claims and runs jobs until `stop` is cancelled.
pub async fn run_jobs(context: Arc<JobContext>, stop: CancellationToken) {
    let mut runs = JoinSet::new();
    let mut running: HashMap<JobId, AbortHandle> = HashMap::new();
    let mut news = context.ledger.job_news();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = context.pipeline.ledger_gate.wait_until_ready() => {}
        }
        news.mark_unchanged();
        running.retain(|_, run| !run.is_finished());
        for job in context.ledger.live_jobs() {
            if running.contains_key(&job.id) || !is_claimable(&job) {
                continue;
            }
            // Where ferryd stops first, another instance claims it.
            let Ok(claimed) = context.claim(&job).await else { break };
            if let Some(term) = claimed {
                info!(job.id = %job.id, term, action = job.state.spec.action.as_str(), "running a job");
                let run = JobRun::new(Arc::clone(&context), job.id, term, &job.state);
                running.insert(job.id, runs.spawn(Arc::new(run).run()));
            }
        }
        sleep(LOOK_PAUSE).await;
        tokio::select! {
            () = stop.cancelled() => break,
            // The sender lives as long as the ledger.
            _ = news.changed() => {}
            () = sleep(LOOK_EVERY) => {}
        }
        while runs.try_join_next().is_some() {}
    }
    while runs.join_next().await.is_some() {}
}

/// Returns true if a job is to be run and no instance runs it.
fn is_claimable(job: &LiveJob) -> bool {
    match job.state.phase() {
        JobPhase::Ended | JobPhase::Paused => false,
        JobPhase::Waiting | JobPhase::Running | JobPhase::Stopping => {
            job.state.owner.is_none() || job.silent_for >= silence()
        }
    }
}
