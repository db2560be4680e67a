//! RabbitMQ: topology, the link to the broker, publishing with confirms, consuming, and what ferryd's own messages look like.

pub mod broker;
pub mod callback;
pub mod connection;
pub mod consumer;
pub mod declare;
pub mod error;
pub mod headers;
pub mod message;
pub mod names;
mod reconnect;
pub mod stream;
pub mod topology;
