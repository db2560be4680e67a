//! The real commands behind the API: recorded in the ledger, and processed by the pipeline.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::info;

use super::command_submission::{message, record_submission};
use super::commands::{
    CommandService, CommandServiceError, CommandServiceState, CommandSubmission, SubmitResult,
};
use super::lookup::LookupStart;
use crate::operator::erase::{CommandEraser, ErasureResult};
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::operator::queues::{all_dead_queues, dead_queue, dead_queues};
use crate::operator::redelivery::DeadLetterLookup;
use crate::operator::scan::{find_letters, find_messages};
use crate::operator::{OperatorContext, OperatorError};
use crate::pipeline::Pipeline;
use crate::pipeline::cancel::CancelResult;
use ferryd_broker::connection::AmqpSettings;
use ferryd_broker::error::BrokerError;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::EncodedEvent;
use ferryd_domain::ledger::command_state::{CommandEnding, CommandState};
use ferryd_domain::ledger::record::Actor;
use ferryd_domain::name::Name;
use ferryd_ledger::call_log::{CallWindow, FoundCalls, find, spans};
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{DeadLetterGroup, IndexError, LedgerIndex, ListPage, PageCursor};
use ferryd_ledger::{Ledger, LedgerHealth};
use ferryd_provider::registry::ProviderRegistry;
use ferryd_transport::call_log::HttpCall;

/// The longest time that an answer waits for the latest records.
const FRESHNESS: Duration = Duration::from_secs(2);
/// The most messages that were refused under an id of which dead letters are read.
const MAX_REFUSED: u32 = 20;
/// The most searches for calls that run at the same time; each has a connection to the broker.
const MAX_SEARCHES: usize = 4;

/// Serves commands from the pipeline and its ledger.
pub struct LedgerCommandService {
    pipeline: Arc<Pipeline>,
    amqp: AmqpSettings,
    /// The configured providers, whose queues may hold dead letters.
    registry: Arc<ProviderRegistry>,
    searches: Semaphore,
}

impl LedgerCommandService {
    /// Serves the commands of this pipeline and these providers. `amqp` is for searches over a
    /// connection of their own.
    #[must_use]
    pub fn new(
        pipeline: Arc<Pipeline>,
        amqp: AmqpSettings,
        registry: Arc<ProviderRegistry>,
    ) -> Self {
        Self { pipeline, amqp, registry, searches: Semaphore::new(MAX_SEARCHES) }
    }

    fn ledger(&self) -> &Ledger {
        &self.pipeline.ledger_gate.ledger
    }

    /// Queries the index, brought up to date, off the threads that serve connections.
    async fn query_index<T: Send + 'static>(
        &self,
        read: impl FnOnce(&LedgerIndex) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, CommandServiceError> {
        let ledger = self.ledger();
        // Where the disk is that slow, a somewhat older answer is better than none.
        let _ = timeout(FRESHNESS, ledger.flush()).await;
        let index = Arc::clone(ledger.index());
        let answer = tokio::task::spawn_blocking(move || read(&index)).await;
        answer
            .map_err(|error| CommandServiceError::Index(error.to_string()))?
            .map_err(|error| CommandServiceError::Index(error.to_string()))
    }

    fn operator(&self) -> OperatorContext {
        OperatorContext { amqp: self.amqp.clone(), names: self.pipeline.names.clone() }
    }

    fn provider_names(&self) -> Vec<Name> {
        self.registry.iter().map(|provider| provider.name.clone()).collect()
    }

    /// Requests a lookup of a dead letter, by a copy of its message.
    async fn look_up_dead(
        &self,
        id: &CommandId,
        provider: Option<&Name>,
    ) -> Result<LookupStart, CommandServiceError> {
        let _search = self.searches.try_acquire().map_err(|_| CommandServiceError::Busy)?;
        let operator = self.operator();
        let queues = dead_queues(&operator.names, &[], provider);
        let Some(dead) = find_letters(&operator, &queues, slice::from_ref(id)).await?.pop() else {
            let text = "it is a dead letter without a message in its queue: a replay may be under way; ask again";
            return Ok(LookupStart::Refused(text.to_owned()));
        };
        let lookup =
            DeadLetterLookup::about(&dead, &operator.names, &self.registry, Timestamp::now());
        match lookup.map_err(|error| CommandServiceError::Broker(error.to_string()))? {
            DeadLetterLookup::Refuse(reason) => Ok(LookupStart::Refused(reason)),
            DeadLetterLookup::Publish(message) => {
                self.pipeline.broker.publish(&message).await?;
                Ok(LookupStart::Requested)
            }
        }
    }

