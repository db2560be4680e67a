//! Giving a command up for good, by a person's decision: its publisher is told, then the dead letter removed.

use jiff::Timestamp;
use serde_json::json;

use super::clear::{Remedy, Verdict};
use super::dead::Dead;
use super::{Decision, Operator, OperatorError};
use crate::amqp::headers;
use crate::amqp::message::short;
use crate::domain::event::{Event, Happening, Moment};
use crate::domain::lifecycle::Kind;
use crate::domain::outcome::Failure;
use crate::pipeline::outbox::event_message;

/// Discards dead letters.
pub struct Discard {
    operator: Operator,
    decision: Decision,
}

impl Discard {
    /// By whose decision, and why: both are told in the event.
    #[must_use]
    pub fn new(operator: &Operator, decision: Decision) -> Self {
        Self { operator: operator.clone(), decision }
    }

    /// The event that ends the command. It counts as one attempt more than was made, so that it is neither a repeat of
    /// the failure nor older than it.
    fn event(&self, dead: &Dead, at: Timestamp) -> Event {
        let Decision { by, reason } = &self.decision;
        let (generation, attempt) = dead.letter.as_ref().map_or((0, 0), |letter| (letter.generation, letter.attempt));
        let failure = Failure {
            details: Some(json!({ "by": by, "reason": reason })),
            ..Failure::new("discarded", format!("discarded by {by}: {reason}"))
        };
        let moment = Moment { generation, attempt: attempt.saturating_add(1), at };
        let happening = Happening::Failed(Kind::Discarded, failure);
        Event::new(dead.identity.clone(), moment, happening, headers::trace(&dead.properties))
    }
}

impl Remedy for Discard {
    async fn instead(&mut self, dead: &Dead) -> Result<Verdict, OperatorError> {
        let event = self.event(dead, Timestamp::now());
        let (exchange, key) = (short(&self.operator.names.events())?, short(&event.routing_key())?);
        Ok(Verdict::Publish(Box::new(event_message(&event, exchange, key))))
    }

    async fn done(&mut self, _: &Dead) -> Result<Option<String>, OperatorError> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "discard_tests.rs"]
mod tests;
