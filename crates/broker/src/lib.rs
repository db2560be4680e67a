//! RabbitMQ: the topology, the link to the broker, publishing with confirms, consuming, and the
//! form of ferryd's own messages.

mod batch_fetch;
mod batch_room;
pub mod broker;
pub mod connection;
pub mod consumer;
mod copied_properties;
pub mod declare;
pub mod delivery_acks;
pub mod delivery_handler;
pub mod delivery_window;
pub mod destination;
mod destination_health;
pub mod error;
pub mod failure;
mod frame_size;
pub mod header_frame;
pub mod headers;
mod link;
mod link_clock;
pub mod message;
pub mod names;
pub mod node_addresses;
mod outlet;
pub mod own_user;
mod owned_channel;
pub mod quarantine;
mod reconnect;
pub mod refused_message;
pub mod session;
mod session_end;
pub mod stream;
pub mod topology;
mod trace_context;
pub mod webhook_message;
