//! Fake commands for tests: a ledger in memory with the real rulings, and a broker that tests
//! control.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::commands::{Commands, Failed, Standing, Submission, Submitted};
use super::lookup::LookupStart;
use super::recorded::follow;
use crate::operator::dead::Dead;
use crate::operator::erase::{ErasureOutcome, ErasureResult, advice};
use crate::pipeline::cancel::Cancellation;
use ferryd_domain::command::{Command, Envelope};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::dead_letter::{self, DeadLetter};
use ferryd_domain::event::{Event, Happening, Moment, Trace};
use ferryd_domain::ledger::case::{Case, Ending};
use ferryd_domain::ledger::effects::{Carried, HeaderValue, RecordedEffects};
use ferryd_domain::ledger::record::{
    By, ContentErasure, Fact, Finished, Opened, Opening, Person, Reason, Record, RecordId, Settled, Step,
};
use ferryd_domain::ledger::ruling::Ruling;
use ferryd_domain::lifecycle::{Kind, State};
use ferryd_domain::name::Name;
use ferryd_domain::outcome::{Failure, Outcome, Success};
use ferryd_domain::progress::Attempted;
use ferryd_ledger::Ledger;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::exchanges::{Found, Window};
use ferryd_ledger::index::{Cursor, Group, Page, Row};
use ferryd_transport::exchange_log::Exchange;

const FIRST: Step = Step::call(0, 1);

pub(super) struct Fake {
    pub standing: Mutex<Standing>,
    /// True where nothing is confirmed any more.
    pub hangs: AtomicBool,
    /// True where handling a request panics.
    pub panics: AtomicBool,
    pub published: Mutex<Vec<Submission>>,
    pub cancelled: Mutex<Vec<(CommandId, Person)>>,
    pub cancellation: Mutex<Cancellation>,
    pub filters: Mutex<Vec<CommandFilter>>,
    pub looked_up: Mutex<Vec<(CommandId, String)>>,
    /// The messages in queues of dead letters.
    pub dead: Mutex<Vec<Dead>>,
    cases: Mutex<HashMap<CommandId, Option<Case>>>,
    number: AtomicU64,
    news: watch::Sender<()>,
}

impl Fake {
    pub fn new() -> Self {
        Self {
            standing: Mutex::new(Standing::Ready),
            hangs: AtomicBool::default(),
            panics: AtomicBool::default(),
            published: Mutex::default(),
            cancelled: Mutex::default(),
            cancellation: Mutex::new(Cancellation::Cancelled),
            filters: Mutex::default(),
            looked_up: Mutex::default(),
            dead: Mutex::default(),
            cases: Mutex::default(),
            number: AtomicU64::new(1),
            news: watch::channel(()).0,
        }
    }

