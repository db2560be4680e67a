//! Replaying dead letters: each goes back to its provider's queue as the start of its next generation.
//!
//! It goes straight to the provider, past the commands' exchange, because it is a continuation and not a new command. A
//! dead letter that belongs to no provider, such as one for a provider that was not configured, goes to the provider its
//! record or routing key names, once that provider has a queue.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lapin::{Channel, Connection};

use super::clear::{Remedy, Verdict};
use super::dead::Dead;
use super::follow::Follow;
use super::register::Register;
use super::resubmit::{record_resubmission, resubmission};
use super::statement::{end_message, opening, settle};
use super::walk::depth;
use super::{Decision, Operator, OperatorError};
use crate::amqp::connection::say_goodbye;
use crate::amqp::error::BrokerError;
use crate::amqp::headers::{self, Travel};
use crate::amqp::message::{Message, short};
use crate::domain::command::{ANY, Command};
use crate::domain::dead_letter::{DeadLetter, ReplayOptions};
use crate::domain::ledger::effects::HeaderValue;
use crate::domain::ledger::record::{Fact, Opening, Person, Record, RecordId, Replayed};
use crate::domain::lifecycle::State;
use crate::domain::name::Name;
use crate::domain::progress::Progress;

const BY: &str = "ferry-by";
const REASON: &str = "ferry-reason";

/// Headers of ferryd's own.
type Own = BTreeMap<String, HeaderValue>;

/// How dead letters are replayed.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// More time for commands that have expired, from now.
    pub extend: Option<Duration>,
    /// Who takes it on to send again what may have acted, under a new key.
    pub force_new_key: Option<Decision>,
    /// Send one first, wait at most so long for its end, and go on only if that is a good one.
    pub canary: Option<Duration>,
    /// Who replays.
    pub by: String,
    /// The provider for commands of a type that name none.
    pub routes: HashMap<Name, Name>,
}

/// Replays under way.
pub struct Replaying {
    replay: Replay,
    operator: Operator,
    asking: (Connection, Channel),
    has_queue: HashMap<Name, bool>,
    canary: Option<(Follow, Duration)>,
    register: Option<Register>,
    /// The end that takes the place of a dead letter instead of its replay.
    unsettled: Option<RecordId>,
}

impl Replay {
    /// Connects; with a canary, also subscribes to its end.
    ///
    /// # Errors
    /// [`OperatorError`].
    pub async fn begin(self, operator: &Operator, register: Option<Register>) -> Result<Replaying, OperatorError> {
        let connection = operator.amqp.connect("operator-replay").await?;
        let channel = connection.create_channel().await.map_err(BrokerError::during("open a channel"))?;
        let canary = match self.canary {
            Some(patience) => {
                let states = [State::Waiting, State::Completed, State::Failed];
                let bindings = states.map(|state| format!("#.{}", state.as_str()));
                Some((Follow::open(operator, &bindings).await?, patience))
            }
            None => None,
        };
        let asking = (connection, channel);
        let (operator, has_queue) = (operator.clone(), HashMap::new());
        Ok(Replaying { replay: self, operator, asking, has_queue, canary, register, unsettled: None })
    }

    /// How far the next generation of a dead letter is, and what else travels beside it.
    ///
    /// # Errors
    /// Why it is not replayed, for people.
    fn travel(&self, dead: &Dead, letter: &DeadLetter, now: Timestamp) -> Result<(Travel, Own), String> {
        let expired = letter.expires_at.is_some_and(|expiry| now > expiry);
        let extension = self.extend.filter(|_| expired).and_then(|extend| SignedDuration::try_from(extend).ok());
        let extended_to = extension.and_then(|extension| now.checked_add(extension).ok());
        let options = ReplayOptions { force_new_key: self.force_new_key.is_some(), extend_to: extended_to };
        let progress = letter.replay(now, options).map_err(|refusal| refusal.to_string())?;
        let routing_key = dead.envelope().routing_key.map(str::to_owned);
        let extended_to = extended_to.or(letter.expires_at);
        let (publisher, unchecked) = (letter.publisher.clone(), letter.unchecked);
        let travel = Travel { progress, routing_key, extended_to, publisher, unchecked, ..Travel::fresh(now) };
        let forced = self.force_new_key.iter().flat_map(|Decision { by, reason }| [(BY, by), (REASON, reason)]);
        Ok((travel, forced.map(|(name, text)| (name.to_owned(), HeaderValue::Text(text.clone()))).collect()))
    }

