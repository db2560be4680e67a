//! The states of jobs in memory: those that have not ended, and those that changed and are not
//! saved yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Ledger;
use super::follower::Follower;
use super::index::IndexError;
use crate::amqp::error::BrokerError;
use crate::domain::job::{InstanceId, JobChange, JobId, JobRecord, JobRuling, JobState};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::{Fact, Record, RecordId};
use crate::domain::ledger::ruling::Ruling;

/// The jobs in memory.
#[derive(Default)]
pub(super) struct JobTable {
    jobs: HashMap<JobId, JobEntry>,
    unsaved: HashSet<JobId>,
}

struct JobEntry {
    state: Arc<JobState>,
    /// The time of the last record of the job's owner, by a clock of this host that never jumps.
    heard: Instant,
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub struct LiveJob {
    /// The id of the job.
    pub id: JobId,
    /// The state of the job.
    pub state: Arc<JobState>,
    /// The time since the last record of the job's owner was read here.
    pub silent_for: Duration,
}

impl JobTable {
    /// Loads the jobs that an index holds.
    pub fn load(&mut self, jobs: Vec<(JobId, JobState)>) {
        for (id, job) in jobs {
            self.put(id, job);
        }
    }

    pub fn is_loaded(&self, id: &JobId) -> bool {
        self.jobs.contains_key(id)
    }

    /// Adds a job in the state that the index has.
    pub fn put(&mut self, id: JobId, job: JobState) {
        self.jobs.insert(id, JobEntry { state: Arc::new(job), heard: Instant::now() });
    }

    /// Applies a record. The state of its job in the index has to be [in memory](Self::is_loaded).
    pub fn rule(&mut self, record: &JobRecord) -> JobRuling {
        let entry = self.jobs.remove(&record.job);
        let (mut slot, heard) =
            entry.map_or((None, Instant::now()), |entry| (Some(Arc::unwrap_or_clone(entry.state)), entry.heard));
        let ruling = JobState::apply(&mut slot, record);
        let is_owners = matches!(record.change, JobChange::Taken(_) | JobChange::Progressed(_));
        if let Some(state) = slot {
            let heard = if is_owners && ruling == JobRuling::Counts { Instant::now() } else { heard };
            self.jobs.insert(record.job, JobEntry { state: Arc::new(state), heard });
            self.unsaved.insert(record.job);
        }
        ruling
    }

    /// Changes the state of a job.
    pub fn change(&mut self, id: JobId, change: impl FnOnce(&mut JobState)) {
        if let Some(entry) = self.jobs.get_mut(&id) {
            change(Arc::make_mut(&mut entry.state));
            self.unsaved.insert(id);
        }
    }

    pub fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// Takes the changed jobs, to be saved next. They stay in memory.
    pub fn take(&mut self) -> Vec<(JobId, Arc<JobState>)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let state = |id: JobId| Some((id, Arc::clone(&self.jobs.get(&id)?.state)));
        unsaved.into_iter().filter_map(state).collect()
    }

    /// Removes the jobs that have ended and are saved in their current state.
    pub fn saved(&mut self, saved: Vec<(JobId, Arc<JobState>)>) {
        for (id, state) in saved {
            if state.end.is_some() && !self.unsaved.contains(&id) {
                self.jobs.remove(&id);
            }
        }
    }

    fn get(&self, id: &JobId) -> Option<Arc<JobState>> {
        self.jobs.get(id).map(|entry| Arc::clone(&entry.state))
    }

    fn live(&self) -> Vec<LiveJob> {
        let live = self.jobs.iter().filter(|(_, entry)| entry.state.end.is_none());
        let job = |(id, JobEntry { state, heard }): (&JobId, &JobEntry)| LiveJob {
            id: *id,
            state: Arc::clone(state),
            silent_for: heard.elapsed(),
        };
        live.map(job).collect()
    }
}

impl Follower {
    /// Finds the job that has replayed the command of a record by which that job may end.
    pub(super) fn replaying_job(&self, record: &Record) -> Result<Option<JobId>, IndexError> {
        let awaiting = |case: &Case| case.job.filter(|mark| mark.awaits_end).map(|mark| mark.id);
        if !matches!(record.fact, Fact::Finished(_)) {
            return Ok(None);
        }
        let known = self.store.lock().view.get(&record.command).map(|case| awaiting(case));
        match known {
            Some(job) => Ok(job),
            None if self.store.lock().view.is_absent(&record.command) => Ok(None),
            None => Ok(self.store.index.case(&record.command)?.as_ref().and_then(awaiting)),
        }
    }

    /// Applies a record about a job.
    pub(super) fn rule_job(&self, id: RecordId, record: &JobRecord) -> Result<JobRuling, IndexError> {
        self.load_job(record.job)?;
        let mut state = self.store.lock();
        let ruling = state.view.jobs.rule(record);
        state.view.applied(id);
        drop(state);
        self.store.tell_of_jobs();
        Ok(ruling)
    }

    /// Loads the state of a job into memory, where the index has it.
    pub(super) fn load_job(&self, id: JobId) -> Result<(), IndexError> {
        if !self.store.lock().view.jobs.is_loaded(&id)
            && let Some(job) = self.store.index.job(&id)?
        {
            self.store.lock().view.jobs.put(id, job);
        }
        Ok(())
    }
}

impl Ledger {
    /// Returns this process's identity as a writer of the ledger.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        InstanceId(self.0.outbox.writer)
    }

    /// Appends a record about a job and waits for the ruling on it, through outages of any length.
    ///
    /// # Errors
    /// As of [`append`](Self::append).
    pub async fn append_job(&self, record: JobRecord) -> Result<JobRuling, BrokerError> {
        let ruled = self.append_any(record.into()).await?;
        Ok(if matches!(ruled.ruling, Ruling::Counts(_)) { JobRuling::Counts } else { JobRuling::Ignored })
    }

    /// Returns the state of a job as of now.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn job(&self, id: &JobId) -> Result<Option<Arc<JobState>>, IndexError> {
        let known = self.0.store.lock().view.jobs.get(id);
        match known {
            Some(job) => Ok(Some(job)),
            None => Ok(self.index().job(id)?.map(Arc::new)),
        }
    }

    /// Returns the jobs that have not ended.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<LiveJob> {
        self.0.store.lock().view.jobs.live()
    }

    /// Subscribes to a counter of changes of jobs.
    #[must_use]
    pub fn job_news(&self) -> watch::Receiver<u64> {
        self.0.store.job_news()
    }
}
