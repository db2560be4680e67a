//! Finds the commands that a filter selects, newest first.
//!
//! No query reads the bodies of commands that it does not return.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Params, Row as SqlRow, named_params};

use super::body::read_body;
use super::error::IndexError;
use super::found_row::FoundRow;
use super::page::{ListPage, MAX_PAGE, PageCursor};
use super::reference::CommandReference;
use super::row::CommandRow;
use super::stored_id::read_id;
use crate::command_filter::{CommandFilter, WantedKind};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::dead_letter::shorten;
use ferryd_domain::ledger::command_state::CommandState;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;

/// The number of facets above which a scan of all commands is cheaper than a query for each facet.
const MANY_FACETS: usize = 2_000;

/// Returns true if a filter selects by a property that commands share.
fn has_facet(filter: &CommandFilter) -> bool {
    let rest = CommandFilter {
        ids: Vec::new(),
        reference: None,
        older_than: None,
        newer_than: None,
        ..filter.clone()
    };
    // Such a filter selects nearly all commands: it is cheaper to skip the others.
    !CommandFilter { cancel_requested: rest.cancel_requested.filter(|only| *only), ..rest }
        .is_empty()
}

/// Returns the earliest and the latest time of the last change that a filter selects, in
/// milliseconds.
fn span(filter: &CommandFilter) -> (i64, i64) {
    let ms = |time: Timestamp| time.as_millisecond();
    (
        filter.newer_than.map_or(i64::MIN, ms),
        filter.older_than.map_or(i64::MAX, |time| ms(time) - 1),
    )
}

/// Lists one page of the commands that a filter selects.
pub(super) fn list(
    conn: &Connection,
    filter: &CommandFilter,
    after: Option<&PageCursor>,
    limit: usize,
) -> Result<ListPage, IndexError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let below = match after {
        None => i64::MAX,
        Some(cursor) => match cursor.seq(conn)? {
            Some(seq) => seq,
            None => return Ok(ListPage { rows: Vec::new(), next: None }),
        },
    };
    let found = search(conn, filter, below, limit + 1)?;
    let mut body = conn
        .prepare_cached("SELECT id, body FROM commands JOIN bodies USING (seq) WHERE seq = ?1")?;
    let mut rows = Vec::with_capacity(found.len().min(limit));
    for FoundRow { seq, .. } in found.iter().take(limit) {
        let (id, state) = body.query_row([seq], |row| Ok(read_command(row)))??;
        rows.push(CommandRow::new(id, &state));
    }
    let next = match (found.get(limit), rows.last()) {
        (Some(_), Some(last)) => {
            Some(PageCursor::behind(conn, found[limit - 1].seq, last.id.clone())?)
        }
        _ => None,
    };
    Ok(ListPage { rows, next })
}

/// Lists all commands whose ids sort after `after`, in the order of ids.
pub(super) fn walk_all(
    conn: &Connection,
    after: &str,
    limit: usize,
) -> Result<Vec<(CommandId, CommandState)>, IndexError> {
    const BEHIND: &str =
        "SELECT id, body FROM commands JOIN bodies USING (seq) WHERE id > ?1 ORDER BY id LIMIT ?2";
    let mut behind = conn.prepare_cached(BEHIND)?;
    let mut rows = behind.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read_command(row)?);
    }
    Ok(found)
}

/// Reads the id and the body of a command.
fn read_command(row: &SqlRow<'_>) -> Result<(CommandId, CommandState), IndexError> {
    let id = read_id(row.get_ref(0)?)?;
    let state = read_body(&id, row.get_ref(1)?.as_blob()?)?;
    Ok((id, state))
}

/// Finds the newest `want` commands that a filter selects, of those older than `below`.
pub(super) fn search(
    conn: &Connection,
    filter: &CommandFilter,
    below: i64,
    want: usize,
) -> Result<Vec<FoundRow>, IndexError> {
    let by_facet = has_facet(filter);
    let facets = if by_facet || filter.cancel_requested.is_some() {
        Some(facets(conn, filter)?)
    } else {
        None
    };
    let (first, last) = span(filter);
    let fits = |found: &FoundRow| {
        facets.as_ref().is_none_or(|facets| facets.contains_key(&found.facet))
            && (first..=last).contains(&found.updated)
    };
    if !filter.ids.is_empty() {
        return by_ids(conn, filter, below, want, fits);
    }
    if let Some(reference) = &filter.reference {
        return by_reference(conn, reference, below, want, fits);
    }
    let timed = filter.older_than.is_some() || filter.newer_than.is_some();
    let facets = match &facets {
        None if timed => Some(self::facets(conn, &CommandFilter::default())?),
        facets => facets.clone(),
    };
    match facets {
        Some(facets) if (by_facet || timed) && facets.len() <= MANY_FACETS => {
            by_facets(conn, &facets, (first, last), below, want)
        }
        _ => {
            const ALL: &str =
                "SELECT seq, facet, updated FROM commands WHERE seq < ?1 ORDER BY seq DESC";
            walk(conn.prepare_cached(ALL)?, [below], want, fits)
        }
    }
}