    /// What the ledger is told of a replay.
    fn record(&self, dead: &Dead, letter: &DeadLetter, travel: &Travel, provider: &Name, at: Timestamp) -> Record {
        let Progress { unknown, key, first_sent, digest, token, .. } = travel.progress.clone();
        // A new one is on record once it is used, in the form that its provider takes.
        let key = key.filter(|_| unknown);
        let opening = opening(dead, Some(provider));
        let person = match &self.force_new_key {
            Some(Decision { by, reason }) => Person { by: by.clone(), reason: Some(reason.clone()) },
            None => Person { by: self.by.clone(), reason: None },
        };
        let replayed =
            Replayed { opening, from: letter.generation, unknown, key, first_sent, digest, token, person, job: None };
        Record { at, command: dead.identity.id.clone(), fact: Fact::Replayed(Box::new(replayed)) }
    }

    /// The message that starts the next generation of a dead letter at `provider`.
    fn continuation(
        operator: &Operator,
        dead: &Dead,
        travel: &Travel,
        forced: Own,
        provider: &Name,
    ) -> Result<Message, OperatorError> {
        let mut own = travel.headers(headers::Kind::Replay);
        own.extend(forced);
        let properties = headers::with_own(dead.carried(), &own);
        let key = format!("{}.{provider}", headers::Kind::Replay.as_str());
        let (exchange, routing_key) = (short(&operator.names.redeliver())?, short(&key)?);
        Ok(Message { exchange, routing_key, properties, body: dead.body.clone() })
    }

