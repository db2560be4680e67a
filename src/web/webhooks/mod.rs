//! The endpoint for webhook calls of providers: an address of its own, without tokens, open to the world.
//!
//! It decides nothing. A call that its provider's webhook believes is put into the provider's queue, and answered with 2xx once
//! the broker has confirmed that; whoever consumes the queue finds out what it means. So a call that was answered is not lost,
//! and one that was not is made again by its provider: then it may be in the queue twice.
//!
//! | module | what |
//! |---|---|
//! | [`Endpoint`] | what all calls share |
//! | `take` | the way of one call |
//! | [`queue`] | what calls are kept in |
//! | `refusal` | why a call is not taken, for the caller and for the log |
//! | `origin` | who calls, behind proxies |
//! | [`counts`] | what became of all calls |
//! | [`tls`] | its certificate |
//! | `unverified` | calls that nothing proves |

pub mod counts;
mod endpoint;
mod origin;
pub mod queue;
mod refusal;
mod take;
pub mod tls;
mod unverified;

use std::sync::Arc;

use axum::Router;
use tokio_rustls::TlsAcceptor;

pub use self::endpoint::Endpoint;
use super::routes::attended;
use ferryd_serve::connection_limiter::{ConnectionLimiter, GivesWay};
use ferryd_serve::server::{Listener, ServerConfig, ServerName};

/// The name of the endpoint for webhook calls as a server.
pub const WEBHOOK_SERVER: ServerName =
    ServerName { name: "the endpoint for webhooks", remedy: "or write another `webhooks.bind`" };

impl Endpoint {
    /// Accepts calls until `stop` is cancelled, and then answers those that are under way.
    pub async fn serve(self: Arc<Self>, listener: Listener, tls: Option<TlsAcceptor>) {
        let limits = self.limits();
        let proxies = self.settings.trusted_proxies.clone();
        let limiter = Arc::new(ConnectionLimiter::new(limits.connections, GivesWay::Newest, proxies));
        let (router, stop) = (router(Arc::clone(&self)), self.stop.clone());
        listener.serve(ServerConfig { router, limits, limiter, tls, stop }).await;
        self.counts.log();
    }
}

/// Routes every path to one handler, so that unknown paths are all answered alike.
fn router(endpoint: Arc<Endpoint>) -> Router {
    attended(Router::new().fallback(take::take)).with_state(endpoint)
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
