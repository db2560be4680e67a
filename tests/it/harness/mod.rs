//! The parts of integration tests: a RabbitMQ node and a NATS server, a virtual host of it per test, a proxy that
//! breaks the way to it, ferryd as a process, and a core application.

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod daemon;
pub(crate) mod events;
pub(crate) mod nats_server;
pub(crate) mod node;
pub(crate) mod queue_trouble;
pub(crate) mod tcp_proxy;
pub(crate) mod vhost;
pub(crate) mod wait;

mod harness_tests;
