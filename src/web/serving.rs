//! Serves the API at its address: accepts connections, answers, and drains at the end.

use std::sync::Arc;

use super::{Desk, prefer, routes};
use ferryd_serve::connection_limiter::{ConnectionLimiter, GivesWay};
use ferryd_serve::network::Network;
use ferryd_serve::server::{Limits, Listener, ServerConfig, ServerName};

/// The name of the API as a server.
pub const API_SERVER: ServerName =
    ServerName { name: "the API", remedy: "write another `api.bind`, or `api.enabled = false`" };

/// Answers requests to the API until the desk's `stop` is cancelled, and then those under way.
/// Submitted commands are published before this returns. The limit per address does not hold for
/// `proxies`.
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
