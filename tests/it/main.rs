//! The integration tests, in one binary that links once: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail like tests")]

#[cfg(test)]
mod carry;
#[cfg(all(test, feature = "failpoints"))]
mod chaos;
#[cfg(all(test, feature = "failpoints"))]
mod crash;
#[cfg(test)]
#[expect(dead_code, reason = "a kit for tests to come: not every part has its user yet")]
mod harness;
mod https;
#[cfg(test)]
mod load;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod link;
#[cfg(test)]
mod rig;
mod sandbox;
#[cfg(test)]
mod shutdown;
mod tls_server;
