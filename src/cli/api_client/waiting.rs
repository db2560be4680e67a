//! Waiting for a daemon that can't answer yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::progress::Progress;
use super::error::ApiError;
use crate::web::problem::{Kind, ProblemBody};

/// The longest wait for a daemon that reads the ledger and gets on with it.
const CATCH_UP_PATIENCE: Duration = Duration::from_mins(1);
/// The longest wait for a daemon that has too much to do.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
/// The pause before the daemon is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits between two questions, and tells somebody at a terminal for what.
pub(super) struct Waiting {
    began: Instant,
    /// The last time that the daemon was seen to get on, and how far it was.
    advanced: Instant,
    records: u64,
    progress: Progress,
}

impl Default for Waiting {
    fn default() -> Self {
        let now = Instant::now();
        let progress = Progress::new("records of the ledger read by ferryd", None);
        Self { began: now, advanced: now, records: 0, progress }
    }
}

impl Waiting {
    /// Waits, where the problem is one that passes.
    ///
    /// # Errors
    /// The problem does not pass, or has not passed in time.
    pub(super) async fn pause(&mut self, problem: Box<ProblemBody>) -> Result<(), ApiError> {
        match problem.kind() {
            Some(Kind::CatchingUp) => {
                let records = problem.records.unwrap_or_default();
                if records > self.records {
                    (self.advanced, self.records) = (Instant::now(), records);
                }
                if self.advanced.elapsed() >= CATCH_UP_PATIENCE {
                    return Err(ApiError::CatchingUp { records, after: self.began.elapsed() });
                }
                self.progress.tell(records);
            }
            Some(Kind::Busy) if self.began.elapsed() < BUSY_PATIENCE => {}
            _ => return Err(ApiError::Problem(problem)),
        }
        sleep(PAUSE).await;
        Ok(())
    }
}
