//! The places of a command's calls in the stream of calls: the offsets of the messages that hold
//! them.
//!
//! A reader of that stream records each message here. One row stands for those calls of a message
//! that began within the same ten seconds, so that a few rows are read for a time in which a
//! command was called. A command is recorded by a digest of four bytes: a row may name a message in
//! vain, and never leaves one out.
//!
//! The table was added after the others. The writer of a file adds the table where it is missing;
//! until then the file has no offsets of calls.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use rusqlite::{Connection, TransactionBehavior};

use super::error::IndexError;
use super::schema::{meta, set_meta};
use ferryd_domain::command_id::CommandId;

/// Creates the table where it is missing.
pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS calls (bucket INTEGER NOT NULL, offset INTEGER NOT NULL, commands BLOB NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS calls_by_bucket ON calls (bucket);
";

/// The span in seconds of the calls that one row stands for.
const BUCKET: u64 = 10;

/// A message of the stream of calls, with the commands whose calls it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallMessage {
    /// The offset of the message in the stream.
    pub offset: u64,
    /// The digests of the commands whose calls the message holds, by the bucket of time in which
    /// those calls began.
    commands: BTreeMap<u64, BTreeSet<u32>>,
}

impl CallMessage {
    /// Creates a message without calls.
    #[must_use]
    pub fn new(offset: u64) -> Self {
        Self { offset, commands: BTreeMap::new() }
    }

    /// Adds a call of this command, which began at `second` since 1970.
    pub fn add(&mut self, command: &str, second: u64) {
        self.commands.entry(second / BUCKET).or_default().insert(digest(command));
    }
}

/// The end of what is recorded of the stream of calls: every message up to there is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallCheckpoint {
    /// The offset of the last message.
    pub offset: u64,
    /// A hash of that message, by which another stream of the same name is recognised.
    pub hash: u64,
    /// The time of its publishing, in seconds since 1970 by the publisher's clock.
    pub published: u64,
}

/// The recorded offsets of a command's calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedCalls {
    /// The offsets of the messages that may hold calls of the command, in their order.
    pub offsets: Vec<u64>,
    /// The message up to which the offsets are complete.
    pub checkpoint: CallCheckpoint,
}

/// Reads how far the stream is recorded; `None` where nothing of it is.
pub(super) fn checkpoint(conn: &Connection) -> Result<Option<CallCheckpoint>, IndexError> {
    let number = |name: &str| meta::<i64>(conn, name).map(|found| found.map(i64::cast_unsigned));
    let [offset, hash, published] =
        [number("calls_offset")?, number("calls_hash")?, number("calls_published")?];
    Ok(offset.zip(hash).map(|(offset, hash)| CallCheckpoint {
        offset,
        hash,
        published: published.unwrap_or_default(),
    }))
}

/// Records messages that follow on `after`, the last of them at `checkpoint`. Returns false, and
/// records nothing, if another checkpoint is recorded by now: the index was made anew.
pub(super) fn note(
    conn: &mut Connection,
    after: Option<CallCheckpoint>,
    messages: &[CallMessage],
    reached: CallCheckpoint,
) -> Result<bool, IndexError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if checkpoint(&tx)? != after {
        return Ok(false);
    }
    let mut add =
        tx.prepare_cached("INSERT INTO calls (bucket, offset, commands) VALUES (?1, ?2, ?3)")?;
    for message in messages {
        for (bucket, commands) in &message.commands {
            let digests: Vec<u8> =
                commands.iter().flat_map(|digest| digest.to_be_bytes()).collect();
            add.execute((bucket.cast_signed(), message.offset.cast_signed(), digests))?;
        }
    }
    drop(add);
    for (name, value) in [
        ("calls_offset", reached.offset),
        ("calls_hash", reached.hash),
        ("calls_published", reached.published),
    ] {
        set_meta(&tx, name, value.cast_signed())?;
    }
    tx.commit()?;
    Ok(true)
}

/// Deletes all recorded offsets: the stream is another one.
pub(super) fn clear(conn: &mut Connection) -> Result<(), IndexError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute("DELETE FROM calls", ())?;
    tx.execute(
        "DELETE FROM meta WHERE name IN ('calls_offset', 'calls_hash', 'calls_published')",
        (),
    )?;
    Ok(tx.commit()?)
}

/// Deletes the offsets of calls that began before `older_than`, in milliseconds since 1970.
pub(super) fn prune_calls(conn: &Connection, older_than: i64) -> rusqlite::Result<()> {
    let bucket = older_than / 1_000 / BUCKET.cast_signed();
    conn.execute("DELETE FROM calls WHERE bucket < ?1", [bucket]).map(|_| ())
}

/// Finds the messages that may hold calls of a command which began in one of these spans, in
/// seconds since 1970; `None` where nothing of the stream is recorded.
pub(super) fn find(
    conn: &Connection,
    command: &CommandId,
    spans: &[RangeInclusive<u64>],
) -> Result<Option<IndexedCalls>, IndexError> {
    let Some(checkpoint) = checkpoint(conn)? else { return Ok(None) };
    let wanted = digest(command.as_str()).to_be_bytes();
    let mut offsets = BTreeSet::new();
    let mut rows =
        conn.prepare_cached("SELECT offset, commands FROM calls WHERE bucket BETWEEN ?1 AND ?2")?;
    for span in spans {
        let mut found = rows
            .query(((span.start() / BUCKET).cast_signed(), (span.end() / BUCKET).cast_signed()))?;
        while let Some(row) = found.next()? {
            if row
                .get_ref(1)?
                .as_blob()
                .is_ok_and(|digests| digests.chunks_exact(4).any(|digest| digest == wanted))
            {
                offsets.insert(row.get::<_, i64>(0)?.cast_unsigned());
            }
        }
    }
    Ok(Some(IndexedCalls { offsets: offsets.into_iter().collect(), checkpoint }))
}

fn digest(command: &str) -> u32 {
    crc32fast::hash(command.as_bytes())
}
