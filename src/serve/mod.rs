//! Servers over HTTP/1.1: accepting connections, TLS, their limits and their end. The API, the endpoint for webhooks and the
//! sandbox are served by this.
//!
//! | module | what |
//! |---|---|
//! | [`server`] | listening, the loop that accepts, and the way of one connection |
//! | [`connection_limiter`] | the connections of one address |
//! | [`connection_handle`] | what a request knows of its connection |
//! | [`network`] | addresses that are meant together |
//! | [`tls`] | what speaks TLS with a certificate |
//! | `watched_stream` | a TCP connection that is looked at while it is served |

pub mod connection_handle;
pub mod connection_limiter;
pub mod network;
pub mod server;
pub mod tls;
mod watched_stream;
