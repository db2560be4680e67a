//! Comparing this host's index with the stream.
//!
//! The stream is read once more, from its beginning, into an index of its own beside the other.
//! Then both are walked in the order of ids. What differs is looked at again after both have read
//! on, because commands go on while they are compared.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use super::host_index::HostIndex;
use super::index_owner::{IndexOwner, IndexPlace, LedgerRead};
use super::stream_tail::StreamTail;
use super::{OperatorContext, OperatorError};
use ferryd_broker::stream;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::ledger::content_removal::ContentRemoval;
use ferryd_ledger::index::{IndexError, LedgerIndex};

/// Number of commands that are compared at a time.
const PAGE: usize = 500;
/// Most times that commands that differ are compared again.
const ROUNDS: usize = 20;
/// Most commands that are compared again; further differences are only counted.
const MAX_SUSPECTS: usize = 10_000;
/// By how much the clocks of two hosts may differ.
const SKEW: SignedDuration = SignedDuration::from_mins(10);
/// Longest wait for the first message of the stream; an empty stream has none.
const FIRST: std::time::Duration = std::time::Duration::from_secs(5);

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct VerifyReport {
    /// The number of commands in the stream.
    pub commands: u64,
    /// The number of commands in the index that could not be compared, because the stream does not
    /// go back to their beginning any more.
    pub older: u64,
    /// The number of commands that the index has forgotten, because they ended longer ago than
    /// `ledger.duplicate_window`.
    pub forgotten: u64,
    /// The differences; where there are very many, the first of them.
    pub different: Vec<CommandDifference>,
    /// The number of further differences.
    pub more: u64,
}

/// A command of which the index says something else than the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandDifference {
    /// The command.
    pub id: CommandId,
    /// In what.
    pub fields: Vec<FieldDifference>,
}

/// Something that the index and the stream say differently; null is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDifference {
    /// The name of the queue.
    pub name: String,
    /// In the index.
    pub index: Value,
    /// By the stream.
    pub stream: Value,
}

/// Compares the index with the stream. `progress` receives how much of the
/// stream was read.
///
/// # Errors
/// [`OperatorError`].
pub async fn verify(
    operator: &OperatorContext,
    place: &IndexPlace,
    mut progress: impl FnMut(LedgerRead),
) -> Result<VerifyReport, OperatorError> {
    let mut host = HostIndex::open(operator, place, &mut progress).await?;
    let scratch = ScratchFolder::create_folder(&place.dir)?;
    let key = operator.names.ledger_key(&operator.amqp.first_address());
    let cut_at = cut_at(operator).await?;
    let fresh =
        IndexOwner::start(operator, place, LedgerIndex::open(&scratch.0, &key)?, &mut progress)
            .await?;
    let terms = ComparisonTerms { cut_at, forgets: Timestamp::now() - place.retention };
    let report = compare(&mut host, &fresh, &terms).await;
    fresh.close().await;
    host.close().await;
    report
}

/// A folder for the second index, gone with this.
struct ScratchFolder(PathBuf);

