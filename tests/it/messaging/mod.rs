//! Tests providers that are reached by messages, on a real broker that stands for the provider's.

mod amqp_link;
mod amqp_link_losses;
mod amqp_link_tls;
mod commands;
#[cfg(feature = "failpoints")]
mod crash;
mod inbound;
mod nats;
#[cfg(feature = "failpoints")]
mod nats_crash;
mod nats_link;
mod provider_broker;
