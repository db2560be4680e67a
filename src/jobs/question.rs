//! Having a provider asked what came of a dead letter of which nobody knows. A copy of it goes to the provider's queue, where it is
//! asked about; the dead letter stays, and only an answer that says for certain what came of the command takes its place.

use jiff::Timestamp;

use super::letter::{LetterOutcome, LetterWorker};
use crate::amqp::headers::{self, Travel};
use crate::domain::progress::Progress;
use crate::operator::OperatorError;
use crate::operator::dead::Dead;

impl LetterWorker {
    /// Has the provider asked about a dead letter.
    pub async fn ask(&self, dead: &Dead) -> Result<LetterOutcome, OperatorError> {
        let now = Timestamp::now();
        let Some(letter) = &dead.letter else {
            return Ok(LetterOutcome::refuse("the record beside the message can't be read"));
        };
        let Some(progress) = letter.look_up(now) else {
            let kind = letter.kind.as_str();
            return Ok(LetterOutcome::refuse(format!(
                "it is certain that its provider did nothing: it failed as `{kind}`"
            )));
        };
        let Some(provider) = &dead.identity.provider else { return Ok(LetterOutcome::refuse("it names no provider")) };
        if !self.can_ask(dead, &progress) {
            return Ok(LetterOutcome::refuse(
                "its operation has no `lookup`, or one by an id that the provider has not told; write one into its \
                 provider's file, or look at the provider and use `ferryd dead resolve`",
            ));
        }
        if self.spec.dry_run {
            return Ok(LetterOutcome::Planned);
        }
        let routing_key = dead.envelope().routing_key.map(str::to_owned);
        let extended_to = letter.expires_at;
        // Each is a message of its own, to be told from those that ended the command; two within a second are one.
        let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
        let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
        let travel = Travel { progress, hop, routing_key, extended_to, publisher, unchecked, ..Travel::fresh(now) };
        let (travel, kind) = (Travel { recorded: true, ..travel }, headers::Kind::Lookup);
        let message = self.redelivery(dead, &travel.headers(kind), kind, provider)?;
        self.context.pipeline.broker.publish(&message).await?;
        Ok(LetterOutcome::Asked)
    }

    /// Tells whether a lookup can be made of a dead letter that has come so far.
    fn can_ask(&self, dead: &Dead, progress: &Progress) -> bool {
        let (provider, operation) = (dead.identity.provider.as_ref(), dead.identity.operation.as_ref());
        let provider = provider.and_then(|name| self.context.registry.get(name));
        let operation = provider.zip(operation).and_then(|(provider, name)| provider.operations.get(name));
        operation.is_some_and(|operation| progress.askable(operation.lookup).is_some())
    }
}
