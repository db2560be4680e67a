//! Counts all webhook calls since the start, by their result.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::info;

use super::refusal::Refusal;
use ferryd_provider::webhook::NotReceived;

/// The counters of calls, by their result.
#[derive(Debug, Default)]
pub struct Counts {
    kept: AtomicU64,
    challenged: AtomicU64,
    nowhere: AtomicU64,
    unreadable: AtomicU64,
    unverified: AtomicU64,
    not_kept: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
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

impl Counts {
    pub(super) fn kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn challenged(&self) {
        self.challenged.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let count = match refusal {
            Refusal::NoEndpoint | Refusal::NotReceived(NotReceived::UnknownAccount) => &self.nowhere,
            Refusal::NotReceived(NotReceived::Unverified(_)) => &self.unverified,
            Refusal::NotKept(_) | Refusal::Stopping | Refusal::TooMany | Refusal::NoCertificate => &self.not_kept,
            Refusal::OtherMethod
            | Refusal::OnlyPost
            | Refusal::MediaType
            | Refusal::Encoded
            | Refusal::TooLarge
            | Refusal::TooLargeUnverified
            | Refusal::Unreadable
            | Refusal::Slow
            | Refusal::Broken => &self.unreadable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads all counters.
    #[must_use]
    pub fn now(&self) -> Counted {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counted {
            kept: get(&self.kept),
            challenged: get(&self.challenged),
            nowhere: get(&self.nowhere),
            unreadable: get(&self.unreadable),
            unverified: get(&self.unverified),
            not_kept: get(&self.not_kept),
        }
    }

    pub(super) fn log(&self) {
        let Counted { kept, challenged, nowhere, unreadable, unverified, not_kept } = self.now();
        info!(kept, challenged, nowhere, unreadable, unverified, not_kept, "the endpoint for webhooks is closed");
    }
}
