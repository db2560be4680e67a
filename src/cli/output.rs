//! What commands print: tables for people, JSON for machines.

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::Style;
use serde::Serialize;

const HEADING: Style = Style::new().bold();
const GAP: &str = "  ";

/// Where a command prints to. Colours reach only a terminal whose owner did not say `NO_COLOR`.
pub struct Output(Box<dyn Write + Send>);

impl Output {
    /// The standard output of this process.
    #[must_use]
    pub fn stdout() -> Self {
        Self(Box::new(anstream::AutoStream::auto(io::stdout())))
    }

    /// Any other place, without colours.
    #[must_use]
    pub fn plain(writer: impl Write + Send + 'static) -> Self {
        let writer: Box<dyn Write + Send> = Box::new(writer);
        Self(Box::new(anstream::AutoStream::never(writer)))
    }

    /// Prints a line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.0, "{}", text.as_ref())
    }

    /// Prints a heading, on a line of its own.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.0, "{HEADING}{text}{HEADING:#}")
    }

    /// Prints a value as JSON over several lines.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text)
    }

    /// Prints a table.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn table(&mut self, table: &Table) -> io::Result<()> {
        self.0.write_all(table.render().as_bytes())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Rows with aligned columns.
#[derive(Debug, Clone)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Self { headings: headings.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each heading. Control characters in it are shown, not obeyed, because cells may hold
    /// what
    /// others wrote.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.rows.push(cells.into_iter().map(|cell| visible(cell.as_ref())).collect());
    }

    fn render(&self) -> String {
        let widths: Vec<_> = self.headings.iter().enumerate().map(|(column, _)| self.width(column)).collect();
        let mut text = format!("{HEADING}{}{HEADING:#}\n", aligned(&self.headings, &widths));
        for row in &self.rows {
            text.push_str(&aligned(row, &widths));
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(self.headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    }
}

fn aligned(cells: &[impl AsRef<str>], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a string does not fail.
        let _ = write!(line, "{:width$}{GAP}", cell.as_ref());
    }
    line.truncate(line.trim_end().len());
    line
}

/// A text with its control characters written out, so that it cannot move the cursor or change colours.
#[must_use]
pub fn visible(text: &str) -> String {
    let show = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_spaces() {
        let mut table = Table::new(["NAME", "TYPE", "NOTE"]);
        table.row(["stripe", "payment", ""]);
        table.row(["träge", "x", "a longer note"]);
        let text = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(text, "NAME    TYPE     NOTE\nstripe  payment\nträge   x        a longer note\n");
    }

    #[test]
    fn a_cell_cannot_move_the_cursor() {
        let mut table = Table::new(["A"]);
        table.row(["red\u{1b}[31m\nnext\u{9b}"]);
        let text = table.render();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("red\\u{1b}[31m\\nnext\\u{9b}"), "{text}");
    }
}
