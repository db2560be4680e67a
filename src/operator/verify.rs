//! Comparing this host's index with the stream.
//!
//! The stream is read once more, from its beginning, into an index of its own beside the other. Then both are walked in the
//! order of ids. What differs is looked at again after both have read on, because commands go on while they are compared.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::host_index::HostIndex;
use super::index_owner::{IndexOwner, IndexPlace, LedgerRead};
use super::tail::Tail;
use super::{Operator, OperatorError};
use ferryd_broker::stream;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::case::Case;
use ferryd_domain::ledger::content_removal::ContentRemoval;
use ferryd_ledger::index::{Index, IndexError};

/// How many commands are compared at a time.
const PAGE: usize = 500;
/// How often what differs is looked at again.
const ROUNDS: usize = 20;
/// More than this that differs is only counted.
const MAX_SUSPECTS: usize = 10_000;
/// By how much the clocks of two hosts may differ.
const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// How long the stream's first message may take to come; an empty stream has none.
const FIRST: std::time::Duration = std::time::Duration::from_secs(5);

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// How many commands the stream tells of.
    pub commands: u64,
    /// How many of the index could not be compared, because the stream does not go back to their beginning any more.
    pub older: u64,
    /// The number of commands that the index has forgotten, because they ended longer ago than `ledger.duplicate_window`.
    pub forgotten: u64,
    /// What differs; where that is very much, the first of it.
    pub different: Vec<Difference>,
    /// How many more differ.
    pub more: u64,
}

/// A command of which the index says something else than the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The command.
    pub id: CommandId,
    /// In what.
    pub fields: Vec<Field>,
}

/// Something that the index and the stream say differently; null is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The name of the queue.
    pub name: String,
    /// In the index.
    pub index: Value,
    /// By the stream.
    pub stream: Value,
}

/// Compares the index with the stream. `progress` is told how much was read of the stream.
///
/// # Errors
/// [`OperatorError`].
pub async fn verify(
    operator: &Operator,
    place: &IndexPlace,
    mut progress: impl FnMut(LedgerRead),
) -> Result<Verdict, OperatorError> {
    let mut host = HostIndex::open(operator, place, &mut progress).await?;
    let aside = Aside::make(&place.dir)?;
    let key = operator.names.ledger_key(&operator.amqp.first_address());
    let cut_at = cut_at(operator).await?;
    let fresh = IndexOwner::start(operator, place, Index::open(&aside.0, &key)?, &mut progress).await?;
    let terms = Terms { cut_at, forgets: Timestamp::now() - place.retention };
    let verdict = compare(&mut host, &fresh, &terms).await;
    fresh.close().await;
    host.close().await;
    verdict
}

/// A folder for the second index, gone with this.
struct Aside(PathBuf);

