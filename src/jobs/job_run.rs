//! A job that this instance owns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::context::JobContext;
use super::letter::LetterWorker;
use super::stop::JobHalt;
use ferryd_domain::job::state::JobProgress;
use ferryd_domain::job::{JobId, JobSpec, JobState};

/// A job that this instance owns.
pub(super) struct JobRun {
    pub context: Arc<JobContext>,
    pub id: JobId,
    pub spec: Arc<JobSpec>,
    pub worker: Arc<LetterWorker>,
    pub halt: JobHalt,
    pub term: u32,
    pub progress: Mutex<JobProgress>,
}

impl JobRun {
    /// Takes up a job where its last owner left it.
    pub fn new(context: Arc<JobContext>, id: JobId, term: u32, state: &JobState) -> Self {
        let spec = Arc::new(state.spec.clone());
        let worker =
            LetterWorker { context: Arc::clone(&context), job: id, spec: Arc::clone(&spec) };
        let progress = Mutex::new(state.progress.clone());
        Self {
            context,
            id,
            spec,
            worker: Arc::new(worker),
            halt: JobHalt::default(),
            term,
            progress,
        }
    }

    /// Locks the progress of the job; hold the guard briefly.
    pub fn progress(&self) -> MutexGuard<'_, JobProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
