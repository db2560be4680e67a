//! The state that all requests to the API share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::access::{OperateAccess, TokenRegistry};
use super::command_gate::CommandGate;
use super::commands::{
    CommandService, CommandServiceError, CommandServiceState, CommandSubmission, SubmitResult,
};
use super::problem::{ApiProblem, ProblemKind};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::EncodedEvent;
use ferryd_provider::registry::ProviderRegistry;

/// The longest time for the broker to confirm a request's messages.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of submitted commands that are not confirmed.
const MAX_SUBMITTED: usize = 64 << 20;
/// The most requests that wait for the end of a command. Each holds a connection that others need.
const MAX_WAITING: usize = 256;

/// The state that all requests share; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) commands: CommandGate,
    pub(super) registry: Arc<ProviderRegistry>,
    pub(super) tokens: TokenRegistry,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) room: Arc<Semaphore>,
    pub(super) seats: Arc<Semaphore>,
}

impl ApiState {
    /// Makes the state for these commands. Requests wait for nothing once `stop` is cancelled.
    #[must_use]
    pub fn new(
        commands: Arc<dyn CommandService>,
        registry: Arc<ProviderRegistry>,
        tokens: TokenRegistry,
        stop: CancellationToken,
    ) -> Self {
        let (room, seats) =
            (Arc::new(Semaphore::new(MAX_SUBMITTED)), Arc::new(Semaphore::new(MAX_WAITING)));
        let commands = CommandGate::new(commands, Arc::clone(&registry));
        Self { commands, registry, tokens, stop, tasks: TaskTracker::new(), room, seats }
    }

    /// Requires that the ledger has been read since ferryd started, so that no answer is older than
    /// that.
    pub(super) fn require_caught_up(&self) -> Result<(), ApiProblem> {
        match self.commands.service_state() {
            CommandServiceState::CatchingUp(records) => {
                let detail = format!(
                    "ferryd reads what the ledger says, {records} records so far; ask again"
                );
                Err(ApiProblem::new(ProblemKind::CatchingUp, detail).with_field("records", records))
            }
            _ => Ok(()),
        }
    }

    /// Requires that decisions can be made.
    pub(super) fn require_ready(&self) -> Result<(), ApiProblem> {
        self.require_caught_up()?;
        match self.commands.service_state() {
            CommandServiceState::Ready | CommandServiceState::CatchingUp(_) => Ok(()),
            CommandServiceState::BrokerAway => Err(ApiProblem::new(
                ProblemKind::BrokerAway,
                "ferryd has no connection to RabbitMQ and goes on trying; ask again",
            )),
            CommandServiceState::Lagging => {
                let detail = "what ferryd writes to the ledger does not come back; ask again";
                Err(ApiProblem::new(ProblemKind::NotConfirmed, detail))
            }
            CommandServiceState::Stopping => Err(CommandServiceError::Stopping.into()),
        }
    }

    /// Runs a task that goes on even where the client leaves, or is answered before the task is
    /// done. `unless` explains to the client what a late answer means.
    pub(super) async fn run_detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CommandServiceError>> + Send + 'static,
        unless: &str,
    ) -> Result<T, ApiProblem> {
        self.run_with_timeout(PATIENCE, work, unless).await
    }

    /// Runs such a task with another time limit.
    pub(super) async fn run_with_timeout<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, CommandServiceError>> + Send + 'static,
        unless: &str,
    ) -> Result<T, ApiProblem> {
        match timeout(patience, self.tasks.spawn(work)).await {
            Ok(Ok(done)) => done.map_err(ApiProblem::from),
            Ok(Err(_)) => Err(ApiProblem::new(ProblemKind::Internal, "ferryd failed; see its log")),
            Err(_) => {
                let detail =
                    format!("RabbitMQ did not confirm within {} s; {unless}", patience.as_secs());
                Err(ApiProblem::new(ProblemKind::NotConfirmed, detail))
            }
        }
    }

    pub(super) async fn take(
        &self,
        access: &OperateAccess,
        submission: CommandSubmission,
    ) -> Result<SubmitResult, ApiProblem> {
        let bytes = u32::try_from(submission.body.len().max(1)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let room = room.map_err(|_| ApiProblem::from(CommandServiceError::Busy))?;
        let submitted = self.commands.submit(access, submission)?;
        let submitting = async move {
            let submitted = submitted.await;
            drop(room);
            submitted
        };
        let unless = "the command may be carried out all the same; send it again under the same id, which is safe";
        self.run_detached(submitting, unless).await
    }

    /// Takes a place for a request that waits, where one is free.
    pub(super) fn waiting_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Waits for the end of a command until a time, and returns the terminal event.
    pub(super) async fn wait_for_ending(
        &self,
        id: &CommandId,
        until: Instant,
    ) -> Option<EncodedEvent> {
        tokio::select! {
            ended = timeout_at(until, self.commands.wait_for_end(id)) => ended.ok()?.ok(),
            () = self.stop.cancelled() => None,
        }
    }
}

impl From<CommandServiceError> for ApiProblem {
    fn from(failed: CommandServiceError) -> Self {
        match failed {
            CommandServiceError::Stopping => Self::new(
                ProblemKind::Stopping,
                "ask another instance, or this one once it runs again",
            ),
            CommandServiceError::Busy => Self::new(
                ProblemKind::Busy,
                "too many requests of this sort are under way; ask again",
            ),
            CommandServiceError::Broker(reason) => {
                warn!(reason, "a request to the API failed at the broker");
                Self::new(
                    ProblemKind::BrokerAway,
                    "RabbitMQ did not do what it was asked for; see ferryd's log, and ask again",
                )
            }
            CommandServiceError::Index(reason) => {
                error!(reason, "a request to the API failed at the ledger's index");
                Self::new(
                    ProblemKind::Internal,
                    "the ledger's index can't be read; see ferryd's log",
                )
            }
        }
    }
}
