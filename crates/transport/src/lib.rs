//! The only outbound I/O besides the broker: requests to providers, and the record of them.
//!
//! [`http`] sends a request and reports what certainly did and did not happen, [`tokens`] keeps the
//! access token that a provider may require, [`call_log`] makes one record of each
//! call, and [`encoded_call`] writes it for the log and the stream.

pub mod call_log;
pub mod certificates;
pub mod encoded_call;
mod failure;
pub mod handshake;
pub mod http;
pub mod tls_error;
pub mod tokens;
