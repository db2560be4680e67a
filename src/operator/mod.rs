//! What people do by hand over AMQP: publish commands, follow events, look at dead letters, replay and discard them.
//!
//! Little of it needs a running daemon, and all of it may be killed at any moment: a message is removed only after what
//! takes its place was confirmed by the broker.

pub mod bulk;
pub mod clear;
pub mod control;
pub mod dead;
pub mod erase;
pub mod error;
pub mod follow;
pub mod lookup;
pub mod management;
pub mod properties;
pub mod publish;
pub mod queues;
pub mod register;
pub mod replay;
pub mod replicas;
mod resubmit;
pub mod scan;
pub mod sender;
pub mod statement;
pub mod tail;
pub mod verify;
pub mod walk;

use serde::Serialize;

use crate::amqp::connection::AmqpSettings;
use crate::amqp::topology::Names;

pub use error::OperatorError;

/// Where an operator works: a broker, and the names of ferryd's exchanges and queues there.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The broker.
    pub amqp: AmqpSettings,
    /// The names.
    pub names: Names,
}

/// Who decided something that ferryd would not do by itself, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The person.
    pub by: String,
    /// The reason.
    pub reason: String,
}
