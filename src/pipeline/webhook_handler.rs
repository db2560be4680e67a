//! The consumer of one provider's webhooks.

use std::sync::Arc;

use super::Pipeline;
use super::lane::ProviderLanes;
use super::lookup_limit::LookupLimit;
use ferryd_provider::Provider;

/// Processes the webhooks of one provider.
pub struct WebhookHandler {
    /// Publishes and acks.
    pub pipeline: Arc<Pipeline>,
    /// The provider that calls.
    pub provider: Arc<Provider>,
    /// The lanes of the provider, whose accounts' secrets and tokens are masked.
    pub lanes: Arc<ProviderLanes>,
    /// Limits the lookups that unproven calls cause.
    pub unverified_lookups: LookupLimit,
}
