//! Asking a provider, by hand, what came of a command of which nobody knows.
//!
//! A running ferryd asks; what is sent to it is a copy of the dead letter. The dead letter stays where it is: only an answer
//! that says for certain what came of the command takes its place.

use jiff::Timestamp;

use super::dead::Dead;
use super::scan::scan;
use super::sender::Sender;
use super::tail::Tail;
use super::{Operator, OperatorError};
use crate::amqp::headers::{self, Travel};
use crate::amqp::message::{Message, short};
use crate::amqp::stream::Place as StreamPlace;
use crate::domain::command_id::CommandId;
use crate::domain::event::Event;
use crate::domain::ledger::record::{Fact, Line, Record};
use crate::domain::progress::Progress;
use crate::ledger::command_filter::CommandFilter;
use crate::ledger::reading::{Read, Reading};

/// Watches the ledger for what questions to the provider about one command come to.
pub struct AnswerWatch {
    tail: Tail,
    reading: Reading,
    id: CommandId,
}

impl AnswerWatch {
    /// Begins to watch. What is put down after this returns is seen.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn open(operator: &Operator, id: &CommandId) -> Result<Self, OperatorError> {
        let tail = Tail::open(operator, &operator.names.ledger(), StreamPlace::Next).await?;
        Ok(Self { tail, reading: Reading::default(), id: id.clone() })
    }

    /// The event in which the next answer of the provider is put down; published it is only where it ends the command.
    ///
    /// # Errors
    /// [`OperatorError::Broker`] after the link has ended for good.
    pub async fn next(&mut self) -> Result<Event, OperatorError> {
        loop {
            let entry = self.tail.next().await?;
            let about = |read: Read| {
                let Ok(Line::Record(record)) = read.line else { return None };
                let Record { command, fact: Fact::Finished(finished), .. } = *record else { return None };
                (command == self.id && finished.step.inquiry > 0).then_some(finished.effects.event)
            };
            if let Some(event) = self.reading.read(&entry).into_iter().find_map(about) {
                return Ok(event);
            }
        }
    }

    /// Ends it.
    pub async fn close(self) {
        self.tail.close().await;
    }
}

/// What became of the wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A running ferryd asks the provider now.
    Sent,
    /// There is no dead letter of the command.
    NotDead,
    /// The dead letter says for certain that no call acted, or nothing can be told from it.
    Refused(String),
}

/// Has a provider asked about a command that is a dead letter in one of `queues`. `can_ask` says whether a lookup can be made
/// of a dead letter that has come so far.
///
/// It takes a ledger, which decides what an answer comes to: without one a second message of the command would be about.
///
/// # Errors
/// [`OperatorError`].
pub async fn look_up(
    operator: &Operator,
    queues: &[String],
    id: &CommandId,
    can_ask: impl Fn(&Dead, &Progress) -> bool,
) -> Result<Asked, OperatorError> {
    let filter = CommandFilter { ids: [id.clone()].into(), ..CommandFilter::default() };
    let mut found = None;
    scan(operator, queues, &filter, |dead| found = Some(dead)).await?;
    let Some(dead) = found else { return Ok(Asked::NotDead) };
    let now = Timestamp::now();
    let Some(letter) = &dead.letter else {
        return Ok(Asked::Refused("the record beside the message can't be read".to_owned()));
    };
    let Some(progress) = letter.look_up(now) else {
        let text = format!("it is certain that its provider did nothing: it failed as `{}`", letter.kind.as_str());
        return Ok(Asked::Refused(text));
    };
    let Some(provider) = &dead.identity.provider else {
        return Ok(Asked::Refused("it names no provider".to_owned()));
    };
    if !can_ask(&dead, &progress) {
        let text = "its operation has no `lookup`, or one by an id that the provider has not told; write one into its \
                    provider's file, or look at the provider and use `ferryd dead resolve`";
        return Ok(Asked::Refused(text.to_owned()));
    }
    let routing_key = dead.envelope().routing_key.map(str::to_owned);
    let extended_to = letter.expires_at;
    // Each is a message of its own, to be told from those that ended the command; two within a second are one.
    let hop = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
    let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
    let travel = Travel { progress, hop, routing_key, extended_to, publisher, unchecked, ..Travel::fresh(now) };
    let travel = Travel { recorded: true, ..travel };
    let mut sender = Sender::open(operator).await?;
    let sent = sender.send(&copy(operator, &dead, &travel, provider.as_str())?).await;
    sender.close().await;
    sent.map(|()| Asked::Sent)
}

fn copy(operator: &Operator, dead: &Dead, travel: &Travel, provider: &str) -> Result<Message, OperatorError> {
    let kind = headers::Kind::Lookup;
    let properties = headers::with_own(dead.carried(), &travel.headers(kind));
    let key = format!("{}.{provider}", kind.as_str());
    let (exchange, routing_key) = (short(&operator.names.redeliver())?, short(&key)?);
    Ok(Message { exchange, routing_key, properties, body: dead.body.clone() })
}
