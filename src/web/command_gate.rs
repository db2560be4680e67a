//! The gate between the API and commands: each within the scope of a token.
//!
//! Handlers reach commands only through this gate, so a new handler can't forget the check: every
//! method takes the access that its caller's token gives, and only a request with such a token has
//! one. A command outside of the scope is answered as if it did not exist.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::access::{EraseAccess, OperateAccess, ReadAccess};
use super::commands::{
    CommandService, CommandServiceError, CommandServiceState, CommandSubmission, LookupStart,
    SubmitResult,
};
use super::dead_letter_view::DeadLetterView;
use super::problem::{ApiProblem, ProblemKind};
use crate::operator::erase::ErasureResult;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::pipeline::cancel::CancelResult;
use crate::pipeline::publisher_rules::PublisherRules;
use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::command_scope::CommandScope;
use ferryd_domain::event::EncodedEvent;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::Actor;
use ferryd_domain::ledger::refusal_note::RefusalNote;
use ferryd_ledger::Ledger;
use ferryd_ledger::call_log::{CallWindow, FoundCalls};
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{DeadLetterGroup, ListPage, MAX_PAGE, PageCursor};
use ferryd_provider::registry::ProviderRegistry;
use ferryd_transport::call_log::HttpCall;

/// The most messages refused under an id that an answer lists.
const MAX_REFUSED: u32 = 20;

/// The commands that are to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ErasureTarget {
    /// One command, or one refused message, alone.
    One(CommandId),
    /// Several commands, and the messages refused under their ids.
    Ids(Vec<CommandId>),
    /// All commands with this reference of their publisher's.
    Reference(String),
}

/// Reaches commands within the scope of a token.
#[derive(Clone)]
pub(super) struct CommandGate {
    commands: Arc<dyn CommandService>,
    registry: Arc<ProviderRegistry>,
    /// The rules that bind ids to publishers.
    rules: Arc<PublisherRules>,
}

impl CommandGate {
    /// Opens the gate to these commands for these providers.
    pub(super) fn new(commands: Arc<dyn CommandService>, registry: Arc<ProviderRegistry>) -> Self {
        let rules = Arc::new(PublisherRules::new(&registry, None));
        Self { commands, registry, rules }
    }

    /// Returns the state of the ledger and the broker.
    pub(super) fn service_state(&self) -> CommandServiceState {
        self.commands.service_state()
    }

    /// Finds a command.
    pub(super) async fn find(
        &self,
        access: &ReadAccess,
        id: &CommandId,
    ) -> Result<Option<Arc<CommandState>>, CommandServiceError> {
        self.find_within(access.scope(), id).await
    }

    /// Finds the messages that were refused under an id.
    pub(super) async fn find_refusals(
        &self,
        access: &ReadAccess,
        id: &CommandId,
    ) -> Result<Vec<RefusalNote>, CommandServiceError> {
        let mut notes = Vec::new();
        for refused in self.commands.refused_under(id, MAX_REFUSED).await? {
            let state = self.find_within(access.scope(), &refused).await?;
            notes.extend(state.and_then(|state| RefusalNote::of(refused, &state)));
        }
        Ok(notes)
    }

    /// Finds the recorded dead letters of a command and of the messages refused under its id.
    pub(super) async fn find_dead_letters(
        &self,
        access: &ReadAccess,
        id: &CommandId,
    ) -> Result<Vec<DeadLetterView>, CommandServiceError> {
        let mut ids = vec![id.clone()];
        if !id.is_refused() {
            ids.extend(self.commands.refused_under(id, MAX_REFUSED).await?);
        }
        let mut found = Vec::new();
        for id in &ids {
            let state = self.find_within(access.scope(), id).await?;
            let ending = state
                .as_deref()
                .and_then(|state| state.ending.as_ref())
                .filter(|ending| ending.is_dead());
            if let Some(record) = ending.and_then(|ending| ending.letter.as_deref().cloned()) {
                let queue = self.commands.dead_queue(record.command.provider.as_ref()).await?;
                found.push(DeadLetterView { queue, record: Some(record), message: None });
            }
        }
        Ok(found)
    }

