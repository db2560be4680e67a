//! Sending a refused message again: as its publisher sent it, to the provider for which it was
//! meant. Whoever takes it there reads it as if it had just been published: it claims its id then,
//! is a copy of a command that is known, or is refused once more.

use jiff::Timestamp;

use super::letter::{LetterOutcome, LetterWorker};
use super::replay::extension;
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::operator::redelivery::redelivery;
use ferryd_broker::headers::{self, MessageState};
use ferryd_domain::command::Command;
use ferryd_domain::dead_letter::ReplayRefusal;
use ferryd_domain::event::{Event, EventKind, EventMoment};
use ferryd_domain::job::ReplayTerms;
use ferryd_domain::ledger::record::{CommandIdentity, Record, RecordBody, SettledRecord};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;

impl LetterWorker {
    /// Sends a refused message itself again in its place, unless it is done with.
    pub async fn resubmit(
        &self,
        dead: &QueuedDeadLetter,
        terms: &ReplayTerms,
        command: &Command,
        provider: &Name,
    ) -> Result<LetterOutcome, OperatorError> {
        let id = &dead.identity.id;
        if self
            .command_state(id)
            .is_some_and(|state| state.ending.as_ref().is_some_and(|ending| !ending.is_dead()))
        {
            return Ok(self.gone_on(id));
        }
        let published = id.published_id();
        if self
            .command_state(&published)
            .is_some_and(|state| state.is_other_than(&CommandIdentity::of(command, provider)))
        {
            let text = "a command with another content is known by its id";
            let remedy = "publish it under an id of its own, then discard this";
            return Ok(LetterOutcome::refuse(format!("{text}, `{published}`; {remedy}")));
        }
        let now = Timestamp::now();
        let extended_to = extension(command.expires_at, terms, now);
        if command.expires_at.is_some_and(|expiry| now > expiry) && extended_to.is_none() {
            return Ok(LetterOutcome::refuse(ReplayRefusal::Expired.to_string()));
        }
        if self.spec.dry_run {
            return Ok(LetterOutcome::Planned);
        }
        let message_state = resubmit_state(dead, extended_to, now);
        let kind = headers::ContinuationKind::Replay;
        let message = redelivery(
            &self.context.operator.names,
            dead,
            &message_state.headers(kind),
            kind,
            provider,
        )?;
        self.context.pipeline.broker.publish(&message).await?;
        self.record_resubmission(dead).await
    }

    /// Records that a refused message was sent again. Its own end is that; its outcome is recorded
    /// under the id that its publisher gave it.
    async fn record_resubmission(
        &self,
        dead: &QueuedDeadLetter,
    ) -> Result<LetterOutcome, OperatorError> {
        let at = Timestamp::now();
        let (generation, attempt) =
            dead.letter.as_ref().map_or((0, 1), |letter| (letter.generation, letter.attempt));
        let (by, id) = (&self.spec.actor.by, dead.identity.id.published_id());
        let failure = Failure::new(
            "replayed",
            format!("sent again by {by}; its outcome is published for the command `{id}`"),
        );
        let moment = EventMoment { generation, attempt: attempt.saturating_add(1), at };
        let kind = EventKind::Failed(FailureKind::Discarded, failure);
        let event =
            Event::new(dead.identity.clone(), moment, kind, headers::trace(&dead.properties));
        let ruled = self.context.ledger.append(self.end_record(dead, event.into(), false)).await?;
        if !matches!(ruled.ruling, Ruling::Counts(_)) {
            // Somebody has ended it meanwhile, in the same way or another.
            return Ok(self.gone_on(&dead.identity.id));
        }
        let body = RecordBody::Settled(SettledRecord { finished: ruled.id });
        self.context.ledger.append_unawaited(Record {
            at,
            command: dead.identity.id.clone(),
            fact: body,
        });
        Ok(LetterOutcome::Acted)
    }
}

fn resubmit_state(
    dead: &QueuedDeadLetter,
    extended_to: Option<Timestamp>,
    now: Timestamp,
) -> MessageState {
    let routing_key = dead.envelope().routing_key.map(str::to_owned);
    // A message of its own: refused once more, it is another dead letter.
    let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
    let letter = dead.letter.as_ref();
    let publisher = letter.and_then(|letter| letter.publisher.clone());
    let unchecked = letter.is_some_and(|letter| letter.unchecked);
    MessageState { hop, routing_key, extended_to, publisher, unchecked, ..MessageState::fresh(now) }
}