    pub fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap() = standing;
    }

    pub fn published(&self) -> usize {
        self.published.lock().unwrap().len()
    }

    /// Appends a record to the ledger.
    pub fn rule(&self, command: &CommandId, fact: Fact) -> Ruling {
        let id = RecordId { writer: Uuid::nil(), number: self.number.fetch_add(1, Ordering::SeqCst) };
        let record = Record { at: Timestamp::UNIX_EPOCH, command: command.clone(), fact };
        let ruling = Case::rule(self.cases.lock().unwrap().entry(command.clone()).or_default(), id, &record);
        self.news.send_replace(());
        ruling
    }

    /// Records something about a command that this version does not understand.
    pub fn block(&self, command: &CommandId, kind: &str) {
        Case::block(self.cases.lock().unwrap().entry(command.clone()).or_default(), kind);
    }

    /// Records that a command has completed.
    pub fn complete(&self, body: &str) {
        let command = Command::decode(body.as_bytes(), Envelope::default()).unwrap();
        let opening = Opening::of(&command, &"stripe".parse().unwrap());
        let moment = Moment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let happening = Happening::Completed(Success::default());
        let event = Event::new(opening.identity.clone(), moment, happening, Trace::default());
        let outcome = Outcome::Completed(Success::default());
        let finished = Finished {
            step: FIRST,
            opening: Some(opening),
            fresh: true,
            call: Some(Attempted::new(1, Timestamp::UNIX_EPOCH, Duration::ZERO, &outcome)),
            unknown: false,
            absent: false,
            kept: None,
            query: None,
            by: By::Holder,
            effects: RecordedEffects { event, told: true, carried: None },
        };
        assert!(matches!(self.rule(&command.id, Fact::Finished(Box::new(finished))), Ruling::Counts(_)));
    }

    /// Records the refusal of a message that bears a command's id.
    pub fn refuse(&self, body: &str) -> CommandId {
        self.fail(refused_opening(body), Kind::Invalid, false)
    }

    /// Records that a command was given up.
    pub fn give_up(&self, body: &str) -> CommandId {
        let command = Command::decode(body.as_bytes(), Envelope::default()).unwrap();
        self.fail(Opening::of(&command, &"stripe".parse().unwrap()), Kind::Unavailable, true)
    }

    /// Records the refusal of a message under the id of a command, with a dead letter.
    pub fn give_up_refused(&self, body: &str) -> CommandId {
        self.fail(refused_opening(body), Kind::Invalid, true)
    }

    fn fail(&self, opening: Opening, kind: Kind, is_kept: bool) -> CommandId {
        let failure = Failure::new("unknown_account", "there is no account `mars`");
        let moment = Moment { generation: 0, attempt: 1, at: Timestamp::UNIX_EPOCH };
        let happening = Happening::Failed(kind, failure);
        let event = Event::new(opening.identity.clone(), moment, happening, Trace::default());
        let id = opening.identity.id.clone();
        let record = json!({
            "command": opening.identity, "kind": kind, "message": "there is no account `mars`", "generation": 0, "attempt": 1,
            "unknown": false, "history": [], "first_failed_at": Timestamp::UNIX_EPOCH,
            "dead_lettered_at": Timestamp::UNIX_EPOCH, "host": "here", "version": "0",
        });
        let headers = [(dead_letter::HEADER.to_owned(), HeaderValue::Text(record.to_string()))].into();
        let carried = Carried { exchange: "ferry.dead".to_owned(), routing_key: "stripe".to_owned(), headers };
        let finished = Finished {
            step: FIRST,
            opening: Some(opening),
            fresh: true,
            call: None,
            unknown: false,
            absent: false,
            kept: None,
            query: None,
            by: By::Holder,
            effects: RecordedEffects { event, told: true, carried: is_kept.then_some(carried) },
        };
        assert!(matches!(self.rule(&id, Fact::Finished(Box::new(finished))), Ruling::Counts(_)));
        id
    }

    /// Returns the record of a dead letter.
    pub fn record_of(&self, id: &str) -> DeadLetter {
        *self.find(&id.parse().unwrap()).unwrap().ending.unwrap().letter.unwrap()
    }

    /// Records that the last decided end of a command is published.
    pub fn settle(&self, id: &str) {
        let finished = RecordId { writer: Uuid::nil(), number: self.number.load(Ordering::SeqCst) - 1 };
        self.rule(&id.parse().unwrap(), Fact::Settled(Settled { finished }));
    }

    fn find(&self, id: &CommandId) -> Option<Case> {
        self.cases.lock().unwrap().get(id).cloned().flatten()
    }

    fn erase_one(&self, id: CommandId, person: &Person, dry_run: bool) -> ErasureResult {
        let Some(known) = self.find(&id) else { return ErasureResult::unknown(id) };
        let reason = known.refuse_erasure().filter(|_| !known.is_erased()).map(|why| advice(&id, why));
        let outcome = match (known.is_erased(), &reason) {
            (true, _) => ErasureOutcome::AlreadyErased,
            (false, Some(_)) => ErasureOutcome::Kept,
            (false, None) => {
                if !dry_run {
                    self.rule(&id, Fact::Erased(ContentErasure { person: person.clone() }));
                }
                ErasureOutcome::Erased
            }
        };
        ErasureResult { id, state: Some(known.state()), outcome, reason }
    }

    async fn confirm(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "told to panic");
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

fn refused_opening(body: &str) -> Opening {
    let command = Command::decode(body.as_bytes(), Envelope::default()).unwrap();
    let mut opening = Opening::of(&command, &"stripe".parse().unwrap());
    opening.identity.id = command.id.of_refused(&[body.as_bytes()]);
    opening
}

impl Commands for Fake {
    fn standing(&self) -> Standing {
        *self.standing.lock().unwrap()
    }

    fn ledger(&self) -> Option<&Ledger> {
        None
    }