    /// Reads the messages of a command's dead letter, and those refused under its id.
    pub(super) fn read_dead_messages(
        &self,
        access: &ReadAccess,
        id: CommandId,
    ) -> BoxFuture<'static, Result<Vec<QueuedDeadLetter>, CommandServiceError>> {
        let (commands, scope) = (Arc::clone(&self.commands), access.scope().clone());
        Box::pin(async move {
            let found = commands.dead_messages(&id).await?;
            Ok(found.into_iter().filter(|dead| scope.admits(&dead.identity)).collect())
        })
    }

    /// Requests a lookup of a command at its provider; `None` for a command that is unknown to the
    /// token.
    pub(super) fn look_up(
        &self,
        access: &OperateAccess,
        id: CommandId,
    ) -> BoxFuture<'static, Result<Option<LookupStart>, CommandServiceError>> {
        let (gate, access) = (self.clone(), access.clone());
        Box::pin(async move {
            let Some(state) = gate.find_within(access.scope(), &id).await? else { return Ok(None) };
            if state.identity.is_none() {
                return Ok(None);
            }
            gate.commands.look_up(&id, &state, &access.recorded_name(None)).await.map(Some)
        })
    }

    /// Finds the calls to the provider for a command within these times; none for an erased
    /// command. `case` is the recorded state of the command. `None` where the command is unknown to
    /// a token of limited scope: it could be outside of the scope.
    pub(super) async fn find_calls(
        &self,
        access: &ReadAccess,
        id: &CommandId,
        state: Option<&CommandState>,
        windows: Vec<CallWindow>,
    ) -> Result<Option<FoundCalls<HttpCall<'static>>>, CommandServiceError> {
        let scope = access.scope();
        if !state.map_or(scope.is_unlimited(), |state| is_within(scope, state)) {
            return Ok(None);
        }
        // The stream keeps the calls until they expire, and no answer shows them.
        if windows.is_empty() || state.is_some_and(CommandState::is_erased) {
            return Ok(Some(FoundCalls { calls: Vec::new(), complete: true }));
        }
        self.commands.find_calls(id, windows).await.map(Some)
    }

    /// Returns the ledger, for jobs.
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        self.commands.ledger()
    }

    /// Lists a page of commands.
    pub(super) async fn list(
        &self,
        access: &ReadAccess,
        filter: CommandFilter,
        after: Option<PageCursor>,
        limit: usize,
    ) -> Result<ListPage, CommandServiceError> {
        self.commands.list(narrow_filter(access, filter), after, limit).await
    }

    /// Counts dead letters by the failure that caused them.
    pub(super) async fn count_groups(
        &self,
        access: &ReadAccess,
        filter: CommandFilter,
    ) -> Result<Vec<DeadLetterGroup>, CommandServiceError> {
        self.commands.dead_letter_groups(narrow_filter(access, filter)).await
    }

    /// Accepts a command, and publishes it unless it is known already.
    ///
    /// # Errors
    /// At once where the command is outside of the token's scope.
    pub(super) fn submit(
        &self,
        access: &OperateAccess,
        submission: CommandSubmission,
    ) -> Result<BoxFuture<'static, Result<SubmitResult, CommandServiceError>>, ApiProblem> {
        let identity = submission.command.identity(&submission.provider);
        if !access.scope().admits(&identity) {
            let (kind, account) = (&submission.command.kind, &submission.command.account);
            let detail = format!(
                "the token `{}` is not good for commands of the type `{kind}` to `{}/{account}`",
                access.name(),
                submission.provider
            );
            return Err(ApiProblem::new(ProblemKind::Forbidden, detail));
        }
        self.check_id(access, &submission)?;
        let commands = Arc::clone(&self.commands);
        Ok(Box::pin(async move { commands.submit_command(submission).await }))
    }

    /// Checks a command's id against those that are bound to publishers. A token of unlimited scope
    /// passes: it can have every command cancelled, also one that is still to come.
    fn check_id(
        &self,
        access: &OperateAccess,
        submission: &CommandSubmission,
    ) -> Result<(), ApiProblem> {
        if access.publisher().is_none() && access.scope().is_unlimited() {
            return Ok(());
        }
        let Command { id, account, .. } = &submission.command;
        let account = self
            .registry
            .get(&submission.provider)
            .and_then(|provider| provider.accounts.get(account));
        let refused =
            account.and_then(|account| self.rules.refuse_id(id, access.publisher(), account));
        let Some(reason) = refused else { return Ok(()) };
        let detail = format!(
            "the token `{}` is not good for the id `{id}`: {reason}; send the command under an id of its own, or with a token whose \
             `publisher` in `api.tokens` is the one to which the id is bound",
            access.name()
        );
        Err(ApiProblem::new(ProblemKind::Forbidden, detail))
    }

    /// Waits for the end of a command that was submitted by the same caller.
    pub(super) async fn wait_for_end(
        &self,
        id: &CommandId,
    ) -> Result<EncodedEvent, CommandServiceError> {
        self.commands.wait_for_ending(id).await
    }

    /// Cancels a command; `None` where the command is unknown to a token of limited scope. Such a
    /// token can't cancel a command that is still to come, because that one could be outside of the
    /// scope.
    pub(super) fn cancel(
        &self,
        access: &OperateAccess,
        id: CommandId,
        person: Actor,
    ) -> BoxFuture<'static, Result<Option<CancelResult>, CommandServiceError>> {
        let (gate, scope) = (self.clone(), access.scope().clone());
        Box::pin(async move {
            // The identity of a command does not change once it is recorded.
            if !scope.is_unlimited() && gate.find_within(&scope, &id).await?.is_none() {
                return Ok(None);
            }
            gate.commands.cancel(&id, &person).await.map(Some)
        })
    }

    /// Erases the contents of commands that have ended. Commands outside of the token's scope stay,
    /// and count as unknown.
    pub(super) fn erase(
        &self,
        access: &EraseAccess,
        target: ErasureTarget,
        person: Actor,
        dry_run: bool,
    ) -> BoxFuture<'static, Result<Vec<ErasureResult>, CommandServiceError>> {
        let (gate, scope) = (self.clone(), access.scope().clone());
        Box::pin(async move {
            let mut results = Vec::new();
            for id in gate.find_targets(&scope, target).await? {
                results.push(match gate.find_within(&scope, &id).await? {
                    Some(_) => Ok(id),
                    None => Err(ErasureResult::unknown(id)),
                });
            }
            let known: Vec<_> =
                results.iter().filter_map(|result| result.as_ref().ok().cloned()).collect();
            let mut erased = gate.commands.erase(known, &person, dry_run).await?.into_iter();
            // The answers stand in the order of the requested commands.
            Ok(results
                .into_iter()
                .filter_map(|result| result.map_or_else(Some, |_| erased.next()))
                .collect())
        })
    }

    /// Finds the ids of the selected commands and refused messages.
    async fn find_targets(
        &self,
        scope: &CommandScope,
        target: ErasureTarget,
    ) -> Result<Vec<CommandId>, CommandServiceError> {
        match target {
            ErasureTarget::One(id) => Ok(vec![id]),
            ErasureTarget::Ids(ids) => {
                let mut targets = Vec::new();
                for id in ids {
                    let refused = self.find_refused_targets(scope, &id).await?;
                    // Where only refused messages have the id, they are selected.
                    if refused.is_empty() || self.find_within(scope, &id).await?.is_some() {
                        targets.push(id);
                    }
                    targets.extend(refused);
                }
                Ok(targets)
            }
            ErasureTarget::Reference(reference) => {
                let filter = CommandFilter {
                    reference: Some(reference),
                    scope: scope.clone(),
                    ..CommandFilter::default()
                };
                let (mut targets, mut after) = (Vec::new(), None);
                loop {
                    let page = self.commands.list(filter.clone(), after, MAX_PAGE).await?;
                    targets.extend(page.rows.into_iter().map(|row| row.id));
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
                // Oldest first.
                targets.reverse();
                Ok(targets)
            }
        }
    }

    /// Finds the ids of the messages refused under a command's id. The answer must not reveal any
    /// outside of the scope.
    async fn find_refused_targets(
        &self,
        scope: &CommandScope,
        id: &CommandId,
    ) -> Result<Vec<CommandId>, CommandServiceError> {
        let mut targets = Vec::new();
        if id.is_refused() {
            return Ok(targets);
        }
        for refused in self.commands.refused_under(id, u32::MAX).await? {
            if self.find_within(scope, &refused).await?.is_some() {
                targets.push(refused);
            }
        }
        Ok(targets)
    }

    async fn find_within(
        &self,
        scope: &CommandScope,
        id: &CommandId,
    ) -> Result<Option<Arc<CommandState>>, CommandServiceError> {
        match self.commands.command_state(id).await? {
            Some(state) if is_within(scope, &state) => Ok(Some(state)),
            // Without the broker the answer is not that a command is unknown.
            Some(_) if self.service_state() != CommandServiceState::Ready => {
                Err(CommandServiceError::Broker("it is away".to_owned()))
            }
            _ => Ok(None),
        }
    }
}

/// Narrows a filter to the commands that the caller may see.
fn narrow_filter(access: &ReadAccess, filter: CommandFilter) -> CommandFilter {
    CommandFilter { scope: access.scope().clone(), ..filter }
}

/// Returns true where a command is in a scope. A command of which only a request to cancel it is
/// recorded is in no limited scope.
fn is_within(scope: &CommandScope, state: &CommandState) -> bool {
    scope.is_unlimited()
        || state.identity.as_ref().is_some_and(|identity| scope.admits(&identity.command))
}
