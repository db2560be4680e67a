//! The interface of what takes the deliveries of a queue.

use super::delivery_acks::HeldDelivery;
use super::delivery_window::DeliveryPermit;

/// Handles the deliveries of a queue.
pub trait DeliveryHandler: Send + Sync + 'static {
    /// Takes a delivery, and keeps its place until it is acked; must not block. Deliveries still
    /// arrive while consuming is being stopped.
    fn take_delivery(&self, delivery: HeldDelivery, place: DeliveryPermit);

    /// Reports that the queue is being consumed, for the first time or again.
    fn queue_attached(&self);
}
