//! A person's word on a dead letter, which ends its command: given up for good, or what really became of it. It is put down
//! in the ledger, then its publisher is told, then that is put down, then the dead letter removed. What is
//! put down and not told, because the person was interrupted, is told by a ferryd that runs, or by whoever next decides about
//! the dead letter.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::clear::{Remedy, Verdict};
use super::dead::Dead;
use super::register::Register;
use super::{Decision, Operator, OperatorError};
use crate::amqp::headers;
use crate::amqp::message::{Message, short};
use crate::domain::event::{Event, Happening, Moment};
use crate::domain::ledger::next_action::{NextAction, Role, next_action};
use crate::domain::ledger::record::{By, Fact, Finished, Opening, Person, Record, RecordId, Settled, Step};
use crate::domain::ledger::ruling::TooLate;
use crate::domain::lifecycle::Kind;
use crate::domain::name::Name;
use crate::domain::outcome::{Failure, Success};
use crate::failpoint::{Failpoint, hit};
use crate::pipeline::event_message::event_message;

/// What a person says about a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// It is given up for good.
    Discarded,
    /// The provider did it.
    Completed {
        /// The provider's own id for what it did.
        reference: Option<String>,
        /// The result, as the operation would have mapped it.
        result: Option<Value>,
    },
    /// The provider did not do it, and will not.
    Failed {
        /// A word for why.
        code: String,
        /// For people.
        message: Option<String>,
    },
}

/// Ends the commands of dead letters by a person's word.
pub struct LastWord {
    operator: Operator,
    register: Option<Register>,
    decision: Decision,
    statement: Statement,
    /// What was put down and is about to be told.
    told: Option<RecordId>,
}

impl LastWord {
    /// By whose decision, and why: both are told in the event of what is given up, and stand in the ledger for all.
    #[must_use]
    pub fn new(operator: &Operator, register: Option<Register>, decision: Decision, statement: Statement) -> Self {
        Self { operator: operator.clone(), register, decision, statement, told: None }
    }

    /// Lets go of the ledger.
    pub async fn close(self) {
        if let Some(register) = self.register {
            register.close().await;
        }
    }

    /// The event that ends the command. It counts as one attempt more than was made, so that it is neither a repeat of
    /// the failure nor older than it.
    fn event(&self, dead: &Dead, attempt: u32, at: Timestamp) -> Event {
        let generation = dead.letter.as_ref().map_or(0, |letter| letter.generation);
        let moment = Moment { generation, attempt, at };
        Event::new(dead.identity.clone(), moment, self.happening(), headers::trace(&dead.properties))
    }

    fn happening(&self) -> Happening {
        let Decision { by, reason } = &self.decision;
        match self.statement.clone() {
            Statement::Discarded => Happening::Failed(
                Kind::Discarded,
                Failure {
                    details: Some(json!({ "by": by, "reason": reason })),
                    ..Failure::new("discarded", format!("discarded by {by}: {reason}"))
                },
            ),
            Statement::Completed { reference, result } => {
                Happening::Completed(Success { provider_reference: reference, result, ..Success::default() })
            }
            Statement::Failed { code, message } => {
                let message = message.unwrap_or_else(|| format!("resolved by {by}: {reason}"));
                Happening::Failed(Kind::Declined, Failure::new(&code, message))
            }
        }
    }

    /// Puts the word down, and says what its place in the ledger makes of it.
    async fn put_down(&mut self, dead: &Dead) -> Result<Verdict, OperatorError> {
        let mut attempt = dead.letter.as_ref().map_or(0, |letter| letter.attempt).saturating_add(1);
        let is_told = self.is_told(dead)?;
        loop {
            let event = self.event(dead, attempt, Timestamp::now());
            let record = self.record(dead, event.clone(), is_told);
            let Some(register) = &mut self.register else { return self.publish(&event) };
            let (id, ruling) = register.append(record).await?;
            match next_action(Role::Operator, ruling) {
                NextAction::Proceed(_) if !is_told => return Ok(untold(dead)),
                NextAction::Publish(decided) if !decided.effects.told => return Ok(untold(dead)),
                NextAction::Proceed(_) => {
                    hit(Failpoint::Stated);
                    self.told = Some(id);
                    return self.publish(&event);
                }
                // Said before by somebody who was interrupted: this, or something else.
                NextAction::Publish(decided) => {
                    self.told = Some(decided.by);
                    let stands = &decided.effects.event;
                    let message = end_message(&self.operator, stands)?;
                    let same = stands.data.state == event.data.state && kind_of(stands) == kind_of(&event);
                    return Ok(if same { Verdict::Publish(message) } else { Verdict::CloseWith(message) });
                }
                NextAction::Renumber { attempt: least } => attempt = least,
                NextAction::Refuse(TooLate::Completed | TooLate::Failed) | NextAction::Drop => {
                    return Ok(Verdict::Close("the command has ended meanwhile".to_owned()));
                }
                _ => {
                    let id = &dead.identity.id;
                    return Ok(Verdict::Refuse(format!("it is on its way again; see `ferryd status {id}`")));
                }
            }
        }
    }

