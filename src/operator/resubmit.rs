//! Sending a refused message again: as its publisher sent it, to the provider for which it was meant. Whoever takes it there
//! reads it as if it had just been published: it claims its id then, is a copy of a command that is known, or is refused once
//! more.

use jiff::{SignedDuration, Timestamp};

use super::dead::Dead;
use super::register::Register;
use super::replay::Replay;
use super::statement::{opening, settle};
use super::{Operator, OperatorError};
use crate::amqp::headers::{self, Travel};
use crate::amqp::message::{Message, short};
use crate::domain::command::Command;
use crate::domain::dead_letter::ReplayRefusal;
use crate::domain::event::{Event, Happening, Moment};
use crate::domain::ledger::next_action::{NextAction, Role, next_action};
use crate::domain::ledger::record::{By, Fact, Finished, Person, Record, Step};
use crate::domain::lifecycle::Kind;
use crate::domain::name::Name;
use crate::domain::outcome::Failure;

/// Makes the message that takes the place of a refused one; or says why there is none, for people.
///
/// # Errors
/// [`OperatorError`]: a name is too long.
pub(super) fn resubmission(
    operator: &Operator,
    replay: &Replay,
    (dead, command): (&Dead, &Command),
    provider: &Name,
    now: Timestamp,
) -> Result<Result<Message, String>, OperatorError> {
    let expired = command.expires_at.is_some_and(|expiry| now > expiry);
    let extension = replay.extend.filter(|_| expired).and_then(|extend| SignedDuration::try_from(extend).ok());
    let extended_to = extension.and_then(|extension| now.checked_add(extension).ok());
    if expired && extended_to.is_none() {
        return Ok(Err(ReplayRefusal::Expired.to_string()));
    }
    let routing_key = dead.envelope().routing_key.map(str::to_owned);
    // A message of its own: refused once more, it is another dead letter.
    let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
    let letter = dead.letter.as_ref();
    let publisher = letter.and_then(|letter| letter.publisher.clone());
    let unchecked = letter.is_some_and(|letter| letter.unchecked);
    let travel = Travel { hop, routing_key, extended_to, publisher, unchecked, ..Travel::fresh(now) };
    let properties = headers::with_own(dead.carried(), &travel.headers(headers::Kind::Replay));
    let key = format!("{}.{provider}", headers::Kind::Replay.as_str());
    let (exchange, routing_key) = (short(&operator.names.redeliver())?, short(&key)?);
    Ok(Ok(Message { exchange, routing_key, properties, body: dead.body.clone() }))
}

/// Puts down that a refused message was sent again. Its own end is that; what comes of it is on record under the id that its
/// publisher gave it.
///
/// # Errors
/// [`OperatorError`].
pub(super) async fn record_resubmission(register: &mut Register, dead: &Dead, by: &str) -> Result<(), OperatorError> {
    let at = Timestamp::now();
    let (generation, attempt) = dead.letter.as_ref().map_or((0, 1), |letter| (letter.generation, letter.attempt));
    let id = dead.identity.id.published();
    let failure =
        Failure::new("replayed", format!("sent again by {by}; what came of it is told as the command `{id}`"));
    let moment = Moment { generation, attempt: attempt.saturating_add(1), at };
    let happening = Happening::Failed(Kind::Discarded, failure);
    let event = Event::new(dead.identity.clone(), moment, happening, headers::trace(&dead.properties));
    let by = By::Operator(Person { by: by.to_owned(), reason: Some("sent again".to_owned()) });
    let finished = Finished::of_event(Step::call(generation, attempt), by, event, false);
    let finished = Finished { opening: Some(opening(dead, None)), ..finished };
    let fact = Fact::Finished(Box::new(finished));
    let record = Record { at, command: dead.identity.id.clone(), fact };
    let (finished, ruling) = register.append(record).await?;
    match next_action(Role::Operator, ruling) {
        NextAction::Proceed(_) => settle(register, dead, finished).await,
        // Somebody has ended it meanwhile, in the same way or another.
        _ => Ok(()),
    }
}
