//! Queries a provider for the unknown outcome of a dead letter. A copy of the dead letter goes to
//! the provider's queue, whose consumer makes the query; the dead letter stays, and only an answer
//! that states the outcome of the command takes its place.

use jiff::Timestamp;

use super::letter::{LetterOutcome, LetterWorker};
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::operator::redelivery::DeadLetterLookup;

impl LetterWorker {
    /// Requests a query of the provider about a dead letter.
    pub async fn request_lookup(
        &self,
        dead: &QueuedDeadLetter,
    ) -> Result<LetterOutcome, OperatorError> {
        let context = &self.context;
        match DeadLetterLookup::about(
            dead,
            &context.operator.names,
            &context.registry,
            Timestamp::now(),
        )? {
            DeadLetterLookup::Refuse(reason) => Ok(LetterOutcome::Refused(reason)),
            DeadLetterLookup::Publish(_) if self.spec.dry_run => Ok(LetterOutcome::Planned),
            DeadLetterLookup::Publish(message) => {
                context.pipeline.broker.publish(&message).await?;
                Ok(LetterOutcome::LookupRequested)
            }
        }
    }
}
