//! Reasons for which a job stops before everything is done.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use ferryd_domain::job::state::JobEndReason;

/// The reason why an owner stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HaltReason {
    /// The job is paused or taken over, or this process stops: it goes on later, or elsewhere.
    Lost,
    /// The job ends.
    Ends(JobEndReason, String),
}

/// Signals everything that works on a job to stop.
#[derive(Debug, Default)]
pub(super) struct JobHalt {
    token: CancellationToken,
    reason: OnceLock<HaltReason>,
}

impl JobHalt {
    /// Stops the job, for the first reason that is given.
    pub fn set(&self, reason: HaltReason) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<&HaltReason> {
        self.reason.get()
    }

    /// Returns whether the job is to stop.
    pub fn is_set(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves once the job is to stop.
    pub async fn wait_for_halt(&self) {
        self.token.cancelled().await;
    }
}
