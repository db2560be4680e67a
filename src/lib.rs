//! ferryd carries integration commands from a core application to outside providers, and their answers back.

pub mod amqp;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod failpoint;
pub mod operator;
pub mod pipeline;
pub mod provider;
pub mod sandbox;
pub mod schema;
pub mod telemetry;
pub mod transport;