impl ScratchFolder {
    fn create_folder(dir: &Path) -> Result<Self, OperatorError> {
        const PREFIX: &str = "verify.";
        let refused = |path: &Path| {
            let path = path.to_owned();
            move |source| IndexError::File { path, source }
        };
        for old in fs::read_dir(dir).map_err(refused(dir))?.flatten() {
            let name = old.file_name().to_string_lossy().into_owned();
            let left =
                name.strip_prefix(PREFIX).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
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

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The time of the oldest message of the stream, where that is not the first there ever was.
async fn cut_at(operator: &OperatorContext) -> Result<Option<Timestamp>, OperatorError> {
    let mut tail =
        StreamTail::open(operator, &operator.names.ledger(), stream::StreamPosition::First).await?;
    let first = timeout(FIRST, tail.next()).await;
    tail.close().await;
    let Ok(first) = first else { return Ok(None) };
    let first = first?;
    let at = first
        .properties
        .timestamp()
        .filter(|_| first.offset > 0)
        .and_then(|at| i64::try_from(at).ok());
    Ok(at.and_then(|at| Timestamp::from_second(at).ok()))
}

/// Bounds within which the index and the stream may differ.
struct ComparisonTerms {
    /// Time of the oldest message that the stream still has, where it has lost older ones.
    cut_at: Option<Timestamp>,
    /// Time before which a command must have ended for the index to forget it.
    forgets: Timestamp,
}

/// Result of the comparison of one command.
enum ComparisonResult {
    Same,
    Older,
    Forgotten,
    Different(Vec<FieldDifference>),
}

impl ComparisonTerms {
    fn compare(
        &self,
        index: Option<&CommandState>,
        stream: Option<&CommandState>,
    ) -> ComparisonResult {
        if index == stream {
            return ComparisonResult::Same;
        }
        // Whose contents the one has forgotten already, the other has them still.
        let (old_index, old_stream) = (index.map(without_contents), stream.map(without_contents));
        if is_aged(index) != is_aged(stream) && old_index == old_stream {
            return ComparisonResult::Same;
        }
        match (index, stream) {
            (Some(state), _) | (None, Some(state)) if self.is_older(state) => {
                ComparisonResult::Older
            }
            (None, Some(stream)) if self.may_be_pruned(stream) => ComparisonResult::Forgotten,
            _ => ComparisonResult::Different(fields(index, stream)),
        }
    }

    /// Returns true if the stream may have lost the first records of a command.
    fn is_older(&self, state: &CommandState) -> bool {
        let first = state.history.first().map(|first| first.at);
        self.cut_at.zip(first).is_some_and(|(cut_at, first)| first < cut_at + SKEW)
    }

    fn may_be_pruned(&self, state: &CommandState) -> bool {
        let over =
            state.ending.as_ref().map_or(state.identity.is_none(), |ending| !ending.is_dead());
        over && state.history.last().is_none_or(|last| last.at < self.forgets + SKEW)
    }
}

fn is_aged(state: Option<&CommandState>) -> bool {
    state.is_some_and(|state| state.removal == Some(ContentRemoval::Aged))
}

/// A command without contents, where they may have grown old.
fn without_contents(state: &CommandState) -> CommandState {
    state.without_contents().unwrap_or_else(|| state.clone())
}

/// In what two cases differ.
fn fields(index: Option<&CommandState>, stream: Option<&CommandState>) -> Vec<FieldDifference> {
    let object = |state: Option<&CommandState>| match state.map(serde_json::to_value) {
        Some(Ok(Value::Object(object))) => Some(object),
        _ => None,
    };
    let (Some(index), Some(stream)) = (object(index), object(stream)) else {
        let there = |state: Option<&CommandState>| {
            state.map_or(Value::Null, |state| state.state().as_str().into())
        };
        return vec![FieldDifference {
            name: "command".to_owned(),
            index: there(index),
            stream: there(stream),
        }];
    };
    let names: std::collections::BTreeSet<&String> = index.keys().chain(stream.keys()).collect();
    let value = |of: &serde_json::Map<String, Value>, name: &String| {
        of.get(name).cloned().unwrap_or_default()
    };
    let field = |name: &String| FieldDifference {
        name: name.clone(),
        index: value(&index, name),
        stream: value(&stream, name),
    };
    names.into_iter().map(field).filter(|field| field.index != field.stream).collect()
}

async fn compare(
    host: &mut HostIndex,
    fresh: &IndexOwner,
    terms: &ComparisonTerms,
) -> Result<VerifyReport, OperatorError> {
    fresh.refresh().await?;
    host.refresh().await?;
    let mut report = VerifyReport::default();
    let mut suspects = Vec::new();
    let mut pairs = PairWalk::new(host.index().await, fresh.ledger().index());
    while let Some((id, index, stream)) = pairs.next()? {
        report.commands += u64::from(stream.is_some());
        report.count(terms.compare(index.as_ref(), stream.as_ref()), id, &mut suspects);
    }
    drop(pairs);
    for _ in 0..ROUNDS {
        if suspects.is_empty() || report.more > 0 {
            break;
        }
        fresh.refresh().await?;
        host.refresh().await?;
        for CommandDifference { id, .. } in std::mem::take(&mut suspects) {
            let (index, stream) = (host.case(&id)?, fresh.ledger().command_state(&id));
            report.count(terms.compare(index.as_deref(), stream.as_deref()), id, &mut suspects);
        }
    }
    report.different = suspects;
    Ok(report)
}

impl VerifyReport {
    /// Counts all differences.
    #[must_use]
    pub fn count_differences(&self) -> u64 {
        self.more + u64::try_from(self.different.len()).unwrap_or(u64::MAX)
    }

    fn count(
        &mut self,
        compared: ComparisonResult,
        id: CommandId,
        suspects: &mut Vec<CommandDifference>,
    ) {
        match compared {
            ComparisonResult::Same => {}
            ComparisonResult::Older => self.older += 1,
            ComparisonResult::Forgotten => self.forgotten += 1,
            ComparisonResult::Different(_) if suspects.len() >= MAX_SUSPECTS => self.more += 1,
            ComparisonResult::Different(fields) => suspects.push(CommandDifference { id, fields }),
        }
    }
}

/// A command, and what each of two indexes says of it.
type CommandPair = (CommandId, Option<CommandState>, Option<CommandState>);

/// Walks two indexes at once.
struct PairWalk<'a>(IndexWalk<'a>, IndexWalk<'a>);

/// Walks one, a page at a time.
struct IndexWalk<'a> {
    index: &'a LedgerIndex,
    page: VecDeque<(CommandId, CommandState)>,
    latest: Option<CommandId>,
    over: bool,
}

impl<'a> PairWalk<'a> {
    fn new(index: &'a LedgerIndex, stream: &'a LedgerIndex) -> Self {
        let walk = |index| IndexWalk { index, page: VecDeque::new(), latest: None, over: false };
        Self(walk(index), walk(stream))
    }

    fn next(&mut self) -> Result<Option<CommandPair>, IndexError> {
        let ids = (self.0.peek_command()?, self.1.peek_command()?);
        let Some(id) = [ids.0, ids.1].into_iter().flatten().min() else { return Ok(None) };
        let (index, stream) = (self.0.take(&id), self.1.take(&id));
        Ok(Some((id, index, stream)))
    }
}

impl IndexWalk<'_> {
    fn peek_command(&mut self) -> Result<Option<CommandId>, IndexError> {
        if self.page.is_empty() && !self.over {
            self.page = self.index.list_commands(self.latest.as_ref(), PAGE)?.into();
            self.over = self.page.is_empty();
            self.latest = self.page.back().map(|(id, _)| id.clone());
        }
        Ok(self.page.front().map(|(id, _)| id.clone()))
    }

    fn take(&mut self, id: &CommandId) -> Option<CommandState> {
        self.page.pop_front_if(|(first, _)| first == id).map(|(_, state)| state)
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
