//! Serves the API at its address: accepts connections, answers, and drains at the end.

use std::sync::Arc;

use super::{ApiState, prefer, routes};
use ferryd_serve::connection_limiter::{ConnectionLimiter, EvictionPolicy};
use ferryd_serve::network::IpNetwork;
use ferryd_serve::server::{BoundListener, ConnectionLimits, ServerConfig, ServerName};

/// The name of the API as a server.
pub const API_SERVER: ServerName =
    ServerName { name: "the API", remedy: "write another `api.bind`, or `api.enabled = false`" };

/// Answers requests to the API until the state's `stop` is cancelled, and then those under way.
/// Submitted commands are published before this returns. The limit per address does not hold for
/// `proxies`.
pub async fn serve_api(
    listener: BoundListener,
    api: ApiState,
    limits: ConnectionLimits,
    proxies: Vec<IpNetwork>,
) {
    let (stop, work) = (api.stop.clone(), api.tasks.clone());
    let limiter =
        Arc::new(ConnectionLimiter::new(limits.connections, EvictionPolicy::OldestIdle, proxies));
    let limits = ConnectionLimits { longest_answer: prefer::LONGEST, ..limits };
    listener
        .serve(ServerConfig { router: routes::router(api), limits, limiter, tls: None, stop })
        .await;
    work.close();
    work.wait().await;
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
