//! ferryd carries integration commands from a core application to outside providers, and their answers back.

pub mod domain;
pub mod provider;
pub mod sandbox;
pub mod transport;
