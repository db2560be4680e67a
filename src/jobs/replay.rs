//! Replaying a dead letter: it goes back to its provider's queue as the start of its next
//! generation.
//!
//! It goes straight to the provider, past the commands' exchange, because it is a continuation and
//! not a new command. The record `replayed` comes first. Whoever finds it and not the replay's
//! first call publishes the continuation again: a copy does no harm.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::letter::{LetterOutcome, LetterWorker};
use crate::failpoint::{Failpoint, pass_failpoint};
use crate::operator::OperatorError;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::operator::redelivery::redelivery;
use ferryd_broker::headers::{self, MessageState};
use ferryd_broker::message::OutgoingMessage;
use ferryd_domain::command::{ANY, Command};
use ferryd_domain::dead_letter::{DeadLetter, ReplayOptions};
use ferryd_domain::job::ReplayTerms;
use ferryd_domain::ledger::command_state::{CallPhase, CommandState};
use ferryd_domain::ledger::effects::HeaderValue;
use ferryd_domain::ledger::record::{CommandIdentity, Record, RecordBody, ReplayedRecord, Step};
use ferryd_domain::ledger::ruling::{Ruling, TooLate};
use ferryd_domain::name::Name;
use ferryd_domain::progress::GenerationProgress;

const BY: &str = "ferry-by";
const REASON: &str = "ferry-reason";

impl LetterWorker {
    /// Replays a dead letter.
    pub async fn replay(
        &self,
        dead: &QueuedDeadLetter,
        terms: &ReplayTerms,
    ) -> Result<LetterOutcome, OperatorError> {
        let (command, letter, provider) = match self.replayable(dead) {
            Ok(replayable) => replayable,
            Err(reason) => return Ok(LetterOutcome::Refused(reason)),
        };
        if dead.identity.id.is_refused() {
            return self.resubmit(dead, terms, &command, &provider).await;
        }
        // What has an answer by now is not refused for the lack of one.
        if self.command_state(&dead.identity.id).is_some_and(|state| has_ended_well(&state)) {
            return self.close_ended(dead).await;
        }
        let now = Timestamp::now();
        let message_state = match replay_state(dead, letter, terms, now) {
            Ok(message_state) => message_state,
            Err(reason) => return Ok(LetterOutcome::Refused(reason)),
        };
        if self.spec.dry_run {
            return Ok(LetterOutcome::Planned);
        }
        let record = self.replay_record(dead, letter, &message_state, (&command, &provider), now);
        let outcome = match self.context.ledger.append(record).await?.ruling {
            Ruling::Counts(_) => LetterOutcome::Acted,
            Ruling::TooLate(TooLate::Replayed) if self.is_unbegun(dead, letter) => {
                self.gone_on(&dead.identity.id)
            }
            Ruling::TooLate(TooLate::Replayed) => return Ok(self.gone_on(&dead.identity.id)),
            Ruling::TooLate(TooLate::Completed | TooLate::Failed) | Ruling::Ended(_) => {
                return self.close_ended(dead).await;
            }
            Ruling::Blocked(kind) => {
                return Ok(LetterOutcome::refuse(format!(
                    "a later version wrote `{kind}` about it"
                )));
            }
            _ => return Ok(LetterOutcome::refuse(under_way(dead))),
        };
        pass_failpoint(Failpoint::Stated);
        let message = self.continuation(dead, &message_state, terms, &provider)?;
        self.context.pipeline.broker.publish(&message).await?;
        Ok(outcome)
    }

