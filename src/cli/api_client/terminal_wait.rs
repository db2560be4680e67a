//! Waits for a daemon that can't answer yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::progress::ProgressCounter;
use super::error::ApiError;
use crate::web::problem::{ProblemBody, ProblemKind};

/// The longest wait for a daemon that reads the ledger and makes progress.
const CATCH_UP_PATIENCE: Duration = Duration::from_mins(1);
/// The longest wait for an overloaded daemon.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits between two requests, and shows a person at a terminal the reason.
pub(super) struct TerminalWait {
    began: Instant,
    /// The time at which the daemon last made progress, and the number of records then.
    advanced: Instant,
    records: u64,
    progress: ProgressCounter,
}

impl Default for TerminalWait {
    fn default() -> Self {
        let now = Instant::now();
        let progress = ProgressCounter::new("records of the ledger read by ferryd", None);
        Self { began: now, advanced: now, records: 0, progress }
    }
}

impl TerminalWait {
    /// Waits, where the problem is a temporary one.
    ///
    /// # Errors
    /// The problem is permanent, or has lasted too long.
    pub(super) async fn pause(&mut self, problem: Box<ProblemBody>) -> Result<(), ApiError> {
        match problem.kind() {
            Some(ProblemKind::CatchingUp) => {
                let records = problem.records.unwrap_or_default();
                if records > self.records {
                    (self.advanced, self.records) = (Instant::now(), records);
                }
                if self.advanced.elapsed() >= CATCH_UP_PATIENCE {
                    return Err(ApiError::CatchingUp { records, after: self.began.elapsed() });
                }
                self.progress.show_progress(records);
            }
            Some(ProblemKind::Busy) if self.began.elapsed() < BUSY_PATIENCE => {}
            _ => return Err(ApiError::Problem(problem)),
        }
        sleep(PAUSE).await;
        Ok(())
    }
}
