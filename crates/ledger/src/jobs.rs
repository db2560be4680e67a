//! The states of jobs in the ledger, and the records about them.

use std::sync::Arc;

use tokio::sync::watch;

use super::Ledger;
use super::follower::LedgerFollower;
use super::index::IndexError;
pub use super::job_table::LiveJob;
use ferryd_broker::error::BrokerError;
use ferryd_domain::job::{InstanceId, JobId, JobRecord, JobRuling, JobState};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::{Record, RecordBody, RecordId};
use ferryd_domain::ledger::ruling::Ruling;

impl LedgerFollower {
    /// Finds the job that has replayed the command of a record by which that job may end.
    pub(super) fn replaying_job(&self, record: &Record) -> Result<Option<JobId>, IndexError> {
        let awaiting =
            |state: &CommandState| state.job.filter(|mark| mark.awaits_end).map(|mark| mark.id);
        if !matches!(record.fact, RecordBody::Finished(_)) {
            return Ok(None);
        }
        let known = self.store.lock().cache.get(&record.command);
        match known {
            Some(state) => Ok(awaiting(&*state.whole(&record.command)?)),
            None => {
                Ok(self.store.index.command_state(&record.command)?.as_ref().and_then(awaiting))
            }
        }
    }

    /// Applies a record about a job.
    pub(super) fn rule_job(
        &self,
        id: RecordId,
        record: &JobRecord,
    ) -> Result<JobRuling, IndexError> {
        self.load_job(record.job)?;
        let mut state = self.store.lock();
        let ruling = state.cache.jobs.apply_record(record);
        state.cache.note_record(id);
        drop(state);
        self.store.notify_of_jobs();
        Ok(ruling)
    }

    /// Loads the state of a job into memory, where the index has it.
    pub(super) fn load_job(&self, id: JobId) -> Result<(), IndexError> {
        if !self.store.lock().cache.jobs.is_loaded(&id)
            && let Some(job) = self.store.index.job(&id)?
        {
            self.store.lock().cache.jobs.put(id, job);
        }
        Ok(())
    }
}

impl Ledger {
    /// Returns this process's identity as a writer of the ledger.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        InstanceId(self.0.pending_records.writer)
    }

    /// Appends a record about a job and waits for the ruling on it, through outages of any length.
    ///
    /// # Errors
    /// As of [`append`](Self::append).
    pub async fn append_job(&self, record: JobRecord) -> Result<JobRuling, BrokerError> {
        let ruled = self.append_any(record.into()).await?;
        Ok(if matches!(ruled.ruling, Ruling::Counts(_)) {
            JobRuling::Counts
        } else {
            JobRuling::Ignored
        })
    }

    /// Returns the state of a job as of now.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn job(&self, id: &JobId) -> Result<Option<Arc<JobState>>, IndexError> {
        let known = self.0.store.lock().cache.jobs.get(id);
        match known {
            Some(job) => Ok(Some(job)),
            None => Ok(self.index().job(id)?.map(Arc::new)),
        }
    }

    /// Returns the jobs that have not ended.
    #[must_use]
    pub fn live_jobs(&self) -> Vec<LiveJob> {
        self.0.store.lock().cache.jobs.live()
    }

    /// Subscribes to a counter of changes of jobs.
    #[must_use]
    pub fn job_news(&self) -> watch::Receiver<u64> {
        self.0.store.job_news()
    }
}
