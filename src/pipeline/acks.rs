//! Acks deliveries, or gives them back.

use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tracing::debug;

/// Acks deliveries. An ack that can't be sent is no fault: the delivery comes back and is recognised.
pub(super) async fn ack(ackers: impl IntoIterator<Item = Acker>) {
    for acker in ackers {
        match acker.ack(BasicAckOptions::default()).await {
            Ok(true) => {}
            Ok(false) => debug!("a delivery was taken back before its ack; its copy will be recognised"),
            Err(error) => debug!(%error, "failed to ack a delivery; its copy will be recognised"),
        }
    }
}

/// Gives deliveries back as they came.
pub(super) async fn requeue(ackers: impl IntoIterator<Item = Acker>) {
    for acker in ackers {
        let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        if let Err(error) = acker.nack(again).await {
            debug!(%error, "failed to give a delivery back; the broker takes it back with the connection");
        }
    }
}
