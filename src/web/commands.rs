//! What the API needs of the rest of ferryd.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::domain::command::Command;
use crate::domain::command_id::CommandId;
use crate::domain::event::{Event, Trace};
use crate::domain::ledger::case::Case;
use crate::domain::ledger::record::Person;
use crate::domain::name::Name;
use crate::ledger::Ledger;
use crate::ledger::command_filter::CommandFilter;
use crate::ledger::exchanges::{Found, Window};
use crate::ledger::index::{Cursor, Group, Page};
use crate::operator::dead::Dead;
use crate::operator::erase::ErasureResult;
use crate::pipeline::cancel::Cancellation;
use crate::transport::exchange_log::Exchange;

/// Commands: publishing, cancelling, and asking for them.
pub trait Commands: Send + Sync {
    /// Whether anything can be decided just now.
    fn standing(&self) -> Standing;

    /// The ledger itself, for jobs; none where there is none to be asked, in tests.
    fn ledger(&self) -> Option<&Ledger>;

    /// Takes a command, and publishes it unless it is known already.
    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Submitted, Failed>>;

    /// Waits for the end of a command.
    fn ended<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Event, Failed>>;

    /// Cancels a command.
    fn cancel<'a>(&'a self, id: &'a CommandId, person: &'a Person) -> BoxFuture<'a, Result<Cancellation, Failed>>;

    /// Has the provider asked about a known command, for this person.
    fn look_up<'a>(
        &'a self,
        id: &'a CommandId,
        case: &'a Case,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, Failed>>;

    /// The messages of a command's dead letter and of what was refused under its id, from their queues.
    fn dead_messages<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Vec<Dead>, Failed>>;

    /// The queue in which the dead letters of a provider lie.
    fn dead_queue<'a>(&'a self, provider: Option<&'a Name>) -> BoxFuture<'a, Result<String, Failed>>;

    /// Erases the contents of commands that have ended, and says what came of each. A dry run changes nothing.
    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Person,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, Failed>>;

    /// What is known of a command, of all that was in the ledger when this is called.
    fn case<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Option<Arc<Case>>, Failed>>;

    /// The messages that were refused under an id: at most so many.
    fn refused_under<'a>(&'a self, id: &'a CommandId, most: u32) -> BoxFuture<'a, Result<Vec<CommandId>, Failed>>;

    /// A page of the commands that are meant.
    fn list(&self, filter: CommandFilter, after: Option<Cursor>, limit: usize) -> BoxFuture<'_, Result<Page, Failed>>;

    /// The dead letters that are meant, by how they failed.
    fn groups(&self, filter: CommandFilter) -> BoxFuture<'_, Result<Vec<Group>, Failed>>;

    /// What was said to the provider about a command within these times, and what it answered.
    fn exchanges<'a>(
        &'a self,
        id: &'a CommandId,
        windows: Vec<Window>,
    ) -> BoxFuture<'a, Result<Found<Exchange<'static>>, Failed>>;
}

/// What came of the request for a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupStart {
    /// The provider is asked.
    Asked,
    /// There is nothing to ask, for this reason.
    Refused(String),
}

/// Whether anything can be decided just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Ready,
    /// No: the broker can't be reached.
    BrokerAway,
    /// No: the ledger is being read; so many records so far.
    CatchingUp(u64),
    /// No: what is written to the ledger does not come back.
    Lagging,
    /// No: ferryd is stopping.
    Stopping,
}

/// A command that was found right.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What it says.
    pub command: Command,
    /// The provider that is going to be called.
    pub provider: Name,
    /// As it was sent; this is published.
    pub body: Bytes,
    /// The trace it belongs to.
    pub trace: Trace,
    /// The caller who handed it in.
    pub by: String,
}

/// What became of a command that was handed in.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is on its way, or was already.
    UnderWay,
    /// It has ended.
    Ended(Box<Event>),
    /// Its id is taken by another.
    OtherContent,
    /// A newer version wrote this kind of record about it, which must not be passed over.
    Blocked(String),
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// ferryd is stopping.
    #[error("ferryd is stopping")]
    Stopping,
    /// The broker did not do what it was asked for.
    #[error("the broker: {0}")]
    Broker(String),
    /// Too many ask for the same.
    #[error("too many ask for this at once")]
    Busy,
    /// The index can't be read.
    #[error("{0}")]
    Index(String),
}
