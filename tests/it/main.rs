//! The integration tests: one binary, so that it links once.

mod https;
mod tls_server;
