//! Fake commands for tests: a ledger in memory with the real rulings, and a broker that tests
//! control.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::command_submission::follow;
use super::commands::{
    CommandService, CommandServiceError, CommandServiceState, CommandSubmission, SubmitResult,
};
use super::lookup::LookupStart;
use crate::operator::erase::{ErasureOutcome, ErasureResult, describe_refusal};
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::pipeline::cancel::CancelResult;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::EncodedEvent;
use ferryd_domain::ledger::command_state::{CommandEnding, CommandState};
use ferryd_domain::ledger::record::{
    Actor, CommandIdentity, ContentErasure, OpenedRecord, RecordBody, Step, WaitReason,
};
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;
use ferryd_ledger::Ledger;
use ferryd_ledger::call_log::{CallWindow, FoundCalls};
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{CommandRow, DeadLetterGroup, ListPage, PageCursor};
use ferryd_transport::call_log::HttpCall;

pub(super) const FIRST: Step = Step::call(0, 1);

pub(super) struct FakeCommandService {
    pub standing: Mutex<CommandServiceState>,
    /// True where nothing is confirmed any more.
    pub hangs: AtomicBool,
    /// True where handling a request panics.
    pub panics: AtomicBool,
    pub published: Mutex<Vec<CommandSubmission>>,
    pub cancelled: Mutex<Vec<(CommandId, Actor)>>,
    pub cancellation: Mutex<CancelResult>,
    pub filters: Mutex<Vec<CommandFilter>>,
    pub looked_up: Mutex<Vec<(CommandId, String)>>,
    /// The messages in queues of dead letters.
    pub dead: Mutex<Vec<QueuedDeadLetter>>,
    pub(super) cases: Mutex<HashMap<CommandId, Option<CommandState>>>,
    pub(super) number: AtomicU64,
    pub(super) news: watch::Sender<()>,
}

impl FakeCommandService {
    pub fn new() -> Self {
        Self {
            standing: Mutex::new(CommandServiceState::Ready),
            hangs: AtomicBool::default(),
            panics: AtomicBool::default(),
            published: Mutex::default(),
            cancelled: Mutex::default(),
            cancellation: Mutex::new(CancelResult::Cancelled),
            filters: Mutex::default(),
            looked_up: Mutex::default(),
            dead: Mutex::default(),
            cases: Mutex::default(),
            number: AtomicU64::new(1),
            news: watch::channel(()).0,
        }
    }

    pub fn stand(&self, standing: CommandServiceState) {
        *self.standing.lock().unwrap() = standing;
    }

    pub fn published(&self) -> usize {
        self.published.lock().unwrap().len()
    }

    pub(super) fn find(&self, id: &CommandId) -> Option<CommandState> {
        self.cases.lock().unwrap().get(id).cloned().flatten()
    }

    fn erase_one(&self, id: CommandId, person: &Actor, dry_run: bool) -> ErasureResult {
        let Some(known) = self.find(&id) else { return ErasureResult::unknown(id) };
        let reason = known
            .refuse_erasure()
            .filter(|_| !known.is_erased())
            .map(|why| describe_refusal(&id, why));
        let outcome = match (known.is_erased(), &reason) {
            (true, _) => ErasureOutcome::AlreadyErased,
            (false, Some(_)) => ErasureOutcome::Kept,
            (false, None) => {
                if !dry_run {
                    self.rule(&id, RecordBody::Erased(ContentErasure { actor: person.clone() }));
                }
                ErasureOutcome::Erased
            }
        };
        ErasureResult { id, state: Some(known.state()), outcome, reason }
    }

    async fn confirm(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "a panic is requested");
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

impl CommandService for FakeCommandService {
    fn service_state(&self) -> CommandServiceState {
        *self.standing.lock().unwrap()
    }

    fn ledger(&self) -> Option<&Ledger> {
        None
    }

    fn submit_command(
        &self,
        submission: CommandSubmission,
    ) -> BoxFuture<'_, Result<SubmitResult, CommandServiceError>> {
        async move {
            self.confirm().await;
            let CommandSubmission { command, provider, by, .. } = &submission;
            let command_identity = CommandIdentity::of(command, provider);
            let opened = OpenedRecord {
                identity: command_identity,
                step: FIRST,
                fresh: true,
                recorded: false,
                reason: WaitReason::Submitted,
                until: None,
                submitted_by: Some(by.clone()),
            };
            if let Some(known) =
                follow(self.rule(&command.id, RecordBody::Opened(Box::new(opened))))
            {
                return Ok(known);
            }
            self.published.lock().unwrap().push(submission);
            Ok(SubmitResult::UnderWay)
        }
        .boxed()
    }