    /// Finds the state that a replay starts from.
    ///
    /// # Errors
    /// The reason for which there can be no replay, for people.
    fn replayable<'d>(
        &self,
        dead: &'d QueuedDeadLetter,
    ) -> Result<(Command, &'d DeadLetter, Name), String> {
        let letter = dead.letter.as_ref();
        let letter = letter
            .ok_or("its record can't be read; publish the command anew, then discard this")?;
        if dead.refused.as_ref().is_some_and(|refusal| refusal.is_cut) {
            let text = "its body was too large for the broker and was cut; publish the command anew, then discard this";
            return Err(text.to_owned());
        }
        let command = Command::decode(&dead.body, dead.envelope()).map_err(|invalid| {
            format!("the message itself is wrong and would fail again: {}", invalid.failure.message)
        })?;
        let provider = self.provider(dead, &command);
        let provider =
            provider.ok_or("it names no provider, and no route says which takes its type")?;
        if self.context.registry.get(&provider).is_none() {
            return Err(format!(
                "provider `{provider}` is not configured; write its file and start ferryd first"
            ));
        }
        Ok((command, letter, provider))
    }

    /// The provider a dead letter goes back to: the one that was called, else the one it was
    /// published for. One that was given up unchecked, for whichever provider the route names, goes
    /// where the route leads by now; unless it may have acted.
    fn provider(&self, dead: &QueuedDeadLetter, command: &Command) -> Option<Name> {
        let route =
            |kind: &Name| self.context.registry.route(kind).map(|provider| provider.name.clone());
        let is_routed =
            |letter: &DeadLetter| letter.unchecked && !letter.unknown && command.provider.is_none();
        if dead.letter.as_ref().is_some_and(is_routed) {
            return route(&command.kind);
        }
        let word = || dead.envelope().routing_key?.split('.').nth(1)?.parse::<Name>().ok();
        let named =
            dead.identity.provider.clone().or_else(word).filter(|name| name.as_str() != ANY);
        named.or_else(|| route(dead.identity.r#type.as_ref()?))
    }

    /// Returns true if no instance has begun the generation that a replay of this dead letter
    /// started.
    fn is_unbegun(&self, dead: &QueuedDeadLetter, letter: &DeadLetter) -> bool {
        let first = Step::call(letter.generation.saturating_add(1), 1);
        self.command_state(&dead.identity.id).is_some_and(|state| {
            state.step == first && state.phase == CallPhase::Open && state.ending.is_none()
        })
    }

    fn replay_record(
        &self,
        dead: &QueuedDeadLetter,
        letter: &DeadLetter,
        state: &MessageState,
        (command, provider): (&Command, &Name),
        at: Timestamp,
    ) -> Record {
        let GenerationProgress { unknown, key, first_sent, digest, token, .. } =
            state.progress.clone();
        // A new one is recorded once it is used, in the form that its provider takes.
        let key = key.filter(|_| unknown);
        let command_identity = CommandIdentity {
            publisher: letter.publisher.clone(),
            ..CommandIdentity::of(command, provider)
        };
        let (person, job) = (self.spec.actor.clone(), Some(self.job));
        let from = letter.generation;
        let replayed = ReplayedRecord {
            identity: command_identity,
            from,
            unknown,
            key,
            first_sent,
            request_digest: digest,
            token,
            actor: person,
            job,
        };
        Record {
            at,
            command: dead.identity.id.clone(),
            fact: RecordBody::Replayed(Box::new(replayed)),
        }
    }

    /// The message that starts the next generation of a dead letter at `provider`.
    fn continuation(
        &self,
        dead: &QueuedDeadLetter,
        state: &MessageState,
        terms: &ReplayTerms,
        provider: &Name,
    ) -> Result<OutgoingMessage, OperatorError> {
        let kind = headers::ContinuationKind::Replay;
        let mut own: BTreeMap<String, HeaderValue> = state.headers(kind);
        if terms.force_new_key {
            let actor = &self.spec.actor;
            own.insert(BY.to_owned(), HeaderValue::Text(actor.by.clone()));
            own.insert(
                REASON.to_owned(),
                HeaderValue::Text(actor.reason.clone().unwrap_or_default()),
            );
        }
        Ok(redelivery(&self.context.operator.names, dead, &own, kind, provider)?)
    }
}

fn has_ended_well(state: &CommandState) -> bool {
    state.ending.as_ref().is_some_and(|ending| !ending.is_dead())
}

/// Says that a dead letter is not one any more, as far as the ledger knows.
pub(super) fn under_way(dead: &QueuedDeadLetter) -> String {
    format!("it is on its way again; see `ferryd status {}`", dead.identity.id)
}

/// Builds the message state of the next generation of a dead letter.
///
/// # Errors
/// The reason for which the dead letter is not replayed, for people.
fn replay_state(
    dead: &QueuedDeadLetter,
    letter: &DeadLetter,
    terms: &ReplayTerms,
    now: Timestamp,
) -> Result<MessageState, String> {
    let extended_to = extension(letter.expires_at, terms, now);
    let options = ReplayOptions { force_new_key: terms.force_new_key, extend_to: extended_to };
    let progress = letter.replay(now, options).map_err(|refusal| refusal.to_string())?;
    let routing_key = dead.envelope().routing_key.map(str::to_owned);
    let extended_to = extended_to.or(letter.expires_at);
    let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
    let state = MessageState {
        progress,
        routing_key,
        extended_to,
        publisher,
        unchecked,
        ..MessageState::fresh(now)
    };
    Ok(MessageState { recorded: true, ..state })
}

/// The later expiry of a command that has expired, where it is given more time.
pub(super) fn extension(
    expires_at: Option<Timestamp>,
    terms: &ReplayTerms,
    now: Timestamp,
) -> Option<Timestamp> {
    let seconds = terms.extend_s.filter(|_| expires_at.is_some_and(|expiry| now > expiry))?;
    now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok()
}
