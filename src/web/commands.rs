//! The interface of the API to the rest of ferryd.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::operator::erase::ErasureResult;
use crate::operator::queued_dead_letter::QueuedDeadLetter;
use crate::pipeline::cancel::CancelResult;
use ferryd_domain::command::Command;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::event::{EncodedEvent, TraceContext};
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::record::Actor;
use ferryd_domain::name::Name;
use ferryd_ledger::Ledger;
use ferryd_ledger::call_log::{CallWindow, FoundCalls};
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{DeadLetterGroup, ListPage, PageCursor};
use ferryd_transport::call_log::HttpCall;

/// Publishes, cancels and reads commands.
pub trait CommandService: Send + Sync {
    /// Returns the state of the ledger and the broker.
    fn service_state(&self) -> CommandServiceState;

    /// Returns the ledger, for jobs; `None` in tests without one.
    fn ledger(&self) -> Option<&Ledger>;

    /// Accepts a command, and publishes it unless it is known already.
    fn submit_command(
        &self,
        submission: CommandSubmission,
    ) -> BoxFuture<'_, Result<SubmitResult, CommandServiceError>>;

    /// Waits for the end of a command, and returns the terminal event.
    fn wait_for_ending<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<EncodedEvent, CommandServiceError>>;

    /// Cancels a command.
    fn cancel<'a>(
        &'a self,
        id: &'a CommandId,
        person: &'a Actor,
    ) -> BoxFuture<'a, Result<CancelResult, CommandServiceError>>;

    /// Requests a lookup of a known command at its provider, for this person.
    fn look_up<'a>(
        &'a self,
        id: &'a CommandId,
        state: &'a CommandState,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, CommandServiceError>>;

    /// Reads the messages of a command's dead letter, and those refused under its id, from their
    /// queues.
    fn dead_messages<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Vec<QueuedDeadLetter>, CommandServiceError>>;

    /// Returns the name of the queue in which the dead letters of a provider lie.
    fn dead_queue<'a>(
        &'a self,
        provider: Option<&'a Name>,
    ) -> BoxFuture<'a, Result<String, CommandServiceError>>;

    /// Erases the contents of commands that have ended. Returns the result for each. A dry run
    /// changes nothing.
    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Actor,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, CommandServiceError>>;

    /// Finds the recorded state of a command, from all records that were in the ledger at the time
    /// of the call.
    fn command_state<'a>(
        &'a self,
        id: &'a CommandId,
    ) -> BoxFuture<'a, Result<Option<Arc<CommandState>>, CommandServiceError>>;

    /// Finds the messages that were refused under an id, `most` at most.
    fn refused_under<'a>(
        &'a self,
        id: &'a CommandId,
        most: u32,
    ) -> BoxFuture<'a, Result<Vec<CommandId>, CommandServiceError>>;

    /// Lists a page of the commands that a filter selects.
    fn list(
        &self,
        filter: CommandFilter,
        after: Option<PageCursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<ListPage, CommandServiceError>>;

    /// Counts the dead letters that a filter selects, by the failure that caused them.
    fn dead_letter_groups(
        &self,
        filter: CommandFilter,
    ) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, CommandServiceError>>;

    /// Finds the calls to the provider for a command within these times, with their answers.
    fn find_calls<'a>(
        &'a self,
        id: &'a CommandId,
        windows: Vec<CallWindow>,
    ) -> BoxFuture<'a, Result<FoundCalls<HttpCall<'static>>, CommandServiceError>>;
}

/// The result of a request for a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupStart {
    /// The lookup is under way.
    Requested,
    /// There is nothing to look up, for this reason.
    Refused(String),
}

/// The state of the ledger and the broker, on which decisions depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandServiceState {
    /// Decisions can be made.
    Ready,
    /// The broker can't be reached.
    BrokerAway,
    /// The ledger is being read; this is the number of records so far.
    CatchingUp(u64),
    /// The ledger is lagging: written records do not come back in time.
    Lagging,
    /// ferryd is stopping.
    Stopping,
}

/// A valid command, to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandSubmission {
    /// The decoded command.
    pub command: Command,
    /// The provider that will be called.
    pub provider: Name,
    /// The body as the client sent it, which is published.
    pub body: Bytes,
    /// The trace of the command.
    pub trace: TraceContext,
    /// The name of the caller who submitted the command.
    pub by: String,
}

/// The result of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum SubmitResult {
    /// The command is in progress, from now on or from before.
    UnderWay,
    /// The command has ended.
    Ended(EncodedEvent),
    /// Another command has the id.
    OtherContent,
    /// A newer version wrote this kind of record about the command, which must not be ignored.
    Blocked(String),
}

/// The reason why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum CommandServiceError {
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
    /// The broker did not carry out a request.
    #[error("the broker: {0}")]
    Broker(String),
    /// Too many requests of this kind are running.
    #[error("too many ask for this at once")]
    Busy,
    /// The index can't be read.
    #[error("{0}")]
    Index(String),
}