    /// The provider a dead letter goes back to: the one that was called, else the one it was published for. One that was given up
    /// unchecked, for whichever provider the route names, goes where the route leads by now; unless it may have acted.
    fn provider(&self, dead: &Dead, command: &Command) -> Option<Name> {
        let is_routed = |letter: &DeadLetter| letter.unchecked && !letter.unknown && command.provider.is_none();
        if dead.letter.as_ref().is_some_and(is_routed) {
            return self.routes.get(&command.kind).cloned();
        }
        let word = || dead.envelope().routing_key?.split('.').nth(1)?.parse::<Name>().ok();
        let named = dead.identity.provider.clone().or_else(word).filter(|name| name.as_str() != ANY);
        named.or_else(|| self.routes.get(dead.identity.r#type.as_ref()?).cloned())
    }
}

impl Remedy for Replaying {
    async fn instead(&mut self, dead: &Dead) -> Result<Verdict, OperatorError> {
        let Some(letter) = &dead.letter else {
            return Ok(refuse("its record can't be read; publish the command anew, then discard this"));
        };
        if dead.refused.as_ref().is_some_and(|refusal| refusal.is_cut) {
            return Ok(refuse(
                "its body was too large for the broker and was cut; publish the command anew, then discard this",
            ));
        }
        let command = match Command::decode(&dead.body, dead.envelope()) {
            Ok(command) => command,
            Err(invalid) => {
                let text = "the message itself is wrong and would fail again";
                return Ok(refuse(format!("{text}: {}", invalid.failure.message)));
            }
        };
        let Some(provider) = self.replay.provider(dead, &command) else {
            return Ok(refuse("it names no provider, and no route says which takes its type"));
        };
        if !self.has_queue(&provider).await? {
            return Ok(refuse(format!("provider `{provider}` has no queue; configure it and start ferryd first")));
        }
        if dead.identity.id.is_refused() {
            return self.resubmit(dead, &command, &provider);
        }
        // What has an answer by now is not refused for the lack of one.
        if let Some(register) = &self.register
            && let Some(case) = register.case(&dead.identity.id)?
            && let Some(ending) = case.ending.as_ref().filter(|ending| !ending.is_dead())
        {
            if let Some(decided) = case.unsettled() {
                // Whoever ended it may have died before it was published; without its dead letter nobody would look for that.
                self.unsettled = Some(decided.by);
                return end_message(&self.operator, &decided.effects.event).map(Verdict::CloseWith);
            }
            let state = ending.event.data.state.as_str();
            return Ok(Verdict::Close(format!("the command has ended meanwhile as `{state}`")));
        }
        let now = Timestamp::now();
        let (travel, own) = match self.replay.travel(dead, letter, now) {
            Ok(travel) => travel,
            Err(reason) => return Ok(refuse(reason)),
        };
        if let Some(register) = &mut self.register {
            register.put_down(self.replay.record(dead, letter, &travel, &provider, now)).await?;
        }
        let travel = Travel { recorded: true, ..travel };
        let message = Replay::continuation(&self.operator, dead, &travel, own, &provider)?;
        Ok(Verdict::Publish(Box::new(message)))
    }

    async fn settle(&mut self, dead: &Dead) -> Result<(), OperatorError> {
        match (self.unsettled.take(), &mut self.register) {
            (Some(finished), Some(register)) => settle(register, dead, finished).await,
            (None, Some(register)) if dead.identity.id.is_refused() => {
                record_resubmission(register, dead, &self.replay.by).await
            }
            _ => Ok(()),
        }
    }

    async fn done(&mut self, dead: &Dead) -> Result<Option<String>, OperatorError> {
        let Some((mut follow, patience)) = self.canary.take() else { return Ok(None) };
        let id = &dead.identity.id.published();
        let letter = dead.letter.as_ref().filter(|_| !dead.identity.id.is_refused());
        let generation = letter.map_or(0, |letter| letter.generation + 1);
        let end = follow.until(|event| {
            let told = matches!(event.data.state, State::Waiting | State::Completed | State::Failed);
            told && event.data.command.id == *id && event.data.generation >= generation
        });
        let Ok(end) = tokio::time::timeout(patience, end).await else {
            let text = format!("the first one, `{id}`, has not ended within {} s", patience.as_secs());
            return Ok(Some(format!("{text}; see `ferryd events --until-terminal {id}`, the rest was not touched")));
        };
        let end = end?;
        follow.close().await;
        let Some(error) = end.data.error.filter(|_| end.data.state == State::Failed) else { return Ok(None) };
        let kind = error.kind.map_or("failed", |kind| kind.as_str());
        Ok(Some(format!("the first one, `{id}`, failed again ({kind}): {}; the rest was not touched", error.message)))
    }
}

impl Replaying {
    /// Sends a refused message itself again in its place, unless it is done with.
    fn resubmit(&self, dead: &Dead, command: &Command, provider: &Name) -> Result<Verdict, OperatorError> {
        if let Some(register) = &self.register
            && let Some(case) = register.case(&dead.identity.id)?
            && case.ending.as_ref().is_some_and(|ending| !ending.is_dead())
        {
            return Ok(Verdict::Close("it was sent again or discarded meanwhile".to_owned()));
        }
        let id = dead.identity.id.published();
        let known = self.register.as_ref().map(|register| register.case(&id)).transpose()?.flatten();
        if known.is_some_and(|case| case.is_other_than(&Opening::of(command, provider))) {
            let text = "a command with another content is known by its id";
            return Ok(refuse(format!("{text}, `{id}`; publish it under an id of its own, then discard this")));
        }
        let message = resubmission(&self.operator, &self.replay, (dead, command), provider, Timestamp::now())?;
        Ok(message.map_or_else(refuse, |message| Verdict::Publish(Box::new(message))))
    }

    async fn has_queue(&mut self, provider: &Name) -> Result<bool, OperatorError> {
        if let Some(known) = self.has_queue.get(provider) {
            return Ok(*known);
        }
        let (connection, channel) = &mut self.asking;
        let there = depth(channel, &short(&self.operator.names.commands_of(provider))?).await?.is_some();
        if !there {
            // The broker closes a channel that asks for what is not there.
            *channel = connection.create_channel().await.map_err(BrokerError::during("open a channel"))?;
        }
        self.has_queue.insert(provider.clone(), there);
        Ok(there)
    }

    /// Says goodbye to the broker.
    pub async fn close(self) {
        say_goodbye(&self.asking.0).await;
        if let Some((follow, _)) = self.canary {
            follow.close().await;
        }
        if let Some(register) = self.register {
            register.close().await;
        }
    }
}

fn refuse(reason: impl Into<String>) -> Verdict {
    Verdict::Refuse(reason.into())
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
