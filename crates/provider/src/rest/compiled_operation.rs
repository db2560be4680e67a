//! An operation, ready to be called.

use super::answer::AnswerReader;
use super::expression::ExpressionScope;
use super::message::MessageTemplate;
use super::query::{LookupRequest, PollRequest};
use super::request::{RequestTemplate, SharedRequestParts};
use super::text::TextTemplate;
use crate::CallContext;
use ferryd_domain::key::IdempotencyKey;
use ferryd_domain::outbound_request::OutboundRequest;
use ferryd_domain::outcome::Failure;
use ferryd_domain::query::QueryPurpose;

/// An operation, compiled.
pub(super) struct RestOperation {
    pub(super) call: CallTemplate,
    pub(super) reading: AnswerReader,
    pub(super) poll: Option<PollRequest>,
    pub(super) lookup: Option<LookupRequest>,
    pub(super) affects: Option<TextTemplate>,
}

/// The template of a call.
pub(super) enum CallTemplate {
    /// An HTTP request.
    Http(RequestTemplate),
    /// A message to the provider's broker.
    Message(MessageTemplate),
}

impl CallTemplate {
    /// Renders the call of a command. A message has an id in any case: its receiver may recognise a
    /// repeat even where the file does not rely on it.
    pub(super) fn render(
        &self,
        shared: &SharedRequestParts,
        scope: &ExpressionScope<'_>,
        call: &CallContext<'_>,
    ) -> Result<OutboundRequest, Failure> {
        match self {
            Self::Http(request) => {
                request.render(shared, scope, call.key).map(OutboundRequest::Http)
            }
            Self::Message(message) => {
                let own = || IdempotencyKey::for_generation(&call.command.id, call.generation);
                let id = call.key.cloned().unwrap_or_else(own);
                message.render(shared, scope, &id).map(OutboundRequest::Message)
            }
        }
    }
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
