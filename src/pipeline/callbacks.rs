//! The consumer of one provider's webhook calls.

use std::sync::Arc;

use super::Pipeline;
use super::lane::Lanes;
use super::lookup_limit::LookupLimit;
use ferryd_provider::Provider;

/// Processes the webhook calls of one provider.
pub struct Callbacks {
    /// Publishes and acks.
    pub pipeline: Arc<Pipeline>,
    /// The provider that calls.
    pub provider: Arc<Provider>,
    /// The lanes of the provider, whose accounts' secrets and tokens are masked.
    pub lanes: Arc<Lanes>,
    /// Limits the lookups that unproven calls cause.
    pub unverified_lookups: LookupLimit,
}