    /// The ids of a command's dead letter and of those that were refused under it, with their
    /// providers, where the ledger knows some.
    async fn recorded_letters(
        &self,
        id: &CommandId,
    ) -> Result<Option<(Vec<CommandId>, Vec<Name>)>, CommandServiceError> {
        let (published, most) = (id.clone(), MAX_REFUSED);
        let refused = self.query_index(move |index| index.refused_under(&published, most)).await?;
        let is_dead = |id: &CommandId| {
            let state = self.ledger().command_state(id)?;
            state.ending.as_ref().filter(|ending| ending.is_dead())?;
            state.identity.as_ref().map(|identity| identity.command.provider.clone())
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
        person: Actor,
        dry_run: bool,
    ) -> Result<Vec<ErasureResult>, CommandServiceError> {
        let _search = self.searches.try_acquire().map_err(|_| CommandServiceError::Busy)?;
        let ledger = self.ledger();
        let known = self
            .query_index(move |index| {
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
        let results =
            CommandEraser { operator, ledger, queues, person, dry_run }.erase(ids).await?;
        ledger.flush().await;
        Ok(results)
    }
}

impl CommandService for LedgerCommandService {
    fn service_state(&self) -> CommandServiceState {
        let health = *self.ledger().health().borrow();
        match (self.pipeline.stop.is_cancelled(), health) {
            (true, _) => CommandServiceState::Stopping,
            // Reported before the others: it lasts longer, and an index that is still being read is
            // of no use.
            (_, LedgerHealth::CatchingUp(progress)) => {
                CommandServiceState::CatchingUp(progress.records)
            }
            _ if !self.pipeline.broker.is_connected() => CommandServiceState::BrokerAway,
            (_, LedgerHealth::Lagging) => CommandServiceState::Lagging,
            (_, LedgerHealth::CaughtUp) => CommandServiceState::Ready,
        }
    }

    fn ledger(&self) -> Option<&Ledger> {
        Some(&self.pipeline.ledger_gate.ledger)
    }

    fn submit_command(
        &self,
        submission: CommandSubmission,
    ) -> BoxFuture<'_, Result<SubmitResult, CommandServiceError>> {
        async move {
            if let Some(known) =
                record_submission(self.ledger(), self.amqp.user.as_deref(), &submission).await?
            {
                return Ok(known);
            }
            let message = message(&self.pipeline.names, self.amqp.user.as_deref(), submission)
                .map_err(|error| CommandServiceError::Broker(error.to_string()))?;
            self.pipeline.broker.publish_or_refuse(&message).await?;
            Ok(SubmitResult::UnderWay)
        }
        .boxed()
    }

    fn wait_for_ending<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<EncodedEvent, CommandServiceError>> {
        async move { Ok(self.ledger().wait_for_ending(id).await?) }.boxed()
    }

    fn cancel<'a>(
        &'a self,
        id: &'a CommandId,
        person: &'a Actor,
    ) -> BoxFuture<'a, Result<CancelResult, CommandServiceError>> {
        async move { Ok(self.pipeline.cancel(id, person).await?) }.boxed()
    }

