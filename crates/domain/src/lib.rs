//! The pure core: commands, the classification of answers, and the decisions that follow.
//!
//! No code in here does I/O, reads a clock or draws random numbers, and none depends on tokio,
//! lapin, reqwest or axum; `tests/it/architecture.rs` holds this. So every decision about other
//! people's money is a function from values to values.

pub mod classify;
pub mod command;
pub mod command_id;
pub mod command_scope;
pub mod conflict;
pub mod credentials;
pub mod dead_letter;
pub mod digest;
pub mod echo_token;
pub mod encoded_value;
pub mod event;
mod event_json;
pub mod http_call;
pub mod job;
pub mod json_writer;
pub mod key;
pub mod ledger;
pub mod lifecycle;
pub mod loopback;
pub mod message_call;
pub mod money;
pub mod name;
pub mod outbound_request;
pub mod outcome;
mod parsed_text;
pub mod progress;
pub mod publisher;
pub mod query;
pub mod retry;
pub mod timestamp_text;
pub mod token;
pub mod webhook;
pub mod webhook_event;
pub mod webhook_token;
