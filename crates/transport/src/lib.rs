//! The only outbound I/O besides the broker: requests to providers, and the record of them.
//!
//! [`http`] sends a request and reports what certainly did and did not happen, [`tokens`] keeps the
//! access token that a provider may require, and [`exchange_log`] writes one record of each call.

pub mod certificates;
pub mod exchange_log;
mod failure;
pub mod handshake;
pub mod http;
pub mod tls_error;
pub mod tokens;
