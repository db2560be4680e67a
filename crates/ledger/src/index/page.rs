//! Pages of a list, and cursors from one page to the next.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::error::IndexError;
use super::row::CommandRow;
use super::schema;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::name::excerpt;

/// The maximum number of rows of a page.
pub const MAX_PAGE: usize = 1_000;

/// A page of a list of commands, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListPage {
    /// The commands.
    pub rows: Vec<CommandRow>,
    /// The cursor of the next page; `None` on the last one.
    pub next: Option<PageCursor>,
}

/// A place in a list: behind one command. A cursor is an opaque text that goes into a URL as it is.
///
/// A cursor holds in every instance's index, and after an index was made anew, as long as that
/// command is known there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String", extend("pattern" = CURSOR_PATTERN), inline)]
pub struct PageCursor {
    seq: i64,
    /// Names the file whose row numbers the cursor has.
    epoch: String,
    id: CommandId,
}

/// A text that is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no place in a list: pass on the `next` of the page before, as it is")]
pub struct InvalidCursor(String);

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}.{}", self.seq, self.epoch, self.id)
    }
}

/// The pattern of a cursor: a row number, the name of a file, a command.
pub const CURSOR_PATTERN: &str = r"^[0-9a-f]{1,16}\.[0-9a-f]{8}\.[A-Za-z0-9._:-]{1,128}$";

/// The number of characters that name a file.
const EPOCH_LENGTH: usize = 8;

impl FromStr for PageCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let read = || {
            let mut parts = text.splitn(3, '.');
            let hex = |text: &&str| text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
            let seq = parts.next().filter(hex)?;
            let epoch = parts.next().filter(hex).filter(|epoch| epoch.len() == EPOCH_LENGTH)?;
            let (seq, epoch) = (i64::from_str_radix(seq, 16).ok()?, epoch.to_owned());
            Some(Self { seq, epoch, id: parts.next()?.parse().ok()? })
        };
        read().ok_or_else(|| InvalidCursor(excerpt(text)))
    }
}

impl TryFrom<String> for PageCursor {
    type Error = InvalidCursor;

    fn try_from(text: String) -> Result<Self, InvalidCursor> {
        text.parse()
    }
}

impl Serialize for PageCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PageCursor {
    /// Returns the place behind a command.
    pub(super) fn behind(conn: &Connection, seq: i64, id: CommandId) -> Result<Self, IndexError> {
        Ok(Self { seq, epoch: epoch(conn)?, id })
    }

    /// Returns the row of the command behind which the page begins; `None` where the command is not
    /// known here any more.
    pub(super) fn seq(&self, conn: &Connection) -> Result<Option<i64>, IndexError> {
        if self.epoch == epoch(conn)? {
            return Ok(Some(self.seq));
        }
        let mut find = conn.prepare_cached("SELECT seq FROM commands WHERE id = ?1")?;
        Ok(find.query_row([self.id.as_str()], |row| row.get(0)).optional()?)
    }
}

fn epoch(conn: &Connection) -> Result<String, IndexError> {
    Ok(schema::meta(conn, "epoch")?.unwrap_or_default())
}
