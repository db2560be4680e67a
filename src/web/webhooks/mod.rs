//! The endpoint for webhook calls of providers: an address of its own, without tokens, open to the world.
//!
//! It decides nothing. A call that its provider's webhook believes is put into the provider's queue, and answered with 2xx once
//! the broker has confirmed that; whoever consumes the queue finds out what it means. So a call that was answered is not lost,
//! and one that was not is made again by its provider: then it may be in the queue twice.
//!
//! | module | what |
//! |---|---|
//! | `take` | the way of one call |
//! | [`queue`] | what calls are kept in |
//! | `refusal` | why a call is not taken, for the caller and for the log |
//! | `origin` | who calls, behind proxies |
//! | [`counts`] | what became of all calls |
//! | [`tls`] | its certificate |
//! | `unverified` | calls that nothing proves |

pub mod counts;
mod origin;
pub mod queue;
mod refusal;
mod take;
pub mod tls;
mod unverified;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use governor::clock::DefaultClock;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::counts::Counts;
use self::queue::{Keep, PATIENCE};
use self::refusal::Refusal;
use self::unverified::UnverifiedLimits;
use super::routes::attended;
use crate::config::Webhooks;
use crate::provider::registry::Registry;
use crate::serve::connection_limiter::{ConnectionLimiter, GivesWay};
use crate::serve::server::{Limits, Listener, ServerConfig, ServerName};
use crate::telemetry::log_throttle::LogThrottle;
use crate::transport::certificates::{CERTIFICATE_TIMEOUT, CertificateSource};

/// The most bytes of a call's head. It travels as headers of a message, which must fit one frame of 128 KiB, and an odd byte can
/// become three there.
const HEAD_BYTES: usize = 32 << 10;

/// The endpoint for webhook calls, as a server.
pub const WEBHOOK_SERVER: ServerName =
    ServerName { name: "the endpoint for webhooks", remedy: "or write another `webhooks.bind`" };

/// The time between lines about calls that are refused for one reason.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// What all calls share.
pub struct Endpoint {
    registry: Arc<Registry>,
    keep: Arc<dyn Keep>,
    certificates: Arc<dyn CertificateSource>,
    settings: Webhooks,
    counts: Counts,
    /// Limits the lines about refused calls, which anybody can make as often as they like.
    refusals: LogThrottle<Refusal>,
    /// Limits the calls that nothing proves.
    unverified: UnverifiedLimits,
    stop: CancellationToken,
}

impl Endpoint {
    /// An endpoint for the providers of a registry. Nothing is taken any more once `stop` is cancelled.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        keep: Arc<dyn Keep>,
        certificates: Arc<dyn CertificateSource>,
        settings: Webhooks,
        stop: CancellationToken,
    ) -> Self {
        let refusals = LogThrottle::new(REFUSAL_INTERVAL);
        let unverified = UnverifiedLimits::with_clock(&DefaultClock::default());
        Self { registry, keep, certificates, settings, counts: Counts::default(), refusals, unverified, stop }
    }

    /// What became of all calls so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes calls until `stop` is cancelled, and then answers those that are under way.
    pub async fn serve(self: Arc<Self>, listener: Listener, tls: Option<TlsAcceptor>) {
        let limits = self.limits();
        let proxies = self.settings.trusted_proxies.clone();
        let limiter = Arc::new(ConnectionLimiter::new(limits.connections, GivesWay::Newest, proxies));
        let (router, stop) = (router(Arc::clone(&self)), self.stop.clone());
        listener.serve(ServerConfig { router, limits, limiter, tls, stop }).await;
        self.counts.log();
    }

    fn limits(&self) -> Limits {
        let Webhooks { max_connections, header_timeout, body_timeout, .. } = self.settings;
        Limits {
            connections: max_connections.into(),
            head: header_timeout,
            head_bytes: HEAD_BYTES,
            // Body, certificate, confirm, and the answer on its way.
            drain_timeout: body_timeout + CERTIFICATE_TIMEOUT + PATIENCE + Duration::from_secs(1),
            ..Limits::default()
        }
    }
}

/// All of the endpoint. There is one way for every path, so that those which lead nowhere are all answered alike.
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
