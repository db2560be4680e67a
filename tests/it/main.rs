//! The integration tests, in one binary that links once: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

#[cfg(test)]
mod amqps;
#[cfg(test)]
mod bulkhead;
#[cfg(test)]
mod carry;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod exchange_log;
mod handshake;
#[cfg(test)]
#[expect(dead_code, reason = "a kit for tests to come: not every part has its user yet")]
mod harness;
#[cfg(test)]
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
mod schedule;
mod tls_server;
