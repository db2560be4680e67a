//! Telling ends that nobody told.
//!
//! Whoever ends a command holds its message, which comes back until its end is told. Only a cancel has no message of its
//! own: where the instance that cancelled dies before it has told, the command has ended and nobody knows. So instances
//! look for such ends from time to time, and tell them from the record. Told twice, they are the same event.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Pipeline;
use crate::domain::command_id::CommandId;
use crate::domain::lifecycle::Kind;
use crate::ledger::Ledger;
use crate::ledger::index::{Filter, IndexError, MAX_PAGE};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(15);
/// Whoever cancelled gets so long to tell it.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// Older ends were looked for before.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(48);

/// Tells untold ends until `stop` is cancelled.
pub async fn sweep(pipeline: Arc<Pipeline>, stop: CancellationToken) {
    let Some(ledger) = pipeline.memory.ledger().cloned() else { return };
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
            () = tell_all(&pipeline, &ledger) => {}
        }
    }
}

async fn tell_all(pipeline: &Pipeline, ledger: &Ledger) {
    ledger.flush().await;
    let index = Arc::clone(ledger.index());
    let found = tokio::task::spawn_blocking(move || cancelled(&index)).await;
    match found {
        Ok(Ok(ids)) => {
            for id in ids {
                tell(pipeline, ledger, &id).await;
            }
        }
        Ok(Err(error)) => warn!(%error, "failed to look for ends that were not told"),
        // The process is ending.
        Err(_) => {}
    }
}

/// Commands that were cancelled a while ago, but not long ago.
fn cancelled(index: &crate::ledger::index::Index) -> Result<Vec<CommandId>, IndexError> {
    let now = Timestamp::now();
    let before = |age: SignedDuration| now.checked_sub(age).ok();
    let kind = Some(Kind::Cancelled);
    let (older_than, newer_than) = (before(PATIENCE), before(LOOK_BACK));
    let filter = Filter { kind, older_than, newer_than, ..Filter::default() };
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = index.list(&filter, after.as_ref(), MAX_PAGE)?;
        ids.extend(page.rows.into_iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            return Ok(ids);
        }
    }
}

async fn tell(pipeline: &Pipeline, ledger: &Ledger, id: &CommandId) {
    let untold = ledger.case(id).filter(|case| case.ending.is_some()).and_then(|case| case.unsettled());
    let Some(decided) = untold.filter(|decided| decided.effects.carried.is_none()) else { return };
    info!(command.id = id.as_str(), "telling an end that nobody told");
    let outgoing = pipeline.outbox.announcement(&decided.effects.event, &decided.replies);
    // Where ferryd stops before that, the next one looks.
    let _ = pipeline.announce(id, decided.by, outgoing).await;
}
