//! The integration tests, in one binary that links once: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

mod architecture;
mod documents;
mod handshake;
#[cfg(test)]
#[expect(dead_code, reason = "a kit for tests to come: not every part has its user yet")]
mod harness;
mod amqps;
mod bulkhead;
mod carry;
mod contract;
mod exchange_log;
mod headers;
mod https;
#[cfg(test)]
mod invalid;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod removed;
#[cfg(test)]
mod rig;
mod sandbox;
#[cfg(test)]
mod operator;
mod schedule;
mod tls_server;
