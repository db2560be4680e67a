//! The integration tests, in one binary: real RabbitMQ, real TLS, real sockets, all on 127.0.0.1.

#[cfg(test)]
mod harness;
