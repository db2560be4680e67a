//! The state that all webhooks share.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::DefaultClock;
use tokio_util::sync::CancellationToken;

use super::counts::WebhookCounts;
use super::refusal::WebhookRefusal;
use super::sink::{PATIENCE, WebhookSink};
use super::unverified::UnverifiedLimits;
use crate::config::WebhooksConfig;
use crate::telemetry::log_throttle::LogThrottle;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_serve::server::ConnectionLimits;
use ferryd_transport::certificates::{CERTIFICATE_TIMEOUT, CertificateSource};

/// The most bytes of a call's head. The head becomes headers of a message, which must fit one frame
/// of 128 KiB, and a byte outside of ASCII can become three there.
const HEAD_BYTES: usize = 32 << 10;

/// The time between log lines about calls that are refused for one reason.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// The state that all calls share.
pub struct EndpointState {
    pub(super) registry: Arc<ProviderRegistry>,
    pub(super) keep: Arc<dyn WebhookSink>,
    pub(super) certificates: Arc<dyn CertificateSource>,
    pub(super) settings: WebhooksConfig,
    pub(super) counts: WebhookCounts,
    /// Limits the lines about refused calls, which outsiders can cause as often as they like.
    pub(super) refusals: LogThrottle<WebhookRefusal>,
    /// Limits the unproven calls.
    pub(super) unverified: UnverifiedLimits,
    pub(super) stop: CancellationToken,
}

impl EndpointState {
    /// Makes an endpoint for the providers of a registry. No call is accepted any more once `stop`
    /// is cancelled.
    #[must_use]
    pub fn new(
        registry: Arc<ProviderRegistry>,
        keep: Arc<dyn WebhookSink>,
        certificates: Arc<dyn CertificateSource>,
        settings: WebhooksConfig,
        stop: CancellationToken,
    ) -> Self {
        let refusals = LogThrottle::new(REFUSAL_INTERVAL);
        let unverified = UnverifiedLimits::with_clock(&DefaultClock::default());
        Self {
            registry,
            keep,
            certificates,
            settings,
            counts: WebhookCounts::default(),
            refusals,
            unverified,
            stop,
        }
    }

    /// Returns the counts of calls so far.
    #[must_use]
    pub fn counts(&self) -> &WebhookCounts {
        &self.counts
    }

    /// Returns the limits of the endpoint's server.
    pub(super) fn limits(&self) -> ConnectionLimits {
        let WebhooksConfig { max_connections, header_timeout, body_timeout, .. } = self.settings;
        ConnectionLimits {
            connections: max_connections.into(),
            head: header_timeout,
            head_bytes: HEAD_BYTES,
            // The body, the certificate, the confirm, and the sending of the answer.
            drain_timeout: body_timeout + CERTIFICATE_TIMEOUT + PATIENCE + Duration::from_secs(1),
            ..ConnectionLimits::default()
        }
    }
}
