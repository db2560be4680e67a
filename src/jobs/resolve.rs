//! Ends the command of a dead letter as a person decided: given up for good, or with the outcome
//! that the person states. The end is recorded, then its event is published, then the dead letter
//! is removed. An end that is recorded and not published, because the process died in between, is
//! published by the next owner of the job, or by any instance that finds it.

use jiff::Timestamp;
use serde_json::json;

use super::letter::{LetterOutcome, LetterWorker};
use super::replay::under_way;
use crate::failpoint::{Failpoint, pass_failpoint};
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use ferryd_broker::headers;
use ferryd_domain::command::Command;
use ferryd_domain::event::{EncodedEvent, Event, EventKind, EventMoment};
use ferryd_domain::job::Resolution;
use ferryd_domain::ledger::effects::RecordedEffects;
use ferryd_domain::ledger::record::{
    CommandIdentity, DecidedBy, FinishedRecord, JobDecision, Record, RecordBody, Step,
};
use ferryd_domain::ledger::ruling::{DecidedCommand, Ruling, TooLate};
use ferryd_domain::lifecycle::FailureKind;
use ferryd_domain::outcome::{Failure, Success};
use ferryd_ledger::RuledRecord;

impl LetterWorker {
    /// Ends the command of a dead letter: as a person says, or as discarded.
    pub async fn close(
        &self,
        dead: &QueuedDeadLetter,
        resolution: Option<&Resolution>,
    ) -> Result<LetterOutcome, OperatorError> {
        let id = &dead.identity.id;
        if id.is_refused() && resolution.is_some() {
            let text =
                "the message was refused, so that nothing came of it: replay it, or discard it";
            return Ok(LetterOutcome::refuse(text));
        }
        if self.spec.dry_run {
            return Ok(LetterOutcome::Planned);
        }
        let mut attempt = dead.letter.as_ref().map_or(0, |letter| letter.attempt).saturating_add(1);
        let is_published = self.is_end_published(dead);
        loop {
            let event = self.end_event(dead, resolution, attempt, Timestamp::now());
            let record = self.end_record(dead, event.clone(), is_published);
            let RuledRecord { id: by, ruling, .. } = self.context.ledger.append(record).await?;
            match ruling {
                Ruling::Counts(granted) => {
                    pass_failpoint(Failpoint::Stated);
                    let effects =
                        RecordedEffects { event, publish_event: is_published, message: None };
                    self.publish_end(
                        dead,
                        &DecidedCommand { by, effects, replies: granted.replies },
                    )
                    .await?;
                    return Ok(LetterOutcome::Acted);
                }
                // An owner that was interrupted recorded an end before: this one, or another.
                Ruling::Unsettled(decided) => {
                    self.publish_end(dead, &decided).await?;
                    return Ok(self.gone_on(id));
                }
                Ruling::SequenceTooLow { attempt: least } => attempt = least,
                Ruling::TooLate(TooLate::Completed | TooLate::Failed) | Ruling::Ended(_) => {
                    return Ok(self.gone_on(id));
                }
                Ruling::Blocked(kind) => {
                    return Ok(LetterOutcome::refuse(format!(
                        "a later version wrote `{kind}` about it"
                    )));
                }
                _ => return Ok(LetterOutcome::refuse(under_way(dead))),
            }
        }
    }

    /// Removes the dead letter of a command that has ended meanwhile. The event of the end may be
    /// unpublished: the process that ended the command may have died, and without the dead letter
    /// no process would look for it.
    pub async fn close_ended(
        &self,
        dead: &QueuedDeadLetter,
    ) -> Result<LetterOutcome, OperatorError> {
        if self.spec.dry_run {
            return Ok(LetterOutcome::Planned);
        }
        if let Some(decided) =
            self.command_state(&dead.identity.id).and_then(|state| state.unsettled_decision())
        {
            self.publish_end(dead, &decided).await?;
        }
        Ok(LetterOutcome::Closed)
    }

    async fn publish_end(
        &self,
        dead: &QueuedDeadLetter,
        decided: &DecidedCommand,
    ) -> Result<(), OperatorError> {
        Ok(self.context.pipeline.publish_recorded_end(&dead.identity.id, decided).await?)
    }

    /// Returns whether the end of a dead letter is published: that of a refused message is, unless
    /// a command is known by its id.
    fn is_end_published(&self, dead: &QueuedDeadLetter) -> bool {
        let id = &dead.identity.id;
        !id.is_refused()
            || self.command_state(&id.published_id()).is_none_or(|state| state.identity.is_none())
    }

    /// The event that ends the command. It counts as one attempt more than was made, so that it is
    /// neither a repeat of the failure nor older than it.
    fn end_event(
        &self,
        dead: &QueuedDeadLetter,
        resolution: Option<&Resolution>,
        attempt: u32,
        at: Timestamp,
    ) -> EncodedEvent {
        let generation = dead.letter.as_ref().map_or(0, |letter| letter.generation);
        let moment = EventMoment { generation, attempt, at };
        Event::new(
            dead.identity.clone(),
            moment,
            self.event_kind(resolution),
            headers::trace(&dead.properties),
        )
        .into()
    }

    fn event_kind(&self, resolution: Option<&Resolution>) -> EventKind {
        let (by, reason) =
            (&self.spec.actor.by, self.spec.actor.reason.as_deref().unwrap_or_default());
        match resolution.cloned() {
            None => EventKind::Failed(
                FailureKind::Discarded,
                Failure {
                    details: Some(json!({ "by": by, "reason": reason })),
                    ..Failure::new("discarded", format!("discarded by {by}: {reason}"))
                },
            ),
            Some(Resolution::Completed { reference, result }) => EventKind::Completed(Success {
                provider_reference: reference,
                result,
                ..Success::default()
            }),
            Some(Resolution::Failed { code, message }) => {
                let message = message.unwrap_or_else(|| format!("resolved by {by}: {reason}"));
                EventKind::Failed(FailureKind::Declined, Failure::new(&code, message))
            }
        }
    }

    /// The record by which the command of a dead letter ends.
    pub fn end_record(
        &self,
        dead: &QueuedDeadLetter,
        event: EncodedEvent,
        publish_event: bool,
    ) -> Record {
        let step = Step::call(event.data.generation, event.data.attempt.saturating_sub(1).max(1));
        let by = DecidedBy::Job(JobDecision { id: self.job, actor: self.spec.actor.clone() });
        let finished = FinishedRecord {
            identity: Some(command_identity(dead)),
            ..FinishedRecord::for_event(step, by, event, publish_event)
        };
        Record {
            at: Timestamp::now(),
            command: dead.identity.id.clone(),
            fact: RecordBody::Finished(Box::new(finished)),
        }
    }
}

/// Describes the command of a dead letter to a ledger that does not know it any more.
fn command_identity(dead: &QueuedDeadLetter) -> CommandIdentity {
    let publisher = dead.letter.as_ref().and_then(|letter| letter.publisher.clone());
    match (Command::decode(&dead.body, dead.envelope()), dead.identity.provider.as_ref()) {
        (Ok(command), Some(provider)) => {
            CommandIdentity { publisher, ..CommandIdentity::of(&command, provider) }
        }
        _ => CommandIdentity {
            publisher,
            ..CommandIdentity::for_refused(&dead.identity, &dead.body)
        },
    }
}
