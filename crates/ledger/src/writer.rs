//! Publishes batches, one after the other.
//!
//! A batch is published again, with the same numbers, until it is confirmed; readers skip repeats.
//! Only then comes the next. So a copy that was stuck in a dead connection can never put an old
//! batch behind a new one unnoticed.

use std::time::Duration;

use jiff::Timestamp;
use lapin::types::ShortString;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::batch::RecordBatch;
use super::pending_records::PendingRecords;
use ferryd_broker::broker::BrokerHandle;
use ferryd_broker::error::BrokerError;

/// The time for which a stopping ferryd goes on trying to write its notes.
const GRACE: Duration = Duration::from_secs(2);

/// The number of records in a batch from which on a pause follows, in which the next batch gathers.
/// Each message costs the broker, and every reader, about as much as thirty records in it. A quiet
/// system publishes at once.
const BUSY: u64 = 8;
/// The length of that pause.
const GATHER: Duration = Duration::from_millis(3);

/// The result of publishing a batch: writing goes on, or ends.
enum WriteResult {
    Confirmed,
    GivenUp,
}

/// Publishes queued records until `stop`, and then the remaining ones.
pub(super) async fn write(
    broker: &BrokerHandle,
    pending: &PendingRecords,
    stream: &ShortString,
    stop: &CancellationToken,
) {
    loop {
        let batch = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            batch = pending.next_batch() => batch,
        };
        let is_busy = batch.last - batch.first + 1 >= BUSY;
        if let WriteResult::GivenUp = send(broker, pending, stream, batch, stop).await {
            return;
        }
        if is_busy {
            sleep(GATHER).await;
        }
    }
    let rest = async {
        while let Some(batch) = pending.queued_rest() {
            if let WriteResult::GivenUp = send(broker, pending, stream, batch, stop).await {
                return;
            }
        }
    };
    if timeout(GRACE, rest).await.is_err() {
        debug!("stopped before everything noted for the ledger was written");
    }
}

async fn send(
    broker: &BrokerHandle,
    pending: &PendingRecords,
    stream: &ShortString,
    batch: RecordBatch,
    stop: &CancellationToken,
) -> WriteResult {
    let out_of_time = async {
        stop.cancelled().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        sent = publish(broker, pending, stream, batch) => sent,
        () = out_of_time => WriteResult::GivenUp,
    }
}

/// Publishes a batch. Where the broker refuses the batch, each of its records goes alone. A record
/// that is refused alone is kept as a dead letter: it was not written, and its appender gets an
/// error.
async fn publish(
    broker: &BrokerHandle,
    pending: &PendingRecords,
    stream: &ShortString,
    batch: RecordBatch,
) -> WriteResult {
    let message =
        |batch: RecordBatch| batch.into_message(stream.clone(), pending.writer, Timestamp::now());
    let last = batch.last;
    match broker.publish_or_refuse(&message(batch.clone())).await {
        Ok(()) => {}
        Err(BrokerError::Refused { .. }) => {
            for single in batch.split() {
                let number = single.last;
                let record = message(single);
                match broker.publish_or_refuse(&record).await {
                    Ok(()) => {}
                    Err(BrokerError::Refused { cause }) => {
                        error!(
                            number,
                            reason = cause.reason,
                            "the broker refuses a record of the ledger; it is not written"
                        );
                        if broker.keep_refused(&record, cause).await.is_err() {
                            return WriteResult::GivenUp;
                        }
                        pending.give_up(number);
                    }
                    Err(_) => return WriteResult::GivenUp,
                }
            }
        }
        Err(_) => return WriteResult::GivenUp,
    }
    pending.confirm(last);
    WriteResult::Confirmed
}
