//! HTTP/1.1 servers: accepting connections, TLS, limits and shutdown. The API, the webhook endpoint
//! and the sandbox run on this module.
//!
//! | module | content |
//! |---|---|
//! | [`server`] | listening, the accept loop, and the life of one connection |
//! | [`connection_limiter`] | limits the connections of one address |
//! | [`connection_handle`] | the connection as its requests see it |
//! | [`network`] | IP networks in CIDR notation |
//! | [`tls`] | TLS with a certificate |
//! | `watched_stream` | a TCP connection that is watched while it is served |

pub mod connection_handle;
pub mod connection_limiter;
pub mod network;
pub mod server;
pub mod tls;
mod watched_stream;
