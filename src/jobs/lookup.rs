//! Having a provider asked for the outcome of a dead letter of which nobody knows. A copy of it
//! goes to the provider's queue, where it is asked about; the dead letter stays, and only an answer
//! that states the outcome of the command takes its place.

use jiff::Timestamp;

use super::letter::{LetterOutcome, LetterWorker};
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::operator::redelivery::DeadLetterQuestion;

impl LetterWorker {
    /// Has the provider asked about a dead letter.
    pub async fn request_lookup(
        &self,
        dead: &QueuedDeadLetter,
    ) -> Result<LetterOutcome, OperatorError> {
        let context = &self.context;
        match DeadLetterQuestion::about(
            dead,
            &context.operator.names,
            &context.registry,
            Timestamp::now(),
        )? {
            DeadLetterQuestion::Refuse(reason) => Ok(LetterOutcome::Refused(reason)),
            DeadLetterQuestion::Ask(_) if self.spec.dry_run => Ok(LetterOutcome::Planned),
            DeadLetterQuestion::Ask(message) => {
                context.pipeline.broker.publish(&message).await?;
                Ok(LetterOutcome::Asked)
            }
        }
    }
}
