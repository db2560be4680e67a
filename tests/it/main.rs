//! The integration tests, in one binary: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

mod architecture;
mod documents;
#[cfg(test)]
#[expect(dead_code, reason = "a kit for tests to come: not every part has its user yet")]
mod harness;
mod https;
mod tls_server;
