//! Counts all webhooks since the start, by their result.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::info;

use super::refusal::WebhookRefusal;
use ferryd_provider::webhook::ReceiveError;

/// The counters of calls, by their result.
#[derive(Debug, Default)]
pub struct WebhookCounts {
    kept: AtomicU64,
    challenged: AtomicU64,
    nowhere: AtomicU64,
    unreadable: AtomicU64,
    unverified: AtomicU64,
    not_kept: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WebhookTotals {
    /// Calls that were put into a queue, and confirmed.
    pub kept: u64,
    /// Challenges that were answered.
    pub challenged: u64,
    /// Calls to an endpoint or account that does not exist.
    pub nowhere: u64,
    /// Calls of another method or media type, too large, too slow or broken.
    pub unreadable: u64,
    /// Calls whose signature did not verify.
    pub unverified: u64,
    /// Verified calls that the broker or ferryd could not keep, and unproven calls beyond their
    /// limit.
    pub not_kept: u64,
}

impl WebhookCounts {
    pub(super) fn kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn challenged(&self) {
        self.challenged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, refusal: WebhookRefusal) {
        let count = match refusal {
            WebhookRefusal::NoEndpoint
            | WebhookRefusal::NotReceived(ReceiveError::UnknownAccount) => &self.nowhere,
            WebhookRefusal::NotReceived(ReceiveError::Unverified(_)) => &self.unverified,
            WebhookRefusal::NotKept(_)
            | WebhookRefusal::Stopping
            | WebhookRefusal::TooMany
            | WebhookRefusal::NoCertificate => &self.not_kept,
            WebhookRefusal::OtherMethod
            | WebhookRefusal::OnlyPost
            | WebhookRefusal::MediaType
            | WebhookRefusal::Encoded
            | WebhookRefusal::TooLarge
            | WebhookRefusal::TooLargeUnverified
            | WebhookRefusal::Unreadable
            | WebhookRefusal::Slow
            | WebhookRefusal::Broken => &self.unreadable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads all counters.
    #[must_use]
    pub fn now(&self) -> WebhookTotals {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        WebhookTotals {
            kept: get(&self.kept),
            challenged: get(&self.challenged),
            nowhere: get(&self.nowhere),
            unreadable: get(&self.unreadable),
            unverified: get(&self.unverified),
            not_kept: get(&self.not_kept),
        }
    }

    pub(super) fn log(&self) {
        let WebhookTotals { kept, challenged, nowhere, unreadable, unverified, not_kept } =
            self.now();
        info!(
            kept,
            challenged,
            nowhere,
            unreadable,
            unverified,
            not_kept,
            "the endpoint for webhooks is closed"
        );
    }
}
