//! RabbitMQ: the topology, the link to the broker, publishing with confirms, consuming, and the
//! form of ferryd's own messages.

pub mod broker;
pub mod callback;
mod carried;
pub mod connection;
pub mod consumer;
pub mod declare;
pub mod destination;
pub mod error;
pub mod failure;
pub mod header_frame;
pub mod headers;
mod link;
pub mod message;
pub mod names;
pub mod nodes;
mod outlet;
pub mod own_user;
mod owned_channel;
pub mod quarantine;
mod reconnect;
pub mod refused;
pub mod session;
mod session_end;
mod standing;
pub mod stream;
mod tolerant;
pub mod topology;
mod trace;
pub mod window;
