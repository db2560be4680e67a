//! The integration tests, in one binary that links once: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

#[cfg(test)]
#[expect(dead_code, reason = "a kit for tests to come: not every part has its user yet")]
mod harness;
#[cfg(test)]
mod https;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod tls_server;