/// Scans commands, newest first, until enough of them match.
fn walk(
    mut all: CachedStatement<'_>,
    params: impl Params,
    want: usize,
    fits: impl Fn(&FoundRow) -> bool,
) -> Result<Vec<FoundRow>, IndexError> {
    let mut rows = all.query(params)?;
    let mut found = Vec::new();
    while found.len() < want
        && let Some(row) = rows.next()?
    {
        found.extend(Some(FoundRow::read(row)?).filter(&fits));
    }
    Ok(found)
}

fn by_ids(
    conn: &Connection,
    filter: &CommandFilter,
    below: i64,
    want: usize,
    fits: impl Fn(&FoundRow) -> bool,
) -> Result<Vec<FoundRow>, IndexError> {
    const BY_ID: &str = "SELECT seq, facet, updated FROM commands WHERE id = ?1 AND seq < ?2";
    let reference = filter.reference.as_deref().map(CommandReference::Publisher);
    let mut found = Vec::new();
    for id in &filter.ids {
        let by_id = conn.prepare_cached(BY_ID)?;
        for row in walk(by_id, (id.as_str(), below), 1, &fits)? {
            if reference.map_or(Ok(true), |reference| reference.is_at(conn, row.seq, id))? {
                found.push(row);
            }
        }
    }
    Ok(newest(found, want))
}

fn by_reference(
    conn: &Connection,
    reference: &str,
    below: i64,
    want: usize,
    fits: impl Fn(&FoundRow) -> bool,
) -> Result<Vec<FoundRow>, IndexError> {
    let mut found = Vec::new();
    CommandReference::Publisher(reference).find(conn, below, |row, _| {
        found.extend(Some(row).filter(&fits));
        found.len() < want
    })?;
    Ok(found)
}

/// Takes the newest commands of each facet, and of those the newest.
fn by_facets(
    conn: &Connection,
    facets: &HashMap<i64, i64>,
    span: (i64, i64),
    below: i64,
    want: usize,
) -> Result<Vec<FoundRow>, IndexError> {
    const BY_FACET: &str = "SELECT seq, facet, updated FROM commands INDEXED BY commands_by_facet \
                            WHERE facet = ?1 AND seq < ?2 AND updated BETWEEN ?3 AND ?4 ORDER BY seq DESC LIMIT ?5";
    let mut by_facet = conn.prepare_cached(BY_FACET)?;
    let most = i64::try_from(want).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for facet in facets.keys() {
        let newest = by_facet.query_map((facet, below, span.0, span.1, most), FoundRow::read)?;
        for one in newest {
            found.push(one?);
        }
    }
    Ok(newest(found, want))
}

fn newest(mut found: Vec<FoundRow>, want: usize) -> Vec<FoundRow> {
    found.sort_unstable_by_key(|found| std::cmp::Reverse(found.seq));
    found.dedup();
    found.truncate(want);
    found
}

/// Returns the facets that match a filter, with the number of commands of each.
fn facets(conn: &Connection, filter: &CommandFilter) -> Result<HashMap<i64, i64>, IndexError> {
    const MATCHING: &str = "SELECT facet, count, type, provider, account FROM facets WHERE count > 0
        AND (:type IS NULL OR type = :type) AND (:provider IS NULL OR provider = :provider)
        AND (:account IS NULL OR account = :account) AND (:operation IS NULL OR operation = :operation)
        AND (:state IS NULL OR state = :state) AND (:kind IS NULL OR kind = :kind)
        AND (:code IS NULL OR code = :code) AND (:http_status IS NULL OR http_status = :http_status)
        AND (:generation IS NULL OR generation = :generation) AND (NOT :dead OR dead)
        AND (:cancel_requested IS NULL OR cancel_requested = :cancel_requested)
        AND (NOT :conflicts OR conflicts)";
    let mut matching = conn.prepare_cached(MATCHING)?;
    let params = named_params! {
        ":type": filter.r#type.as_ref().map(Name::as_str),
        ":provider": filter.provider.as_ref().map(Name::as_str),
        ":account": filter.account.as_ref().map(Name::as_str),
        ":operation": filter.operation.as_ref().map(Name::as_str),
        ":state": filter.state.map(LifecycleState::as_str),
        ":kind": filter.kind.map(WantedKind::as_str),
        ":code": filter.code.as_deref().map(shorten),
        ":http_status": filter.http_status,
        ":generation": filter.generation,
        ":dead": filter.dead,
        ":cancel_requested": filter.cancel_requested,
        ":conflicts": filter.conflicts,
    };
    let mut rows = matching.query(params)?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let [kind, provider, account]: [Option<String>; 3] =
            [row.get(2)?, row.get(3)?, row.get(4)?];
        if filter.scope.admits_names(kind.as_deref(), provider.as_deref(), account.as_deref()) {
            found.insert(row.get(0)?, row.get(1)?);
        }
    }
    Ok(found)
}
