//! The jobs in memory: those that have not ended, and those that changed and are not saved yet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use ferryd_domain::job::{JobChange, JobId, JobRecord, JobRuling, JobState};

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
    pub fn apply_record(&mut self, record: &JobRecord) -> JobRuling {
        let entry = self.jobs.remove(&record.job);
        let (mut slot, heard) = entry.map_or((None, Instant::now()), |entry| {
            (Some(Arc::unwrap_or_clone(entry.state)), entry.heard)
        });
        let ruling = JobState::apply(&mut slot, record);
        let is_owners = matches!(record.change, JobChange::Taken(_) | JobChange::Progressed(_));
        if let Some(state) = slot {
            let heard =
                if is_owners && ruling == JobRuling::Counts { Instant::now() } else { heard };
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

    pub fn get(&self, id: &JobId) -> Option<Arc<JobState>> {
        self.jobs.get(id).map(|entry| Arc::clone(&entry.state))
    }

    pub fn live(&self) -> Vec<LiveJob> {
        let live = self.jobs.iter().filter(|(_, entry)| entry.state.end.is_none());
        let job = |(id, JobEntry { state, heard }): (&JobId, &JobEntry)| LiveJob {
            id: *id,
            state: Arc::clone(state),
            silent_for: heard.elapsed(),
        };
        live.map(job).collect()
    }
}
