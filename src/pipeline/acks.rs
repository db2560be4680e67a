//! Acks deliveries, or requeues them.

use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tracing::debug;

/// Acks deliveries. A failed ack is no error: the delivery comes back and is recognised.
pub(super) async fn ack_deliveries(ackers: impl IntoIterator<Item = Acker>) {
    for acker in ackers {
        match acker.ack(BasicAckOptions::default()).await {
            Ok(true) => {}
            Ok(false) => {
                debug!("a delivery was taken back before its ack; its copy will be recognised");
            }
            Err(error) => debug!(%error, "failed to ack a delivery; its copy will be recognised"),
        }
    }
}

/// Requeues deliveries, unchanged.
pub(super) async fn requeue_deliveries(ackers: impl IntoIterator<Item = Acker>) {
    for acker in ackers {
        let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        if let Err(error) = acker.nack(again).await {
            debug!(%error, "failed to give a delivery back; the broker takes it back with the connection");
        }
    }
}
