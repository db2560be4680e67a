//! The real commands behind the API: recorded in the ledger, and processed by the pipeline.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use lapin::types::FieldTable;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::commands::{Commands, Failed, Standing, Submission, Submitted};
use super::lookup::LookupStart;
use crate::operator::dead::Dead;
use crate::operator::erase::{CommandEraser, ErasureResult};
use crate::operator::queues::{all_dead_queues, dead_queue, dead_queues};
use crate::operator::redelivery::DeadLetterQuestion;
use crate::operator::scan::{find_letters, find_messages};
use crate::operator::{Operator, OperatorError};
use crate::pipeline::Pipeline;
use crate::pipeline::cancel::Cancellation;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::error::BrokerError;
use ferryd_broker::headers::put_trace;
use ferryd_broker::message::{Message, TooLong, persistent, short, with_user};
use ferryd_broker::topology::Names;
use ferryd_domain::command::ANY;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::Event;
use ferryd_domain::ledger::case::{Case, Ending};
use ferryd_domain::ledger::next_action::{NextAction, Role, next_action};
use ferryd_domain::ledger::record::{Fact, Opened, Opening, Person, Reason, Record, Step};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::name::Name;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::exchanges::{Found, Window, find, spans};
use ferryd_ledger::index::{Cursor, Group, Index, IndexError, Page};
use ferryd_ledger::{Health, Ledger};
use ferryd_provider::registry::Registry;
use ferryd_transport::exchange_log::Exchange;

/// The longest time that an answer waits for the latest records.
const FRESHNESS: Duration = Duration::from_secs(2);
/// The most messages that were refused under an id of which dead letters are read.
const MAX_REFUSED: u32 = 20;
/// The most searches for calls that run at the same time; each has a connection to the broker.
const MAX_SEARCHES: usize = 4;

/// Serves commands from the pipeline and its ledger.
pub struct Recorded {
    pipeline: Arc<Pipeline>,
    amqp: AmqpSettings,
    /// The configured providers, whose queues may hold dead letters.
    registry: Arc<Registry>,
    searches: Semaphore,
}

impl Recorded {
    /// Serves the commands of this pipeline and these providers. `amqp` is for searches over a
    /// connection of their own.
    #[must_use]
    pub fn new(pipeline: Arc<Pipeline>, amqp: AmqpSettings, registry: Arc<Registry>) -> Self {
        Self { pipeline, amqp, registry, searches: Semaphore::new(MAX_SEARCHES) }
    }

    fn ledger(&self) -> &Ledger {
        &self.pipeline.memory.ledger
    }

