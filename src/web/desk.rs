//! The state that all requests to the API share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::access::{OperateAccess, Tokens};
use super::command_gate::CommandGate;
use super::commands::{Commands, Failed, Standing, Submission, Submitted};
use super::problem::{Kind, Problem};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::Event;
use ferryd_provider::registry::Registry;

/// The longest time for the broker to confirm a request's messages.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of submitted commands that are not confirmed.
const MAX_SUBMITTED: usize = 64 << 20;
/// The most requests that wait for the end of a command. Each holds a connection that others need.
const MAX_WAITING: usize = 256;

/// The state that all requests share; cheap to clone.
#[derive(Clone)]
pub struct Desk {
    pub(super) commands: CommandGate,
    pub(super) registry: Arc<Registry>,
    pub(super) tokens: Tokens,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) room: Arc<Semaphore>,
    pub(super) seats: Arc<Semaphore>,
}

impl Desk {
    /// Makes the state for these commands. Requests wait for nothing once `stop` is cancelled.
    #[must_use]
    pub fn new(commands: Arc<dyn Commands>, registry: Arc<Registry>, tokens: Tokens, stop: CancellationToken) -> Self {
        let (room, seats) = (Arc::new(Semaphore::new(MAX_SUBMITTED)), Arc::new(Semaphore::new(MAX_WAITING)));
        let commands = CommandGate::new(commands, Arc::clone(&registry));
        Self { commands, registry, tokens, stop, tasks: TaskTracker::new(), room, seats }
    }

    /// Requires that the ledger has been read since ferryd started, so that no answer is older than
    /// that.
    pub(super) fn require_caught_up(&self) -> Result<(), Problem> {
        match self.commands.standing() {
            Standing::CatchingUp(records) => {
                let detail = format!("ferryd reads what the ledger says, {records} records so far; ask again");
                Err(Problem::new(Kind::CatchingUp, detail).with("records", records))
            }
            _ => Ok(()),
        }
    }

    /// Requires that decisions can be made.
    pub(super) fn require_ready(&self) -> Result<(), Problem> {
        self.require_caught_up()?;
        match self.commands.standing() {
            Standing::Ready | Standing::CatchingUp(_) => Ok(()),
            Standing::BrokerAway => Err(Problem::new(
                Kind::BrokerAway,
                "ferryd has no connection to RabbitMQ and goes on trying; ask again",
            )),
            Standing::Lagging => {
                let detail = "what ferryd writes to the ledger does not come back; ask again";
                Err(Problem::new(Kind::NotConfirmed, detail))
            }
            Standing::Stopping => Err(Failed::Stopping.into()),
        }
    }

    /// Runs a task that goes on even where the client leaves, or is answered before the task is
    /// done. `unless` tells the client what a late answer means.
    pub(super) async fn promptly<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
        unless: &str,
    ) -> Result<T, Problem> {
        self.within(PATIENCE, work, unless).await
    }

    /// Runs such a task with another time limit.
    pub(super) async fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
        unless: &str,
    ) -> Result<T, Problem> {
        match timeout(patience, self.tasks.spawn(work)).await {
            Ok(Ok(done)) => done.map_err(Problem::from),
            Ok(Err(_)) => Err(Problem::new(Kind::Internal, "ferryd failed; see its log")),
            Err(_) => {
                let detail = format!("RabbitMQ did not confirm within {} s; {unless}", patience.as_secs());
                Err(Problem::new(Kind::NotConfirmed, detail))
            }
        }
    }

    pub(super) async fn take(&self, access: &OperateAccess, submission: Submission) -> Result<Submitted, Problem> {
        let bytes = u32::try_from(submission.body.len().max(1)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes);
        let room = room.map_err(|_| Problem::from(Failed::Busy))?;
        let submitted = self.commands.submit(access, submission)?;
        let submitting = async move {
            let submitted = submitted.await;
            drop(room);
            submitted
        };
        let unless = "the command may be carried out all the same; send it again under the same id, which is safe";
        self.promptly(submitting, unless).await
    }

    /// Takes a place for a request that waits, where one is free.
    pub(super) fn waiting_room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Waits for the end of a command until a time, and returns the terminal event.
    pub(super) async fn ended(&self, id: &CommandId, until: Instant) -> Option<Event> {
        tokio::select! {
            ended = timeout_at(until, self.commands.wait_for_end(id)) => ended.ok()?.ok(),
            () = self.stop.cancelled() => None,
        }
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Stopping => Self::new(Kind::Stopping, "ask another instance, or this one once it runs again"),
            Failed::Busy => Self::new(Kind::Busy, "too many requests of this sort are under way; ask again"),
            Failed::Broker(reason) => {
                warn!(reason, "a request to the API failed at the broker");
                Self::new(
                    Kind::BrokerAway,
                    "RabbitMQ did not do what it was asked for; see ferryd's log, and ask again",
                )
            }
            Failed::Index(reason) => {
                error!(reason, "a request to the API failed at the ledger's index");
                Self::new(Kind::Internal, "the ledger's index can't be read; see ferryd's log")
            }
        }
    }
}
