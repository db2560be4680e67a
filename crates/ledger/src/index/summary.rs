//! Counts of commands by state, and of dead letters by failure.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::IndexError;
use super::query::search;
use super::schema;
use super::stored_id::read_id;
use crate::command_filter::CommandFilter;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;

/// The numbers of commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommandCounts {
    /// The number of commands in each state; a state without commands counts 0.
    pub states: BTreeMap<LifecycleState, u64>,
    /// The number of failed commands that are dead letters.
    pub dead: u64,
    /// The number of lines of the ledger that could not be read.
    pub unreadable: u64,
    /// The time of the first record about the oldest known command.
    pub since: Option<Timestamp>,
}

/// A group of dead letters that failed alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DeadLetterGroup")]
pub struct DeadLetterGroup {
    /// The provider.
    pub provider: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// The kind of failure.
    pub kind: Option<String>,
    /// The provider's error code, or ferryd's own.
    pub code: Option<String>,
    /// The number of dead letters in the group.
    pub count: u64,
    /// The time at which the first of them failed.
    pub first: Timestamp,
    /// The time at which the last of them failed.
    pub last: Timestamp,
    /// The newest dead letter of the group.
    pub example: CommandId,
}

/// Provider, operation, kind and code, by which dead letters are grouped.
type GroupKey = [Option<String>; 4];

#[derive(Clone, Copy)]
struct GroupTally {
    count: u64,
    first: i64,
    last: i64,
    newest: i64,
}

fn number_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    row.get(0).map(i64::cast_unsigned)
}

pub(super) fn counts(conn: &Connection) -> Result<CommandCounts, IndexError> {
    let mut sum = conn.prepare_cached(
        "SELECT coalesce(sum(count), 0) FROM facets WHERE state = ?1 AND dead >= ?2",
    )?;
    let mut number =
        |state: LifecycleState, dead: bool| sum.query_row((state.as_str(), dead), number_of);
    let mut states = BTreeMap::new();
    for state in LifecycleState::ALL {
        states.insert(state, number(state, false)?);
    }
    let dead = number(LifecycleState::Failed, true)?;
    let unreadable =
        conn.query_row("SELECT coalesce(max(nr), 0) FROM unreadable", (), number_of)?;
    let since = schema::meta::<i64>(conn, "oldest")?.map(time).transpose()?;
    Ok(CommandCounts { states, dead, unreadable, since })
}

/// Lists the providers of the dead letters.
pub(super) fn dead_providers(conn: &Connection) -> Result<Vec<Name>, IndexError> {
    const NAMED: &str = "SELECT DISTINCT provider FROM facets WHERE dead AND count > 0 AND provider IS NOT NULL ORDER BY provider";
    let mut providers = conn.prepare_cached(NAMED)?;
    let names = providers.query_map((), |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    let parsed = |name: String| {
        name.parse().map_err(|_| IndexError::Damaged(format!("`{name}` is no name")))
    };
    names.into_iter().map(parsed).collect()
}

/// Groups the dead letters that a filter selects, the most frequent first.
pub(super) fn groups(
    conn: &Connection,
    filter: &CommandFilter,
) -> Result<Vec<DeadLetterGroup>, IndexError> {
    let filter = CommandFilter { dead: true, ..filter.clone() };
    let mut facets: HashMap<i64, GroupTally> = HashMap::new();
    for found in search(conn, &filter, i64::MAX, usize::MAX)? {
        let one =
            GroupTally { count: 1, first: found.updated, last: found.updated, newest: found.seq };
        facets
            .entry(found.facet)
            .and_modify(|tally| *tally = tally.merge_tally(one))
            .or_insert(one);
    }
    let mut alike: HashMap<GroupKey, GroupTally> = HashMap::new();
    for (facet, tally) in facets {
        let key = names(conn, facet)?;
        alike.entry(key).and_modify(|sum| *sum = sum.merge_tally(tally)).or_insert(tally);
    }
    let groups = alike.into_iter().map(|(key, tally)| tally.group(conn, key));
    let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.example.cmp(&b.example)));
    Ok(groups)
}

fn names(conn: &Connection, facet: i64) -> Result<GroupKey, IndexError> {
    let mut find =
        conn.prepare_cached("SELECT provider, operation, kind, code FROM facets WHERE facet = ?1")?;
    let found =
        find.query_row([facet], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]));
    Ok(found.optional()?.unwrap_or_default())
}

impl GroupTally {
    fn merge_tally(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            newest: self.newest.max(other.newest),
        }
    }

    fn group(
        self,
        conn: &Connection,
        [provider, operation, kind, code]: GroupKey,
    ) -> Result<DeadLetterGroup, IndexError> {
        let mut find = conn.prepare_cached("SELECT id FROM commands WHERE seq = ?1")?;
        let example = find.query_row([self.newest], |row| Ok(read_id(row.get_ref(0)?)))??;
        let (first, last) = (time(self.first)?, time(self.last)?);
        Ok(DeadLetterGroup {
            provider,
            operation,
            kind,
            code,
            count: self.count,
            first,
            last,
            example,
        })
    }
}

fn time(ms: i64) -> Result<Timestamp, IndexError> {
    Timestamp::from_millisecond(ms).map_err(|error| IndexError::Damaged(error.to_string()))
}