    /// Queries the index, brought up to date, off the threads that serve connections.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Index) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, Failed> {
        let ledger = self.ledger();
        // Where the disk is that slow, a somewhat older answer is better than none.
        let _ = timeout(FRESHNESS, ledger.flush()).await;
        let index = Arc::clone(ledger.index());
        let answer = tokio::task::spawn_blocking(move || question(&index)).await;
        answer.map_err(|error| Failed::Index(error.to_string()))?.map_err(|error| Failed::Index(error.to_string()))
    }

    fn operator(&self) -> Operator {
        Operator { amqp: self.amqp.clone(), names: self.pipeline.names.clone() }
    }

    fn provider_names(&self) -> Vec<Name> {
        self.registry.iter().map(|provider| provider.name.clone()).collect()
    }

    /// Requests a lookup of a dead letter, by a copy of its message.
    async fn look_up_dead(&self, id: &CommandId, provider: Option<&Name>) -> Result<LookupStart, Failed> {
        let _search = self.searches.try_acquire().map_err(|_| Failed::Busy)?;
        let operator = self.operator();
        let queues = dead_queues(&operator.names, &[], provider);
        let Some(dead) = find_letters(&operator, &queues, slice::from_ref(id)).await?.pop() else {
            let text = "it is a dead letter without a message in its queue: a replay may be under way; ask again";
            return Ok(LookupStart::Refused(text.to_owned()));
        };
        let question = DeadLetterQuestion::about(&dead, &operator.names, &self.registry, Timestamp::now());
        match question.map_err(|error| Failed::Broker(error.to_string()))? {
            DeadLetterQuestion::Refuse(reason) => Ok(LookupStart::Refused(reason)),
            DeadLetterQuestion::Ask(message) => {
                self.pipeline.broker.publish(&message).await?;
                Ok(LookupStart::Asked)
            }
        }
    }

    /// The ids of a command's dead letter and of those that were refused under it, with their providers, where the ledger knows some.
    async fn recorded_letters(&self, id: &CommandId) -> Result<Option<(Vec<CommandId>, Vec<Name>)>, Failed> {
        let (published, most) = (id.clone(), MAX_REFUSED);
        let refused = self.ask(move |index| index.refused_under(&published, most)).await?;
        let is_dead = |id: &CommandId| {
            let case = self.ledger().case(id)?;
            case.ending.as_ref().filter(|ending| ending.is_dead())?;
            case.opening.as_ref().map(|opening| opening.identity.provider.clone())
        };
        let (mut ids, mut providers) = (Vec::new(), Vec::new());
        for id in std::iter::once(id).chain(&refused) {
            if let Some(provider) = is_dead(id) {
                ids.push(id.clone());
                providers.extend(provider);
            }
        }
        providers.sort();
        providers.dedup();
        Ok(if ids.is_empty() { None } else { Some((ids, providers)) })
    }

    /// Erases the contents of commands, also in the index of this instance before it returns.
    async fn erase_contents(
        &self,
        ids: &[CommandId],
        person: Person,
        dry_run: bool,
    ) -> Result<Vec<ErasureResult>, Failed> {
        let _search = self.searches.try_acquire().map_err(|_| Failed::Busy)?;
        let ledger = self.ledger();
        let known = self
            .ask(move |index| {
                if !dry_run {
                    // The erasure does not reach unused indexes beside this one. They are
                    // deleted first, so that nothing has happened yet where that fails.
                    index.delete_unused_neighbours()?;
                }
                index.dead_providers()
            })
            .await?;
        let operator = self.operator();
        let queues = all_dead_queues(&operator, &self.provider_names(), known).await?;
        let (operator, queues) = (&operator, queues.as_slice());
        let results = CommandEraser { operator, ledger, queues, person, dry_run }.erase(ids).await?;
        ledger.flush().await;
        Ok(results)
    }

    /// Records a command. Returns what is known of it; `None` where it is to be published.
    async fn put_down(&self, submission: &Submission) -> Result<Option<Submitted>, Failed> {
        let ledger = self.ledger();
        let Submission { command, provider, by, .. } = submission;
        let opening = Opening { publisher: self.amqp.user.clone(), ..Opening::of(command, provider) };
        let step = Step::call(0, 1);
        let (reason, by) = (Reason::Submitted, Some(by.clone()));
        let opened = Opened { opening, step, fresh: true, recorded: false, reason, until: None, by };
        let record = Record { at: Timestamp::now(), command: command.id.clone(), fact: Fact::Opened(Box::new(opened)) };
        let known = follow(ledger.append(record).await?.ruling);
        let taken_up =
            || ledger.case(&command.id).is_some_and(|case| is_taken_up(&case)).then_some(Submitted::UnderWay);
        Ok(known.or_else(taken_up))
    }
}

/// Returns what a ruling says of a submitted command; `None` where it is to be published.
pub(super) fn follow(ruling: Ruling) -> Option<Submitted> {
    match next_action(Role::Submitter, ruling) {
        NextAction::Proceed(_) => None,
        NextAction::Conflict => Some(Submitted::OtherContent),
        NextAction::Answer(event) => Some(Submitted::Ended(event)),
        NextAction::Wait(kind) => Some(Submitted::Blocked(kind)),
        _ => Some(Submitted::UnderWay),
    }
}

/// Returns true where a process has taken up the message of a command, so that the message exists.
/// Before that it may never have been published: the process that recorded the command may have
/// died.
fn is_taken_up(case: &Case) -> bool {
    case.history.iter().any(|transition| !matches!(transition.reason.as_str(), "submitted" | "cancel_wished"))
}

/// Builds the message of a command that ferryd itself publishes, as this user of the broker.
fn message(names: &Names, user: Option<&str>, submission: Submission) -> Result<Message, TooLong> {
    let Submission { command, body, trace, .. } = submission;
    let provider = command.provider.as_ref().map_or(ANY, Name::as_str);
    let key = format!("{}.{provider}.{}", command.kind, command.operation);
    let mut headers = FieldTable::default();
    put_trace(&mut headers, &trace);
    let properties = persistent()
        .with_content_type("application/json".into())
        .with_message_id(short(command.id.as_str())?)
        .with_timestamp(u64::try_from(Timestamp::now().as_second()).unwrap_or_default())
        .with_headers(headers);
    let properties = with_user(properties, user)?;
    Ok(Message { exchange: short(&names.commands())?, routing_key: short(&key)?, properties, body: body.into() })
}

