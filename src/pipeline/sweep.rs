//! Publishing ends that were left unpublished, and ending what was asked to be cancelled and never came.
//!
//! Whoever decides that a command has ended, a holder of its message, a webhook call, a canceller or an operator, may die
//! between that record and its publish. Where a dead letter or a continuation goes with it, the command's message is not acked
//! and comes back to be published with it. Every other end is in its record whole, so instances look for those that nobody is
//! known to have published, and publish them. Published twice, they are the same event.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Pipeline;
use crate::amqp::error::BrokerError;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::ruling::Decided;
use crate::ledger::command_filter::CommandFilter;
use crate::ledger::index::{Index, IndexError, MAX_PAGE};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever ended a command gets so long to publish that.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// For how long a destination that takes no messages is waited for before it is looked again.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);
/// A command that was asked to be cancelled has so long to come.
const CANCEL_PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// Publishes ends that were left unpublished until `stop` is cancelled.
pub async fn sweep(pipeline: Arc<Pipeline>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        pipeline.memory.ready().await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = recover_all(&pipeline) => {}
        }
    }
}

/// The commands whose endings are due: to be published, or to be made by a request to cancel.
struct DueEndings {
    unpublished: Vec<CommandId>,
    /// Asked to be cancelled, and never come.
    never_came: Vec<CommandId>,
}

impl DueEndings {
    fn find(index: &Index, now: Timestamp) -> Result<Self, IndexError> {
        let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let older_than = Some(before(CANCEL_PATIENCE));
        let filter = CommandFilter { cancel_requested: Some(true), older_than, ..CommandFilter::default() };
        let never_came = index.list(&filter, None, MAX_PAGE)?.rows;
        Ok(Self {
            unpublished: index.unpublished(before(PATIENCE), MAX_PAGE)?,
            never_came: never_came.into_iter().map(|row| row.id).collect(),
        })
    }
}

async fn recover_all(pipeline: &Pipeline) {
    let ledger = &pipeline.memory.ledger;
    ledger.flush().await;
    let index = Arc::clone(ledger.index());
    match tokio::task::spawn_blocking(move || DueEndings::find(&index, Timestamp::now())).await {
        Ok(Ok(due)) => {
            // Where ferryd stops before all is done, the next one looks.
            let _ = recover(pipeline, due).await;
        }
        Ok(Err(error)) => warn!(%error, "failed to look for terminal events that were left unpublished"),
        // The process is ending.
        Err(_) => {}
    }
}

/// All side by side: one whose event has to go to a destination that is down keeps none of the others.
async fn recover(pipeline: &Pipeline, due: DueEndings) -> Result<(), BrokerError> {
    let overdue = CancellationToken::new();
    let publishing = due.unpublished.iter().map(|id| publish_end(pipeline, id, &overdue));
    let mut publishing = std::pin::pin!(join_all(publishing));
    if timeout(PUBLISH_PATIENCE, publishing.as_mut()).await.is_err() {
        // What is not published is found again.
        overdue.cancel();
        publishing.await;
    }
    for id in due.never_came {
        pipeline.cancel_for_good(&id).await?;
    }
    Ok(())
}

async fn publish_end(pipeline: &Pipeline, id: &CommandId, overdue: &CancellationToken) {
    let unpublished =
        pipeline.memory.case(id).filter(|case| case.is_end_unpublished()).and_then(|case| case.unsettled());
    let Some(decided) = unpublished else { return };
    info!(command.id = id.as_str(), "publishing a terminal event that was left unpublished");
    // What is not published is found again.
    let _ = pipeline.publish_end_unless(id, &decided, overdue).await;
}

impl Pipeline {
    /// Publishes the event of an end that is recorded, and records that.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn publish_recorded_end(&self, id: &CommandId, decided: &Decided) -> Result<(), BrokerError> {
        self.publish_end_unless(id, decided, &CancellationToken::new()).await
    }

    async fn publish_end_unless(
        &self,
        id: &CommandId,
        decided: &Decided,
        unwanted: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let effects = self.outbox.recovered(decided);
        for message in &effects.messages {
            self.broker.publish_unless(message, unwanted).await?;
        }
        self.settle_and_reply(id, decided.by, &effects).await;
        Ok(())
    }
}
