//! The integration tests: one binary, so that it links once.

mod https;
mod sandbox;
mod tls_server;
