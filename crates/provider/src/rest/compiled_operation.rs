//! An operation, ready to be called.

use super::answer::Reading;
use super::inquiry::{LookupRequest, Poll};
use super::request::RequestTemplate;
use super::text::Text;
use ferryd_domain::inquiry::Purpose;

/// An operation, compiled.
pub(super) struct RestOperation {
    pub(super) request: RequestTemplate,
    pub(super) reading: Reading,
    pub(super) poll: Option<Poll>,
    pub(super) lookup: Option<LookupRequest>,
    pub(super) affects: Option<Text>,
}

impl RestOperation {
    /// The request of a query, where the operation has one.
    pub(super) fn question(&self, purpose: Purpose) -> Option<&RequestTemplate> {
        match (purpose, &self.lookup) {
            (Purpose::Lookup, Some(LookupRequest::Own(lookup))) => Some(&lookup.request),
            (Purpose::Lookup, None) => None,
            (Purpose::Poll, _) | (Purpose::Lookup, Some(LookupRequest::OfPoll)) => {
                self.poll.as_ref().map(|poll| &poll.request)
            }
        }
    }
}
