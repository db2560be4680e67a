//! One job, from its claim to its end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::context::silence;
use super::job_run::JobRun;
use super::round::{JobRound, RoundFindings};
use super::search::MissingLetters;
use super::stop::HaltReason;
use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::operator::OperatorError;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::job::record::{JobEnding, JobReport};
use ferryd_domain::job::state::{CanaryReplay, JobEndReason};
use ferryd_domain::job::{JobAction, JobChange, JobRecord, JobRuling};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::lifecycle::LifecycleState;

/// Most passages through the queues for dead letters that are missing.
const MOST_ROUNDS: u32 = 4;
/// The pause before the second passage; before the third it is twice as long, and so on.
const ROUND_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a failure of the broker or the index.
const RETRY: Duration = Duration::from_secs(1);
/// The shortest time between two looks at what is recorded of the job.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Reason for the end of a job, and details for people.
type JobEndText = (JobEndReason, Option<String>);

impl JobRun {
    /// Runs the job until it ends, or goes on elsewhere.
    pub async fn run(self: Arc<Self>) {
        // Ends with this also where the work panics: who gives signs of life and does not work is
        // not taken over.
        let watching = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&self).watch()));
        let ended = self.work().await;
        drop(watching);
        let recorded = match ended {
            Some((reason, detail)) => self.end(reason, detail).await,
            None => self.report().await.map(drop),
        };
        // Where ferryd stops before that is recorded, the next owner finds nothing left to do and
        // ends the job.
        if let Err(error) = recorded {
            info!(job.id = %self.id, %error, "left a job to another instance");
        }
    }

    async fn append(&self, change: JobChange) -> Result<JobRuling, BrokerError> {
        self.context
            .ledger
            .append_job(JobRecord { at: Timestamp::now(), job: self.id, change })
            .await
    }

    /// Gives a sign of life.
    async fn report(&self) -> Result<JobRuling, BrokerError> {
        let report = JobReport { term: self.term, progress: self.progress().clone() };
        self.append(JobChange::Progressed(Box::new(report))).await
    }

    async fn end(&self, reason: JobEndReason, detail: Option<String>) -> Result<(), BrokerError> {
        let ending =
            JobEnding { term: self.term, progress: self.progress().clone(), reason, detail };
        let detail = ending.detail.clone();
        if self.append(JobChange::Ended(Box::new(ending))).await? == JobRuling::Counts {
            info!(job.id = %self.id, ?reason, detail, "a job has ended");
        }
        Ok(())
    }

    /// Gives signs of life, and stops the work once the job is to stop.
    async fn watch(self: Arc<Self>) {
        let mut news = self.context.ledger.job_news();
        let mut signs = interval(silence() / 6);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(reason) = self.halt_reason() {
                self.halt.set(reason);
            }
            tokio::select! {
                () = self.context.pipeline.stop.cancelled() => return self.halt.set(HaltReason::Lost),
                _ = signs.tick() => match self.report().await {
                    Ok(JobRuling::Counts) => {}
                    Ok(JobRuling::Ignored) | Err(_) => return self.halt.set(HaltReason::Lost),
                },
                _ = news.changed() => sleep(LOOK_PAUSE).await,
            }
        }
    }

    /// The reason why the job is to stop, by what is recorded of it.
    fn halt_reason(&self) -> Option<HaltReason> {
        let job = self.context.ledger.job(&self.id).ok()??;
        if job.term != self.term || job.end.is_some() || job.paused.is_some() {
            return Some(HaltReason::Lost);
        }
        if let Some(person) = &job.stopped {
            return Some(HaltReason::Ends(JobEndReason::Stopped, format!("stopped {person}")));
        }
        Some(HaltReason::Ends(JobEndReason::FailedAgain, job.exceeded()?))
    }

    /// Does the job. `None` where it goes on later, or elsewhere.
    async fn work(&self) -> Option<JobEndText> {
        loop {
            match self.go_on().await {
                Ok(ended) => return ended,
                Err(OperatorError::Broker(BrokerError::Stopping)) => return None,
                Err(error) => warn!(job.id = %self.id, %error, "a job was interrupted; going on"),
            }
            if let Some(halted) = self.pause_briefly(RETRY).await {
                return halted;
            }
        }
    }

    /// Waits a while. Returns how the job stops, where it is to.
    async fn pause_briefly(&self, time: Duration) -> Option<Option<JobEndText>> {
        tokio::select! {
            biased;
            () = self.halt.wait_for_halt() => Some(self.halted()),
            () = sleep(time) => None,
        }
    }

    /// The end of a job that was stopped; `None` where it goes on elsewhere.
    fn halted(&self) -> Option<JobEndText> {
        match self.halt.reason() {
            Some(HaltReason::Ends(reason, detail)) => Some((*reason, Some(detail.clone()))),
            Some(HaltReason::Lost) | None => None,
        }
    }

    async fn go_on(&self) -> Result<Option<JobEndText>, OperatorError> {
        if self.progress().total.is_none() {
            let meant = self.context.find_meant(&self.spec, HashSet::new()).await?;
            self.progress().total = Some(meant.count);
        }
        if let Some(ended) = self.send_canary().await? {
            return Ok(ended);
        }
        for round in 1..=MOST_ROUNDS {
            let (missing, removed) = self.go_through().await?;
            if self.halt.is_set() {
                return Ok(self.halted());
            }
            // What a former owner held, the broker may be giving back only now.
            let is_settled = self.term == 1 || removed == 0;
            let is_done = (missing.count == 0 && is_settled) || self.spec.dry_run;
            if is_done || round == MOST_ROUNDS {
                return Ok(Some(end_of(&missing)));
            }
            let pause = shorten_wait(ShortenedWait::JobRoundPause, ROUND_PAUSE) * round;
            if let Some(halted) = self.pause_briefly(pause).await {
                return Ok(halted);
            }
        }
        Ok(None)
    }

    /// Goes through the queues once, and says what was meant and not found, and how many dead
    /// letters were removed.
    async fn go_through(&self) -> Result<(MissingLetters, u64), OperatorError> {
        {
            let mut progress = self.progress();
            progress.rounds += 1;
            // Those that stay are met again.
            (progress.refused, progress.unrecorded) = (0, 0);
            progress.refusals.clear();
        }
        let queues = self.context.queues(&self.spec).await?;
        let mut round = JobRound::new(self, false);
        round.go_through(&queues).await?;
        if self.halt.is_set() {
            return Ok((MissingLetters::default(), round.findings.removed));
        }
        let RoundFindings { staying, removed, .. } = round.findings;
        let missing = self.context.find_meant(&self.spec, staying).await?;
        let mut progress = self.progress();
        (progress.not_found, progress.missing) = (missing.count, missing.named.clone());
        drop(progress);
        Ok((missing, removed))
    }

    /// Replays one first, where that is wanted, and waits for its end. Returns how the job ends,
    /// where it is not a good one.
    async fn send_canary(&self) -> Result<Option<Option<JobEndText>>, OperatorError> {
        let JobAction::Replay(terms) = &self.spec.action else { return Ok(None) };
        let Some(patience) = terms.canary_s.filter(|_| !self.spec.dry_run) else { return Ok(None) };
        if self.progress().canary.is_none() {
            let queues = self.context.queues(&self.spec).await?;
            let mut round = JobRound::new(self, true);
            let sent = round.go_through(&queues).await;
            if let Some((id, generation)) = round.findings.first.take() {
                self.progress().canary = Some(CanaryReplay { id, generation, passed: false });
                self.report().await?;
            }
            sent?;
        }
        let canary = self.progress().canary.clone();
        let Some(CanaryReplay { id, generation, passed: false }) = canary else { return Ok(None) };
        let failed = tokio::select! {
            biased;
            () = self.halt.wait_for_halt() => return Ok(Some(self.halted())),
            failed = self.await_canary(&id, generation, Duration::from_secs(patience)) => failed?,
        };
        if let Some(detail) = failed {
            return Ok(Some(Some((JobEndReason::CanaryFailed, Some(detail)))));
        }
        if let Some(canary) = &mut self.progress().canary {
            canary.passed = true;
        }
        self.report().await?;
        Ok(None)
    }

    /// Waits for the end of the first replay. Returns what is wrong with it.
    async fn await_canary(
        &self,
        id: &CommandId,
        generation: u32,
        patience: Duration,
    ) -> Result<Option<String>, BrokerError> {
        let ended = self.context.ledger.wait_until(id, |state| canary_end(state, generation));
        let Ok(ended) = timeout(patience, ended).await else {
            let text =
                format!("the first one, `{id}`, has not ended within {} s", patience.as_secs());
            return Ok(Some(format!("{text}; see `ferryd status {id}`, the rest was not touched")));
        };
        Ok(ended?.err().map(|why| {
            format!("the first one, `{id}`, failed again {why}; the rest was not touched")
        }))
    }
}

fn end_of(missing: &MissingLetters) -> JobEndText {
    match missing.count {
        0 => (JobEndReason::Finished, None),
        count => {
            let text =
                "in no queue: another job or reader holds them, or their queues were deleted";
            (
                JobEndReason::Incomplete,
                Some(format!("{count} dead letters that the ledger knows were {text}")),
            )
        }
    }
}

/// Returns the outcome of a replay once it is known: `Ok` where the command has completed or its
/// provider has accepted it.
fn canary_end(state: &CommandState, generation: u32) -> Option<Result<(), String>> {
    if state.step.generation < generation {
        return None;
    }
    let Some(ending) = &state.ending else {
        return (state.state() == LifecycleState::Waiting).then_some(Ok(()));
    };
    let data = &ending.event.data;
    let Some(error) = data.error.as_ref().filter(|_| data.state == LifecycleState::Failed) else {
        return Some(Ok(()));
    };
    let kind = error.kind.map_or("failed", |kind| kind.as_str());
    Some(Err(format!("({kind}): {}", error.message)))
}
