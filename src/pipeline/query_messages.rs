//! Builds the messages that wait to query a provider.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::incoming_message::IncomingMessage;
use super::messages::{MessageFactory, event_of};
use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::message::{OutgoingMessage, persistent_properties, short_or_empty};
use ferryd_domain::event::EventKind;
use ferryd_domain::ledger::effects::{ContinuationEffect, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::record::RetainedMessage;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_domain::query::{AcceptedCommand, ProviderQuery, QueryPurpose};
use ferryd_domain::retry::Rung;

impl MessageFactory {
    /// Derives the effects of an acceptance: the event, where none is published yet, and the
    /// continuation that polls the provider.
    pub(super) fn waiting_effects(
        &self,
        incoming: &IncomingMessage,
        attempt: u32,
        accepted: AcceptedCommand,
        now: Timestamp,
    ) -> RecordedEffects {
        let AcceptedCommand { success, waiting_for, deadline, query, first } = accepted;
        let mut state = incoming.state.clone();
        state.progress.deadline = Some(deadline);
        if success.provider_reference.is_some() {
            state.progress.provider_reference.clone_from(&success.provider_reference);
        }
        let kind = EventKind::Waiting(success, waiting_for);
        let publish_event = first && self.states.contains(&kind.state());
        let mut event = event_of(incoming, attempt, kind, now);
        event.data.next_attempt_at = Some(query.due);
        RecordedEffects {
            event: event.into(),
            publish_event,
            message: Some(self.query_message(incoming, state, query, now)),
        }
    }

    /// Derives the effects of a later query: the continuation that makes it.
    pub(super) fn query_effects(
        &self,
        incoming: &IncomingMessage,
        query: ProviderQuery,
        failure: Option<Failure>,
        now: Timestamp,
    ) -> RecordedEffects {
        let mut state = incoming.state.clone();
        if query.purpose == QueryPurpose::Lookup {
            state.progress.unknown_since.get_or_insert(now);
        }
        let attempt = state.progress.attempt;
        let accepted = state.progress.deadline.is_some();
        let event = event_of(
            incoming,
            attempt,
            EventKind::Querying { accepted, due: query.due, failure },
            now,
        );
        RecordedEffects {
            event: event.into(),
            publish_event: false,
            message: Some(self.query_message(incoming, state, query, now)),
        }
    }

    /// Builds the continuation that makes a query at its time.
    fn query_message(
        &self,
        message: &IncomingMessage,
        mut state: MessageState,
        query: ProviderQuery,
        now: Timestamp,
    ) -> ContinuationEffect {
        let wait = Duration::try_from(query.due.duration_since(now)).unwrap_or_default();
        state.progress.query = Some(query);
        state.expired_claim = None;
        self.waiting_on(message, state, query.purpose.into(), Rung::at_most(wait))
    }

    /// Copies a message that waits, to query the provider at the end of this second: for a purpose,
    /// or else as planned.
    #[must_use]
    pub fn early_query_message(
        &self,
        kept: &RetainedMessage,
        asking: &BTreeMap<String, HeaderValue>,
        provider: &Name,
        (purpose, now): (Option<QueryPurpose>, Timestamp),
    ) -> OutgoingMessage {
        let mut properties = persistent_properties();
        if let Some(id) = &kept.message_id {
            properties = properties.with_message_id(short_or_empty(id));
        }
        if let Some(id) = &kept.correlation_id {
            properties = properties.with_correlation_id(short_or_empty(id));
        }
        let properties = headers::add_own_headers(
            properties,
            &headers::early_query_headers(asking, purpose, now),
        );
        let key = format!("{}.{provider}", self.rung_word(Some(provider), Rung::SHORTEST));
        let (exchange, routing_key) = (short_or_empty(self.names.retry()), short_or_empty(&key));
        OutgoingMessage { exchange, routing_key, properties, body: kept.body.clone().into_bytes() }
    }
}