    /// Tells whether the end of a dead letter is published: that of a refused message is, unless a command is known by its id.
    fn is_told(&self, dead: &Dead) -> Result<bool, OperatorError> {
        let Some(register) = self.register.as_ref().filter(|_| dead.identity.id.is_refused()) else { return Ok(true) };
        let case = register.case(&dead.identity.id.published())?;
        Ok(case.is_none_or(|case| case.opening.is_none()))
    }

    fn record(&self, dead: &Dead, event: Event, told: bool) -> Record {
        let step = Step::call(event.data.generation, event.data.attempt.saturating_sub(1).max(1));
        let Decision { by, reason } = &self.decision;
        let by = By::Operator(Person { by: by.clone(), reason: Some(reason.clone()) });
        let finished = Finished { opening: Some(opening(dead, None)), ..Finished::of_event(step, by, event, told) };
        Record { at: Timestamp::now(), command: dead.identity.id.clone(), fact: Fact::Finished(Box::new(finished)) }
    }

    fn publish(&self, event: &Event) -> Result<Verdict, OperatorError> {
        end_message(&self.operator, event).map(Verdict::Publish)
    }
}

/// Closes a refused message under the id of a command without an event, which would be taken for one of that command.
fn untold(dead: &Dead) -> Verdict {
    Verdict::Close(format!("a command is known by the id `{}`; nothing is published", dead.identity.id.published()))
}

fn kind_of(event: &Event) -> Option<Kind> {
    event.data.error.as_ref().and_then(|error| error.kind)
}

/// The message that tells how a command has ended.
pub(super) fn end_message(operator: &Operator, event: &Event) -> Result<Box<Message>, OperatorError> {
    let (exchange, key) = (short(&operator.names.events())?, short(&event.routing_key())?);
    Ok(Box::new(event_message(event, exchange, key)))
}

/// Puts down that the end of the command of a dead letter is published.
pub(super) async fn settle(register: &mut Register, dead: &Dead, finished: RecordId) -> Result<(), OperatorError> {
    let fact = Fact::Settled(Settled { finished });
    register.put_down(Record { at: Timestamp::now(), command: dead.identity.id.clone(), fact }).await
}

/// Describes the command of a dead letter to a ledger that does not know it any more; at this provider, where it is another
/// than before.
pub(super) fn opening(dead: &Dead, provider: Option<&Name>) -> Opening {
    use crate::domain::command::Command;
    let publisher = dead.letter.as_ref().and_then(|letter| letter.publisher.clone());
    match (Command::decode(&dead.body, dead.envelope()), provider.or(dead.identity.provider.as_ref())) {
        (Ok(command), Some(provider)) => Opening { publisher, ..Opening::of(&command, provider) },
        _ => Opening { publisher, ..Opening::of_refused(&dead.identity, &dead.body) },
    }
}

impl Remedy for LastWord {
    async fn instead(&mut self, dead: &Dead) -> Result<Verdict, OperatorError> {
        if dead.identity.id.is_refused() && self.statement != Statement::Discarded {
            let text = "the message was refused, so that nothing came of it: replay it, or discard it";
            return Ok(Verdict::Refuse(text.to_owned()));
        }
        self.put_down(dead).await
    }

    async fn settle(&mut self, dead: &Dead) -> Result<(), OperatorError> {
        match (self.told.take(), &mut self.register) {
            (Some(finished), Some(register)) => settle(register, dead, finished).await,
            _ => Ok(()),
        }
    }

    async fn done(&mut self, _: &Dead) -> Result<Option<String>, OperatorError> {
        Ok(None)
    }
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
