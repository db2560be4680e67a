//! An operation, ready to be called.

use super::answer::AnswerReader;
use super::query::{LookupRequest, PollRequest};
use super::request::RequestTemplate;
use super::text::TextTemplate;
use ferryd_domain::query::QueryPurpose;

/// An operation, compiled.
pub(super) struct RestOperation {
    pub(super) request: RequestTemplate,
    pub(super) reading: AnswerReader,
    pub(super) poll: Option<PollRequest>,
    pub(super) lookup: Option<LookupRequest>,
    pub(super) affects: Option<TextTemplate>,
}

impl RestOperation {
    /// The request of a query, where the operation has one.
    pub(super) fn query_request(&self, purpose: QueryPurpose) -> Option<&RequestTemplate> {
        match (purpose, &self.lookup) {
            (QueryPurpose::Lookup, Some(LookupRequest::Own(lookup))) => Some(&lookup.request),
            (QueryPurpose::Lookup, None) => None,
            (QueryPurpose::Poll, _) | (QueryPurpose::Lookup, Some(LookupRequest::OfPoll)) => {
                self.poll.as_ref().map(|poll| &poll.request)
            }
        }
    }
}
