//! ferryd carries integration commands from a core application to outside providers, and their answers back.

pub mod amqp;
pub mod config;
pub mod domain;
pub mod provider;
pub mod transport;
