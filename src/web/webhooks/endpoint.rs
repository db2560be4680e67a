//! What all webhook calls share.

use std::sync::Arc;
use std::time::Duration;

use governor::clock::DefaultClock;
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::queue::{Keep, PATIENCE};
use super::refusal::Refusal;
use super::unverified::UnverifiedLimits;
use crate::config::Webhooks;
use crate::provider::registry::Registry;
use crate::serve::server::Limits;
use crate::telemetry::log_throttle::LogThrottle;
use crate::transport::certificates::{CERTIFICATE_TIMEOUT, CertificateSource};

/// The most bytes of a call's head. It travels as headers of a message, which must fit one frame of 128 KiB, and an odd byte can
/// become three there.
const HEAD_BYTES: usize = 32 << 10;

/// The time between lines about calls that are refused for one reason.
const REFUSAL_INTERVAL: Duration = Duration::from_secs(1);

/// What all calls share.
pub struct Endpoint {
    pub(super) registry: Arc<Registry>,
    pub(super) keep: Arc<dyn Keep>,
    pub(super) certificates: Arc<dyn CertificateSource>,
    pub(super) settings: Webhooks,
    pub(super) counts: Counts,
    /// Limits the lines about refused calls, which anybody can make as often as they like.
    pub(super) refusals: LogThrottle<Refusal>,
    /// Limits the calls that nothing proves.
    pub(super) unverified: UnverifiedLimits,
    pub(super) stop: CancellationToken,
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

    /// The limits of its server.
    pub(super) fn limits(&self) -> Limits {
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