    fn submit(&self, submission: Submission) -> BoxFuture<'_, Result<Submitted, Failed>> {
        async move {
            self.confirm().await;
            let Submission { command, provider, by, .. } = &submission;
            let opening = Opening::of(command, provider);
            let opened = Opened {
                opening,
                step: FIRST,
                fresh: true,
                recorded: false,
                reason: Reason::Submitted,
                until: None,
                by: Some(by.clone()),
            };
            if let Some(known) = follow(self.rule(&command.id, Fact::Opened(Box::new(opened)))) {
                return Ok(known);
            }
            self.published.lock().unwrap().push(submission);
            Ok(Submitted::UnderWay)
        }
        .boxed()
    }

    fn ended<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Event, Failed>> {
        async move {
            let mut news = self.news.subscribe();
            loop {
                if let Some(ending) = self.find(id).and_then(|case| case.ending) {
                    return Ok(ending.event);
                }
                news.changed().await.unwrap();
            }
        }
        .boxed()
    }

    fn cancel<'a>(&'a self, id: &'a CommandId, person: &'a Person) -> BoxFuture<'a, Result<Cancellation, Failed>> {
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
        case: &'a Case,
        by: &'a str,
    ) -> BoxFuture<'a, Result<LookupStart, Failed>> {
        async move {
            self.confirm().await;
            if case.state() != State::Waiting && !case.ending.as_ref().is_some_and(Ending::is_dead) {
                return Ok(LookupStart::Refused("it waits for nothing".to_owned()));
            }
            self.looked_up.lock().unwrap().push((id.clone(), by.to_owned()));
            Ok(LookupStart::Asked)
        }
        .boxed()
    }

    fn dead_messages<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Vec<Dead>, Failed>> {
        let dead =
            self.dead.lock().unwrap().iter().filter(|dead| dead.identity.id.published() == *id).cloned().collect();
        async move { Ok(dead) }.boxed()
    }

    fn dead_queue<'a>(&'a self, provider: Option<&'a Name>) -> BoxFuture<'a, Result<String, Failed>> {
        async move { Ok(format!("ferry.dead.{}", provider.map_or("other", Name::as_str))) }.boxed()
    }

    fn erase<'a>(
        &'a self,
        ids: Vec<CommandId>,
        person: &'a Person,
        dry_run: bool,
    ) -> BoxFuture<'a, Result<Vec<ErasureResult>, Failed>> {
        async move {
            self.confirm().await;
            Ok(ids.into_iter().map(|id| self.erase_one(id, person, dry_run)).collect())
        }
        .boxed()
    }

    fn case<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<Option<Arc<Case>>, Failed>> {
        async move {
            self.confirm().await;
            match self.find(id) {
                Some(case) => Ok(Some(Arc::new(case))),
                None if self.standing() == Standing::Ready => Ok(None),
                None => Err(Failed::Broker("away".to_owned())),
            }
        }
        .boxed()
    }

    fn refused_under<'a>(&'a self, id: &'a CommandId, _: u32) -> BoxFuture<'a, Result<Vec<CommandId>, Failed>> {
        let (first, behind) = id.refused_range();
        let is_under = |other: &CommandId| (first.as_str()..behind.as_str()).contains(&other.as_str());
        let found = self.cases.lock().unwrap().keys().filter(|other| is_under(other)).cloned().collect();
        async { Ok(found) }.boxed()
    }

    fn list(&self, filter: CommandFilter, _: Option<Cursor>, limit: usize) -> BoxFuture<'_, Result<Page, Failed>> {
        async move {
            self.filters.lock().unwrap().push(filter);
            let cases = self.cases.lock().unwrap();
            let rows = cases.iter().filter_map(|(id, case)| Some(Row::new(id.clone(), case.clone()?)));
            Ok(Page { rows: rows.take(limit).collect(), next: None })
        }
        .boxed()
    }

    fn groups(&self, filter: CommandFilter) -> BoxFuture<'_, Result<Vec<Group>, Failed>> {
        async move {
            self.filters.lock().unwrap().push(filter);
            Err(Failed::Index("disk full at /secret/place".to_owned()))
        }
        .boxed()
    }

    fn exchanges<'a>(
        &'a self,
        _: &'a CommandId,
        _: Vec<Window>,
    ) -> BoxFuture<'a, Result<Found<Exchange<'static>>, Failed>> {
        async { Ok(Found { exchanges: Vec::new(), complete: true }) }.boxed()
    }
}
