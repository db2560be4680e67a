//! The HTTP API beside the queue: publish a command and wait for its end, read commands, cancel
//! them.
//!
//! The API decides nothing by itself. A submitted command is recorded in the ledger first, and
//! what the ledger makes of it at its place is the answer: new, known, ended, or another under the
//! same id. Then it is published like any other, and carried out by the instance that takes it
//! from the queue.
//!
//! | module | what |
//! |---|---|
//! | [`route`], [`routes`] | every path, its requirements and its handler |
//! | [`access`], [`host_token`], [`api_address`] | tokens and roles, the token of this host, and where its daemon listens |
//! | [`responses`] | the answers about commands |
//! | `submit`, `cancel`, `erase`, `lookup`, `read_commands`, `dead_letters`, `liveness` | the handlers of the routes |
//! | [`jobs`], [`job_order`] | actions on many dead letters, and the order to start one |
//! | `command_gate` | access to commands, within the scope of a token |
//! | [`commands`], [`ledger_service`] | the interface to the rest of ferryd, and its implementation |
//! | [`problem`] | every error |
//! | [`serving`] | the API at its address |
//! | [`openapi`], `endpoint`, `operation`, `parameters`, `schemas` | the description for clients, derived from the types of the handlers |
//! | `extract`, [`query`], [`query_string`], `body`, [`prefer`] | the parts of a request that handlers read |
//! | [`webhooks`] | the endpoint for webhooks of providers, at an address of its own |

pub mod access;
pub mod api_address;
mod api_state;
mod body;
mod cancel;
mod command_gate;
mod command_submission;
pub mod commands;
mod dead_letter_view;
pub mod dead_letters;
mod endpoint;
mod erase;
mod extract;
pub mod host_token;
pub mod job_order;
pub mod jobs;
pub mod ledger_service;
mod liveness;
pub mod lookup;
pub mod openapi;
mod operation;
mod parameters;
pub mod prefer;
pub mod problem;
pub mod query;
pub mod query_string;
mod read_commands;
pub(crate) mod repeated;
pub mod responses;
pub mod route;
pub mod routes;
mod schemas;
pub mod serving;
mod submit;
pub mod webhooks;

pub use self::api_state::ApiState;

#[cfg(test)]
mod test_client;

#[cfg(test)]
mod dead_letters_tests;

#[cfg(test)]
mod erase_tests;

#[cfg(test)]
mod fake_commands;
#[cfg(test)]
mod fake_service;

#[cfg(test)]
mod submit_tests;

#[cfg(test)]
mod token_scope_tests;

#[cfg(test)]
mod web_tests;
