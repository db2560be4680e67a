//! The integration tests: one binary, so that it links once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod https;
mod sandbox;
mod tls_server;
