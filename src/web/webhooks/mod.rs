//! The endpoint for webhooks of providers: an address of its own, without tokens, open to the
//! world.
//!
//! The endpoint decides nothing. A call that its provider's webhook verifies is put into the
//! provider's queue, and answered with 2xx once the broker has confirmed that; the consumer of the
//! queue finds out what it means. So a call that was answered is not lost, and one that was not is made
//! again by its provider: then it may be in the queue twice.
//!
//! | module | what |
//! |---|---|
//! | [`EndpointState`] | the state that all calls share |
//! | `receive` | the processing of one call |
//! | [`sink`] | the queues that keep calls |
//! | `refusal` | the reasons to refuse a call, for the caller and for the log |
//! | `origin` | the address of the caller, behind proxies |
//! | [`counts`] | the outcome of all calls |
//! | [`tls`] | its certificate |
//! | `unverified` | the limits of unproven calls, and what is stored of them |

pub mod counts;
mod endpoint;
mod origin;
mod receive;
mod refusal;
pub mod sink;
pub mod tls;
mod unverified;

use std::sync::Arc;

use axum::Router;
use tokio_rustls::TlsAcceptor;

pub use self::endpoint::EndpointState;
use super::routes::with_request_layers;
use ferryd_serve::connection_limiter::{ConnectionLimiter, EvictionPolicy};
use ferryd_serve::server::{BoundListener, ServerConfig, ServerName};

/// The name of the endpoint for webhooks as a server.
pub const WEBHOOK_SERVER: ServerName =
    ServerName { name: "the endpoint for webhooks", remedy: "or write another `webhooks.bind`" };

impl EndpointState {
    /// Accepts calls until `stop` is cancelled, and then answers those that are under way.
    pub async fn serve(self: Arc<Self>, listener: BoundListener, tls: Option<TlsAcceptor>) {
        let limits = self.limits();
        let proxies = self.settings.trusted_proxies.clone();
        let limiter =
            Arc::new(ConnectionLimiter::new(limits.connections, EvictionPolicy::Newest, proxies));
        let (router, stop) = (router(Arc::clone(&self)), self.stop.clone());
        listener.serve(ServerConfig { router, limits, limiter, tls, stop }).await;
        self.counts.log();
    }
}

/// Routes every path to one handler, so that unknown paths are all answered alike.
fn router(endpoint: Arc<EndpointState>) -> Router {
    with_request_layers(Router::new().fallback(receive::take)).with_state(endpoint)
}

#[cfg(test)]
mod fake;

#[cfg(test)]
mod connection_tests;

#[cfg(test)]
mod paypal_tests;

#[cfg(test)]
mod unknown_account_tests;

#[cfg(test)]
mod webhooks_tests;
