//! RabbitMQ: topology, the link to the broker, publishing with confirms, consuming, and the headers of ferryd's own messages.

pub mod broker;
pub mod connection;
pub mod consumer;
pub mod declare;
pub mod error;
pub mod headers;
pub mod message;
pub mod stream;
pub mod topology;
