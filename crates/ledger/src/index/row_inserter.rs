//! Inserts rows, several with each statement: to begin and to end a statement costs as much as a
//! few rows.

use rusqlite::{CachedStatement, Connection, ToSql};

/// The number of rows that a statement inserts, where there are so many.
pub(super) const SEVERAL: usize = 16;

/// Inserts rows into one table.
pub(super) struct RowInserter<'a> {
    several: CachedStatement<'a>,
    one: CachedStatement<'a>,
}

/// The values of the row that is inserted next.
pub(super) struct RowValues<'a, 'b> {
    statement: &'a mut CachedStatement<'b>,
    bound: usize,
}

impl<'a> RowInserter<'a> {
    /// Prepares inserting into a table with so many columns; `insert` ends at its `VALUES`.
    pub fn prepare(conn: &'a Connection, insert: &str, columns: usize) -> rusqlite::Result<Self> {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let several = format!("{insert} VALUES {}", vec![row.as_str(); SEVERAL].join(", "));
        Ok(Self {
            several: conn.prepare_cached(&several)?,
            one: conn.prepare_cached(&format!("{insert} VALUES {row}"))?,
        })
    }

    /// Inserts rows; `bind` gives the values of each.
    pub fn insert<R>(
        &mut self,
        rows: &[R],
        bind: impl Fn(&mut RowValues<'_, '_>, &R) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let (chunks, rest) = rows.as_chunks::<SEVERAL>();
        for chunk in chunks {
            execute(&mut self.several, chunk, &bind)?;
        }
        rest.chunks(1).try_for_each(|row| execute(&mut self.one, row, &bind))
    }
}

fn execute<R>(
    statement: &mut CachedStatement<'_>,
    rows: &[R],
    bind: impl Fn(&mut RowValues<'_, '_>, &R) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut values = RowValues { statement, bound: 0 };
    rows.iter().try_for_each(|row| bind(&mut values, row))?;
    values.statement.raw_execute().map(|_| ())
}

impl RowValues<'_, '_> {
    /// Gives the value of the next column.
    pub fn bind(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.bound += 1;
        self.statement.raw_bind_parameter(self.bound, value)
    }
}
