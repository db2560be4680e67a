//! ferryd carries integration commands from a core application to outside providers, and their
//! answers back.
//!
//! The story of one command: the core application publishes it to RabbitMQ and goes on.
//! [`ferryd_broker`] delivers it to the lane of its provider, where [`pipeline`] reads it, asks
//! [`ferryd_domain`] whether a call may be made, has the [`ferryd_provider`]'s adapter describe the
//! request, sends it through [`ferryd_transport`], has the adapter interpret the answer, and lets
//! [`ferryd_domain`] decide what follows. Everything that follows, an event, a retry, a dead
//! letter, is published and confirmed; only then is the delivery acked. Whatever may have reached a
//! provider without a known end is *unknown*, and never sent again where that could act twice.
//!
//! | module or crate | what |
//! |---|---|
//! | [`ferryd_domain`] | commands, outcomes, decisions, events: pure functions and types, no I/O |
//! | [`pipeline`] | the processing of one command, top to bottom; the lanes and their messages |
//! | [`ferryd_provider`] | provider files, adapters, the catalog |
//! | [`ferryd_redact`] | the mask: hides secrets in everything that leaves ferryd; escapes for terminals |
//! | [`ferryd_transport`] | HTTPS, and the call log |
//! | [`ferryd_broker`] | topology, the link to the broker, publishing, consuming, headers |
//! | [`keyed_limiter`] | limits of a rate for each of many keys |
//! | [`ferryd_ledger`] | the recorded state of every command: the index over the stream |
//! | [`jobs`] | operators' actions on many dead letters, run by the daemon |
//! | [`web`] | the HTTP API beside the queue, and the endpoint for webhooks |
//! | [`ferryd_settings`] | files in TOML: values, faults with their lines, secrets that stand elsewhere |
//! | [`ferryd_serve`] | accepting connections, TLS, limits, drain |
//! | [`daemon`] | from a configuration to running lanes, and back down |
//! | [`operator`] | publishing, following, and dead letters, for people |
//! | [`cli`], [`config`], [`telemetry`], [`schema`] | the program around it |
//! | [`ferryd_sandbox`] | a provider for demonstrations and tests |
//! | [`failpoint`] | places at which tests end the daemon |

#[cfg(test)]
mod captured_text;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod failpoint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod jobs;
pub mod keyed_limiter;
pub mod operator;
pub mod pipeline;
pub mod schema;
pub mod telemetry;
pub mod web;
