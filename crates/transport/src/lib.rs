//! The only outbound I/O besides ferryd's own broker: requests and messages to providers, and the
//! record of them.
//!
//! [`http`] sends a request and reports what certainly did and did not happen, [`broker_link`] does
//! the same for a message over [`amqp`] or [`nats`], [`amqp_consume`] takes the messages by which
//! providers answer, [`tokens`] keeps the access token that a provider may require, [`call_log`]
//! makes one record of each call, and [`encoded_call`] writes it for the log and the stream.

pub mod amqp;
pub mod amqp_consume;
mod amqp_failure;
mod amqp_headers;
mod amqp_link;
mod amqp_message;
mod amqp_publish;
mod amqp_setup;
pub mod broker_link;
pub mod call_log;
pub mod call_method;
pub mod certificates;
pub mod encoded_call;
mod failure;
pub mod handshake;
pub mod http;
pub mod nats;
mod nats_ack;
mod nats_failure;
mod nats_link;
mod nats_message;
mod nats_setup;
mod shared_link;
pub mod tls_error;
pub mod tokens;
