//! Work of people over AMQP, without a daemon: publish commands, follow events and the ledger, look
//! at dead letters, compare the index with the stream. The daemon uses the walks through queues of
//! dead letters for its jobs.

pub mod bulk;
pub mod erase;
pub mod error;
pub mod follow;
pub mod host_index;
pub mod index_owner;
pub mod management;
pub mod properties;
pub mod publish;
pub mod publishing_connection;
pub mod queue_cursor;
pub mod queued_dead_letter;
pub mod queues;
pub mod redelivery;
pub mod replicas;
pub mod scan;
pub mod stream_tail;
pub mod verify;

use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::topology::TopologyNames;

pub use error::OperatorError;

/// The broker that an operator works with, and the names of ferryd's exchanges and queues there.
#[derive(Debug, Clone)]
pub struct OperatorContext {
    /// The broker.
    pub amqp: AmqpSettings,
    /// The names.
    pub names: TopologyNames,
}