    fn look_up<'a>(
        &'a self,
        id: &'a CommandId,
        state: &'a CommandState,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, CommandServiceError>> {
        async move {
            if state.ending.as_ref().is_some_and(CommandEnding::is_dead) {
                let provider =
                    state.identity.as_ref().and_then(|identity| identity.command.provider.as_ref());
                return self.look_up_dead(id, provider).await;
            }
            let lookup = self.pipeline.look_up_now(id, by).await?;
            info!(command.id = id.as_str(), by, ?lookup, "lookup requested");
            Ok(match lookup.refusal_reason() {
                None => LookupStart::Requested,
                Some(why) => LookupStart::Refused(why.to_owned()),
            })
        }
        .boxed()
    }

    fn dead_messages<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Vec<QueuedDeadLetter>, CommandServiceError>> {
        async move {
            let _search = self.searches.try_acquire().map_err(|_| CommandServiceError::Busy)?;
            let operator = self.operator();
            if let Some((ids, providers)) = self.recorded_letters(id).await? {
                let queues = all_dead_queues(&operator, &[], providers).await?;
                return Ok(find_letters(&operator, &queues, &ids).await?);
            }
            // The ledger does not know it: it may be older, or can't be read.
            let known = self.query_index(LedgerIndex::dead_providers).await?;
            let queues = all_dead_queues(&operator, &self.provider_names(), known).await?;
            Ok(find_messages(&operator, &queues, id).await?)
        }
        .boxed()
    }

    fn dead_queue<'a>(
        &'a self,
        provider: Option<&'a Name>,
    ) -> BoxFuture<'a, Result<String, CommandServiceError>> {
        async move {
            let (configured, names) = (self.provider_names(), &self.pipeline.names);
            if provider.is_none_or(|name| configured.contains(name)) {
                return Ok(dead_queue(names, &dead_queues(names, &configured, None), provider));
            }
            let known = self.query_index(LedgerIndex::dead_providers).await?;
            Ok(dead_queue(
                names,
                &all_dead_queues(&self.operator(), &configured, known).await?,
                provider,
            ))
        }
        .boxed()
    }

    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Actor,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, CommandServiceError>> {
        async move { self.erase_contents(&ids, person.clone(), dry_run).await }.boxed()
    }

    fn command_state<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<Arc<CommandState>>, CommandServiceError>> {
        async move {
            let ledger = self.ledger();
            if let Some(state) = ledger.command_state(id) {
                return Ok(Some(state));
            }
            // Another instance may have recorded the command just now.
            let barrier = timeout(FRESHNESS, ledger.wait_for_barrier()).await;
            barrier.map_err(|_| {
                CommandServiceError::Broker("the ledger did not answer in time".to_owned())
            })??;
            Ok(ledger.command_state(id))
        }
        .boxed()
    }

    fn refused_under<'a>(
        &'a self,
        id: &'a CommandId,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<CommandId>, CommandServiceError>> {
        let id = id.clone();
        self.query_index(move |index| index.refused_under(&id, most)).boxed()
    }

    fn list(
        &self,
        filter: CommandFilter,
        after: Option<PageCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ListPage, CommandServiceError>> {
        self.query_index(move |index| index.list(&filter, after.as_ref(), limit)).boxed()
    }

    fn dead_letter_groups(
        &self,
        filter: CommandFilter,
    ) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, CommandServiceError>> {
        self.query_index(move |index| index.groups(&filter)).boxed()
    }

    fn find_calls<'a>(
        &'a self,
        id: &'a CommandId,
        windows: Vec<CallWindow>,
    ) -> BoxFuture<'a, Result<FoundCalls<HttpCall<'static>>, CommandServiceError>> {
        async move {
            let _search = self.searches.try_acquire().map_err(|_| CommandServiceError::Busy)?;
            // The latest calls of this instance are among them; those of another instance within
            // the last 50 ms may not be.
            let _ = timeout(FRESHNESS, self.pipeline.call_log.flush()).await;
            let (command, spans) = (id.clone(), spans(&windows));
            let noted = self.query_index(move |index| index.noted_calls(&command, &spans)).await?;
            Ok(find(&self.amqp, &self.pipeline.names.calls(), id, &windows, noted.as_ref()).await?)
        }
        .boxed()
    }
}

impl From<OperatorError> for CommandServiceError {
    fn from(error: OperatorError) -> Self {
        Self::Broker(error.to_string())
    }
}

impl From<BrokerError> for CommandServiceError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Stopping => Self::Stopping,
            other => Self::Broker(other.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "ledger_service_tests.rs"]
mod tests;