impl Commands for Recorded {
    fn standing(&self) -> Standing {
        let health = *self.ledger().health().borrow();
        match (self.pipeline.stop.is_cancelled(), health) {
            (true, _) => Standing::Stopping,
            // Reported before the others: it lasts longer, and an index that is still being read is
            // of no use.
            (_, Health::CatchingUp(progress)) => Standing::CatchingUp(progress.records),
            _ if !self.pipeline.broker.is_connected() => Standing::BrokerAway,
            (_, Health::Lagging) => Standing::Lagging,
            (_, Health::CaughtUp) => Standing::Ready,
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.pipeline.memory.ledger)
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Submitted, Failed>> {
        async move {
            if let Some(known) = self.put_down(&submission).await? {
                return Ok(known);
            }
            let message = message(&self.pipeline.names, self.amqp.user.as_deref(), submission)
                .map_err(|error| Failed::Broker(error.to_string()))?;
            self.pipeline.broker.publish_or_refuse(&message, &CancellationToken::new()).await?;
            Ok(Submitted::UnderWay)
        }
        .boxed()
    }

    fn ended<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Event, Failed>> {
        async move { Ok(self.ledger().ended(id).await?) }.boxed()
    }

    fn cancel<'a>(&'a self, id: &'a CommandId, person: &'a Person) -> BoxFuture<'a, Result<Cancellation, Failed>> {
        async move { Ok(self.pipeline.cancel(id, person).await?) }.boxed()
    }

    fn look_up<'a>(
        &'a self,
        id: &'a CommandId,
        case: &'a Case,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, Failed>> {
        async move {
            if case.ending.as_ref().is_some_and(Ending::is_dead) {
                let provider = case.opening.as_ref().and_then(|opening| opening.identity.provider.as_ref());
                return self.look_up_dead(id, provider).await;
            }
            let wish = self.pipeline.look_up_now(id, by).await?;
            info!(command.id = id.as_str(), by, ?wish, "asked to look up");
            Ok(match wish.refusal() {
                None => LookupStart::Asked,
                Some(why) => LookupStart::Refused(why.to_owned()),
            })
        }
        .boxed()
    }

    fn dead_messages<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Vec<Dead>, Failed>> {
        async move {
            let _search = self.searches.try_acquire().map_err(|_| Failed::Busy)?;
            let operator = self.operator();
            if let Some((ids, providers)) = self.recorded_letters(id).await? {
                let queues = all_dead_queues(&operator, &[], providers).await?;
                return Ok(find_letters(&operator, &queues, &ids).await?);
            }
            // The ledger does not know it: it may be older, or can't be read.
            let known = self.ask(Index::dead_providers).await?;
            let queues = all_dead_queues(&operator, &self.provider_names(), known).await?;
            Ok(find_messages(&operator, &queues, id).await?)
        }
        .boxed()
    }

    fn dead_queue<'a>(&'a self, provider: Option<&'a Name>) -> BoxFuture<'a, Result<String, Failed>> {
        async move {
            let (configured, names) = (self.provider_names(), &self.pipeline.names);
            if provider.is_none_or(|name| configured.contains(name)) {
                return Ok(dead_queue(names, &dead_queues(names, &configured, None), provider));
            }
            let known = self.ask(Index::dead_providers).await?;
            Ok(dead_queue(names, &all_dead_queues(&self.operator(), &configured, known).await?, provider))
        }
        .boxed()
    }

    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Person,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, Failed>> {
        async move { self.erase_contents(&ids, person.clone(), dry_run).await }.boxed()
    }

    fn case<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Option<Arc<Case>>, Failed>> {
        async move {
            let ledger = self.ledger();
            if let Some(case) = ledger.case(id) {
                return Ok(Some(case));
            }
            // Another instance may have recorded the command just now.
            let barrier = timeout(FRESHNESS, ledger.barrier()).await;
            barrier.map_err(|_| Failed::Broker("the ledger did not answer in time".to_owned()))??;
            Ok(ledger.case(id))
        }
        .boxed()
    }

    fn refused_under<'a>(&'a self, id: &'a CommandId, most: u32) -> BoxFuture<'a, Result<Vec<CommandId>, Failed>> {
        let id = id.clone();
        self.ask(move |index| index.refused_under(&id, most)).boxed()
    }

    fn list(&self, filter: CommandFilter, after: Option<Cursor>, limit: usize) -> BoxFuture<'_, Result<Page, Failed>> {
        self.ask(move |index| index.list(&filter, after.as_ref(), limit)).boxed()
    }

    fn groups(&self, filter: CommandFilter) -> BoxFuture<'_, Result<Vec<Group>, Failed>> {
        self.ask(move |index| index.groups(&filter)).boxed()
    }

    fn exchanges<'a>(
        &'a self,
        id: &'a CommandId,
        windows: Vec<Window>,
    ) -> BoxFuture<'a, Result<Found<Exchange<'static>>, Failed>> {
        async move {
            let _search = self.searches.try_acquire().map_err(|_| Failed::Busy)?;
            // The latest calls of this instance are among them; those of another instance within
            // the last 50 ms may not be.
            let _ = timeout(FRESHNESS, self.pipeline.exchanges.flush()).await;
            let (command, spans) = (id.clone(), spans(&windows));
            let noted = self.ask(move |index| index.noted_calls(&command, &spans)).await?;
            Ok(find(&self.amqp, &self.pipeline.names.exchanges(), id, &windows, noted.as_ref()).await?)
        }
        .boxed()
    }
}

impl From<OperatorError> for Failed {
    fn from(error: OperatorError) -> Self {
        Self::Broker(error.to_string())
    }
}

impl From<BrokerError> for Failed {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Stopping => Self::Stopping,
            other => Self::Broker(other.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