    fn wait_for_ending<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<EncodedEvent, CommandServiceError>> {
        async move {
            let mut news = self.news.subscribe();
            loop {
                if let Some(ending) = self.find(id).and_then(|state| state.ending) {
                    return Ok(ending.event);
                }
                news.changed().await.unwrap();
            }
        }
        .boxed()
    }

    fn cancel<'a>(
        &'a self,
        id: &'a CommandId,
        person: &'a Actor,
    ) -> BoxFuture<'a, Result<CancelResult, CommandServiceError>> {
        async move {
            self.confirm().await;
            self.cancelled.lock().unwrap().push((id.clone(), person.clone()));
            Ok(self.cancellation.lock().unwrap().clone())
        }
        .boxed()
    }

    fn look_up<'a>(
        &'a self,
        id: &'a CommandId,
        state: &'a CommandState,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, CommandServiceError>> {
        async move {
            self.confirm().await;
            if state.state() != LifecycleState::Waiting
                && !state.ending.as_ref().is_some_and(CommandEnding::is_dead)
            {
                return Ok(LookupStart::Refused("it waits for nothing".to_owned()));
            }
            self.looked_up.lock().unwrap().push((id.clone(), by.to_owned()));
            Ok(LookupStart::Requested)
        }
        .boxed()
    }

    fn dead_messages<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Vec<QueuedDeadLetter>, CommandServiceError>> {
        let dead = self
            .dead
            .lock()
            .unwrap()
            .iter()
            .filter(|dead| dead.identity.id.published_id() == *id)
            .cloned()
            .collect();
        async move { Ok(dead) }.boxed()
    }

    fn dead_queue<'a>(
        &'a self,
        provider: Option<&'a Name>,
    ) -> BoxFuture<'a, Result<String, CommandServiceError>> {
        async move { Ok(format!("ferry.dead.{}", provider.map_or("other", Name::as_str))) }.boxed()
    }

    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Actor,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, CommandServiceError>> {
        async move {
            self.confirm().await;
            Ok(ids.into_iter().map(|id| self.erase_one(id, person, dry_run)).collect())
        }
        .boxed()
    }

    fn command_state<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<Arc<CommandState>>, CommandServiceError>> {
        async move {
            self.confirm().await;
            match self.find(id) {
                Some(state) => Ok(Some(Arc::new(state))),
                None if self.service_state() == CommandServiceState::Ready => Ok(None),
                None => Err(CommandServiceError::Broker("away".to_owned())),
            }
        }
        .boxed()
    }

    fn refused_under<'a>(
        &'a self,
        id: &'a CommandId,
        _: u32,
    ) -> BoxFuture<'a, Result<Vec<CommandId>, CommandServiceError>> {
        let (first, behind) = id.refused_range();
        let is_under =
            |other: &CommandId| (first.as_str()..behind.as_str()).contains(&other.as_str());
        let found =
            self.cases.lock().unwrap().keys().filter(|other| is_under(other)).cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn list(
        &self,
        filter: CommandFilter,
        _: Option<PageCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ListPage, CommandServiceError>> {
        async move {
            self.filters.lock().unwrap().push(filter);
            let states = self.cases.lock().unwrap();
            let rows = states
                .iter()
                .filter_map(|(id, state)| Some(CommandRow::new(id.clone(), state.as_ref()?)));
            Ok(ListPage { rows: rows.take(limit).collect(), next: None })
        }
        .boxed()
    }

    fn dead_letter_groups(
        &self,
        filter: CommandFilter,
    ) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, CommandServiceError>> {
        async move {
            self.filters.lock().unwrap().push(filter);
            Err(CommandServiceError::Index("disk full at /secret/place".to_owned()))
        }
        .boxed()
    }

    fn find_calls<'a>(
        &'a self,
        _: &'a CommandId,
        _: Vec<CallWindow>,
    ) -> BoxFuture<'a, Result<FoundCalls<HttpCall<'static>>, CommandServiceError>> {
        async { Ok(FoundCalls { calls: Vec::new(), complete: true }) }.boxed()
    }
}
