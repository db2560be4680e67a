//! Parts of the daemon that jobs work with.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::failpoint::{ShortenedWait, shorten_wait};
use crate::operator::OperatorContext;
use crate::pipeline::Pipeline;
use ferryd_broker::error::BrokerError;
use ferryd_domain::job::record::JobClaim;
use ferryd_domain::job::{JobChange, JobRecord, JobRuling};
use ferryd_ledger::Ledger;
use ferryd_ledger::jobs::LiveJob;
use ferryd_provider::registry::ProviderRegistry;

/// The silence after which the owner of a job is taken to be gone. An owner gives a sign of life six times as often.
const SILENCE: Duration = Duration::from_secs(30);

/// Parts of the daemon that jobs work with.
pub struct JobContext {
    /// The pipeline that publishes.
    pub pipeline: Arc<Pipeline>,
    /// The configured providers.
    pub registry: Arc<ProviderRegistry>,
    /// The ledger.
    pub ledger: Ledger,
    /// The broker, for connections of their own that go through queues.
    pub operator: OperatorContext,
}

impl JobContext {
    /// Claims a job. Returns the term of this owner, where the claim counts.
    pub(super) async fn claim(&self, job: &LiveJob) -> Result<Option<u32>, BrokerError> {
        let claim =
            JobClaim { instance: self.ledger.instance(), term: job.state.term.saturating_add(1) };
        let record =
            JobRecord { at: Timestamp::now(), job: job.id, change: JobChange::Taken(claim) };
        let ruling = self.ledger.append_job(record).await?;
        Ok((ruling == JobRuling::Counts).then_some(claim.term))
    }
}

/// The silence after which the owner of a job is taken to be gone.
pub(super) fn silence() -> Duration {
    shorten_wait(ShortenedWait::JobSilence, SILENCE)
}
