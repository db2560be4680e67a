//! Publishes terminal events that were left unpublished, and ends commands whose cancellation was
//! requested and that never came.
//!
//! Any process that ends a command, for a holder of its message, a webhook, a canceller or an
//! operator, may die between that record and the event's publishing. Where a dead letter or a
//! continuation goes with the event, the command's message is not acked and comes back to be
//! published with it. Every other end is whole in its record, so instances look for the recorded
//! ends that are not known to be published, and publish them. Published twice, they are the same
//! event.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Pipeline;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::ruling::DecidedCommand;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{IndexError, LedgerIndex, MAX_PAGE};

/// The interval between two searches.
const EVERY: Duration = Duration::from_secs(5);
/// The time after which a recorded end counts as left unpublished.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait for a destination that takes no messages, before the next search.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(10);
/// The time that the message of a command with a cancel request has to come.
const CANCEL_PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// Publishes terminal events that were left unpublished, until `stop` is cancelled.
pub async fn recover_events(pipeline: Arc<Pipeline>, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        pipeline.ledger_gate.wait_until_ready().await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = recover_all(&pipeline) => {}
        }
    }
}

/// The commands whose ends are due: to be published, or to be made by a request to cancel.
struct DueEndings {
    unpublished: Vec<CommandId>,
    /// The commands whose cancellation was requested, and that never came.
    never_came: Vec<CommandId>,
}

impl DueEndings {
    fn find(index: &LedgerIndex, now: Timestamp) -> Result<Self, IndexError> {
        let before = |age: SignedDuration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        let older_than = Some(before(CANCEL_PATIENCE));
        let filter =
            CommandFilter { cancel_requested: Some(true), older_than, ..CommandFilter::default() };
        let never_came = index.list(&filter, None, MAX_PAGE)?.rows;
        Ok(Self {
            unpublished: index.unpublished_endings(before(PATIENCE), MAX_PAGE)?,
            never_came: never_came.into_iter().map(|row| row.id).collect(),
        })
    }
}

async fn recover_all(pipeline: &Pipeline) {
    let ledger = &pipeline.ledger_gate.ledger;
    ledger.flush().await;
    let index = Arc::clone(ledger.index());
    match tokio::task::spawn_blocking(move || DueEndings::find(&index, Timestamp::now())).await {
        Ok(Ok(due)) => {
            // Where ferryd stops before all is done, the next process does it.
            let _ = publish_unpublished(pipeline, due).await;
        }
        Ok(Err(error)) => {
            warn!(%error, "failed to look for terminal events that were left unpublished");
        }
        // The process is ending.
        Err(_) => {}
    }
}

/// Publishes all ends concurrently: an event whose destination is down holds up none of the others.
async fn publish_unpublished(pipeline: &Pipeline, due: DueEndings) -> Result<(), BrokerError> {
    let overdue = CancellationToken::new();
    let publishing = due.unpublished.iter().map(|id| publish_end(pipeline, id, &overdue));
    let mut publishing = std::pin::pin!(join_all(publishing));
    if timeout(PUBLISH_PATIENCE, publishing.as_mut()).await.is_err() {
        // The next search finds what is not published.
        overdue.cancel();
        publishing.await;
    }
    for id in due.never_came {
        pipeline.cancel_for_good(&id).await?;
    }
    Ok(())
}

async fn publish_end(pipeline: &Pipeline, id: &CommandId, overdue: &CancellationToken) {
    let unpublished = pipeline
        .ledger_gate
        .command_state(id)
        .filter(|state| state.is_end_unpublished())
        .and_then(|state| state.unsettled_decision());
    let Some(decided) = unpublished else { return };
    info!(command.id = id.as_str(), "publishing a terminal event that was left unpublished");
    // The next search finds what is not published.
    let _ = pipeline.publish_end_unless(id, &decided, overdue).await;
}

impl Pipeline {
    /// Publishes the event of an end that is recorded, and records that.
    ///
    /// # Errors
    /// [`BrokerError::Stopping`].
    pub async fn publish_recorded_end(
        &self,
        id: &CommandId,
        decided: &DecidedCommand,
    ) -> Result<(), BrokerError> {
        self.publish_end_unless(id, decided, &CancellationToken::new()).await
    }

    async fn publish_end_unless(
        &self,
        id: &CommandId,
        decided: &DecidedCommand,
        unwanted: &CancellationToken,
    ) -> Result<(), BrokerError> {
        let effects = self.messages.recovered_ending(decided);
        for message in &effects.messages {
            self.broker.publish_unless(message, unwanted).await?;
        }
        self.settle_and_reply(id, decided.by, &effects).await;
        Ok(())
    }
}
