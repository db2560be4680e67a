//! The only outbound I/O besides the broker: requests to providers, and the record of them.
//!
//! [`http`] sends a request and reports what certainly did and did not happen, [`tokens`] keeps the
//! access token that a provider may require, and [`call_log`] writes one record of each call.

pub mod call_log;
pub mod certificates;
mod failure;
pub mod handshake;
pub mod http;
pub mod tls_error;
pub mod tokens;
