//! The table of jobs in the index.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::error::IndexError;
use super::json::{json, parse_json};
use super::page::MAX_PAGE;

use ferryd_domain::job::{JobId, JobState};

/// A page of jobs, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<(JobId, JobState)>,
    /// The job behind which the next page begins; `None` on the last one.
    pub next: Option<JobId>,
}

pub(super) fn save(conn: &Connection, jobs: &[(JobId, Arc<JobState>)]) -> rusqlite::Result<()> {
    let mut save = conn.prepare_cached(
        "INSERT OR REPLACE INTO jobs (id, live, updated, body) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (JobId(id), job) in jobs {
        save.execute((
            id.as_bytes(),
            job.end.is_none(),
            job.updated_at.as_millisecond(),
            json(job.as_ref()),
        ))?;
    }
    Ok(())
}

pub(super) fn find(conn: &Connection, JobId(id): &JobId) -> Result<Option<JobState>, IndexError> {
    let mut find = conn.prepare_cached("SELECT body FROM jobs WHERE id = ?1")?;
    find.query_row([id.as_bytes()], |row| Ok(parse_json(row.get_ref(0)?.as_bytes()?)))
        .optional()?
        .transpose()
}

pub(super) fn live(conn: &Connection) -> Result<Vec<(JobId, JobState)>, IndexError> {
    read(conn, "SELECT id, body FROM jobs WHERE live = 1 ORDER BY id", ())
}

/// Lists the newest jobs, of those older than one.
pub(super) fn list(
    conn: &Connection,
    after: Option<JobId>,
    limit: usize,
) -> Result<JobPage, IndexError> {
    const LIST: &str = "SELECT id, body FROM jobs WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let (limit, below) = (limit.clamp(1, MAX_PAGE), after.map_or(Uuid::max(), |JobId(id)| id));
    let mut jobs =
        read(conn, LIST, (below.as_bytes(), i64::try_from(limit + 1).unwrap_or(i64::MAX)))?;
    let is_last = jobs.len() <= limit;
    jobs.truncate(limit);
    let next = jobs.last().map(|(id, _)| *id).filter(|_| !is_last);
    Ok(JobPage { jobs, next })
}

fn read(
    conn: &Connection,
    query: &str,
    params: impl rusqlite::Params,
) -> Result<Vec<(JobId, JobState)>, IndexError> {
    let mut query = conn.prepare_cached(query)?;
    let mut rows = query.query(params)?;
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        let id = JobId(Uuid::from_bytes(row.get(0)?));
        jobs.push((id, parse_json(row.get_ref(1)?.as_bytes().map_err(rusqlite::Error::from)?)?));
    }
    Ok(jobs)
}

/// Deletes jobs that have ended and have not changed since before `older_than`.
pub(super) fn prune_jobs(conn: &Connection, older_than: i64) -> rusqlite::Result<()> {
    conn.execute("DELETE FROM jobs WHERE live = 0 AND updated < ?1", [older_than]).map(|_| ())
}
