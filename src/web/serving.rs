//! The API at its address: from a listener to answers, and back to silence.

use std::sync::Arc;

use super::{Desk, prefer, routes};
use crate::serve::connection_limiter::{ConnectionLimiter, GivesWay};
use crate::serve::network::Network;
use crate::serve::server::{Limits, Listener, ServerConfig, ServerName};

/// The API, as a server.
pub const API_SERVER: ServerName =
    ServerName { name: "the API", remedy: "write another `api.bind`, or `api.enabled = false`" };

/// Answers requests to the API until the desk's `stop` is cancelled, and then those that are under way. Commands that were handed in
/// are published before this returns. Connections of `proxies` are not limited by address.
pub async fn serve_api(listener: Listener, desk: Desk, limits: Limits, proxies: Vec<Network>) {
    let (stop, work) = (desk.stop.clone(), desk.tasks.clone());
    let limiter = Arc::new(ConnectionLimiter::new(limits.connections, GivesWay::OldestIdle, proxies));
    let limits = Limits { longest_answer: prefer::LONGEST, ..limits };
    listener.serve(ServerConfig { router: routes::router(desk), limits, limiter, tls: None, stop }).await;
    work.close();
    work.wait().await;
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