impl Aside {
    fn make(dir: &Path) -> Result<Self, OperatorError> {
        const PREFIX: &str = "verify.";
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |source| IndexError::File { path, source }
        };
        for old in fs::read_dir(dir).map_err(refused(dir))?.flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            let left = name.strip_prefix(PREFIX).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
            if left {
                // Left by one that was killed; should it stay, it only takes room.
                let _ = fs::remove_dir_all(old.path());
            }
        }
        let path = dir.join(format!("{PREFIX}{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(refused(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The time of the oldest message of the stream, where that is not the first there ever was.
async fn cut_at(operator: &Operator) -> Result<Option<Timestamp>, OperatorError> {
    let mut tail = Tail::open(operator, &operator.names.ledger(), stream::Place::First).await?;
    let first = timeout(FIRST, tail.next()).await;
    tail.close().await;
    let Ok(first) = first else { return Ok(None) };
    let first = first?;
    let at = first.properties.timestamp().filter(|_| first.offset > 0).and_then(|at| i64::try_from(at).ok());
    Ok(at.and_then(|at| Timestamp::from_second(at).ok()))
}

/// What is no difference.
struct Terms {
    /// When the oldest message was written that the stream still has, where it has lost older ones.
    cut_at: Option<Timestamp>,
    /// What ended before may be forgotten.
    forgets: Timestamp,
}

/// How one command compares.
enum Compared {
    Same,
    Older,
    Forgotten,
    Different(Vec<Field>),
}

impl Terms {
    fn compare(&self, index: Option<&Case>, stream: Option<&Case>) -> Compared {
        if index == stream {
            return Compared::Same;
        }
        // Whose contents the one has forgotten already, the other has them still.
        let (old_index, old_stream) = (index.map(bare), stream.map(bare));
        if is_aged(index) != is_aged(stream) && old_index == old_stream {
            return Compared::Same;
        }
        match (index, stream) {
            (Some(case), _) | (None, Some(case)) if self.is_older(case) => Compared::Older,
            (None, Some(stream)) if self.may_be_forgotten(stream) => Compared::Forgotten,
            _ => Compared::Different(fields(index, stream)),
        }
    }

    /// Whether the stream may have lost the first records of a command.
    fn is_older(&self, case: &Case) -> bool {
        let first = case.history.first().map(|first| first.at);
        self.cut_at.zip(first).is_some_and(|(cut_at, first)| first < cut_at + SKEW)
    }

    fn may_be_forgotten(&self, case: &Case) -> bool {
        let over = case.ending.as_ref().map_or(case.opening.is_none(), |ending| !ending.is_dead());
        over && case.history.last().is_none_or(|last| last.at < self.forgets + SKEW)
    }
}

fn is_aged(case: Option<&Case>) -> bool {
    case.is_some_and(|case| case.removal == Some(ContentRemoval::Aged))
}

/// A command without contents, where they may have grown old.
fn bare(case: &Case) -> Case {
    case.aged().unwrap_or_else(|| case.clone())
}

/// In what two cases differ.
fn fields(index: Option<&Case>, stream: Option<&Case>) -> Vec<Field> {
    let object = |case: Option<&Case>| match case.map(serde_json::to_value) {
        Some(Ok(Value::Object(object))) => Some(object),
        _ => None,
    };
    let (Some(index), Some(stream)) = (object(index), object(stream)) else {
        let there = |case: Option<&Case>| case.map_or(Value::Null, |case| case.state().as_str().into());
        return vec![Field { name: "command".to_owned(), index: there(index), stream: there(stream) }];
    };
    let names: std::collections::BTreeSet<&String> = index.keys().chain(stream.keys()).collect();
    let value = |of: &serde_json::Map<String, Value>, name: &String| of.get(name).cloned().unwrap_or_default();
    let field = |name: &String| Field { name: name.clone(), index: value(&index, name), stream: value(&stream, name) };
    names.into_iter().map(field).filter(|field| field.index != field.stream).collect()
}

async fn compare(host: &mut HostIndex, fresh: &IndexOwner, terms: &Terms) -> Result<Verdict, OperatorError> {
    fresh.refresh().await?;
    host.refresh().await?;
    let mut verdict = Verdict::default();
    let mut suspects = Vec::new();
    let mut pairs = Pairs::new(host.index().await, fresh.ledger().index());
    while let Some((id, index, stream)) = pairs.next()? {
        verdict.commands += u64::from(stream.is_some());
        verdict.count(terms.compare(index.as_ref(), stream.as_ref()), id, &mut suspects);
    }
    drop(pairs);
    for _ in 0..ROUNDS {
        if suspects.is_empty() || verdict.more > 0 {
            break;
        }
        fresh.refresh().await?;
        host.refresh().await?;
        for Difference { id, .. } in std::mem::take(&mut suspects) {
            let (index, stream) = (host.case(&id)?, fresh.ledger().case(&id));
            verdict.count(terms.compare(index.as_deref(), stream.as_deref()), id, &mut suspects);
        }
    }
    verdict.different = suspects;
    Ok(verdict)
}

impl Verdict {
    /// How many differ.
    #[must_use]
    pub fn differ(&self) -> u64 {
        self.more + u64::try_from(self.different.len()).unwrap_or(u64::MAX)
    }

    fn count(&mut self, compared: Compared, id: CommandId, suspects: &mut Vec<Difference>) {
        match compared {
            Compared::Same => {}
            Compared::Older => self.older += 1,
            Compared::Forgotten => self.forgotten += 1,
            Compared::Different(_) if suspects.len() >= MAX_SUSPECTS => self.more += 1,
            Compared::Different(fields) => suspects.push(Difference { id, fields }),
        }
    }
}

/// A command, and what each of two indexes says of it.
type Pair = (CommandId, Option<Case>, Option<Case>);

/// Walks two indexes at once.
struct Pairs<'a>(Walk<'a>, Walk<'a>);

/// Walks one, a page at a time.
struct Walk<'a> {
    index: &'a Index,
    page: VecDeque<(CommandId, Case)>,
    latest: Option<CommandId>,
    over: bool,
}

impl<'a> Pairs<'a> {
    fn new(index: &'a Index, stream: &'a Index) -> Self {
        let walk = |index| Walk { index, page: VecDeque::new(), latest: None, over: false };
        Self(walk(index), walk(stream))
    }

    fn next(&mut self) -> Result<Option<Pair>, IndexError> {
        let ids = (self.0.peek()?, self.1.peek()?);
        let Some(id) = [ids.0, ids.1].into_iter().flatten().min() else { return Ok(None) };
        let (index, stream) = (self.0.take(&id), self.1.take(&id));
        Ok(Some((id, index, stream)))
    }
}

impl Walk<'_> {
    fn peek(&mut self) -> Result<Option<CommandId>, IndexError> {
        if self.page.is_empty() && !self.over {
            self.page = self.index.walk(self.latest.as_ref(), PAGE)?.into();
            self.over = self.page.is_empty();
            self.latest = self.page.back().map(|(id, _)| id.clone());
        }
        Ok(self.page.front().map(|(id, _)| id.clone()))
    }

    fn take(&mut self, id: &CommandId) -> Option<Case> {
        self.page.pop_front_if(|(first, _)| first == id).map(|(_, case)| case)
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
