//! ferryd carries integration commands from a core application to outside providers, and their answers back.

pub mod cli;
pub mod config;
pub mod domain;
pub mod provider;
pub mod schema;
pub mod telemetry;
