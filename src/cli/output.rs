//! The output of subcommands: tables for people, JSON for machines.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic::PanicHookInfo;

use anstyle::Style;
use serde::Serialize;

use ferryd_redact::escape::{escape_json, escape_text, is_escaped};

const HEADING: Style = Style::new().bold();
const GAP: &str = "  ";

/// Prints to the terminal, pipe or file: the only way out for all text.
///
/// Texts may come from a provider, a publisher or the broker, so every text is escaped here (see
/// [`escape`](ferryd_redact::escape)). All line feeds and styles are added here. Colours reach only a
/// terminal without `NO_COLOR`.
pub struct TerminalOutput(Box<dyn Write + Send>);

impl TerminalOutput {
    /// Returns the standard output of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that escapes")]
    pub fn stdout() -> Self {
        Self(Box::new(anstream::AutoStream::auto(io::stdout())))
    }

    /// Returns the standard error of this process, for messages beside the output. It has no
    /// colours.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that escapes")]
    pub fn stderr() -> Self {
        Self(Box::new(io::stderr()))
    }

    /// Writes to any other place, without colours.
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
        writeln!(self.0, "{}", escape_text(text.as_ref()))
    }

    /// Prints each line of a text.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn lines(&mut self, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// Prints an empty line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn print_blank_line(&mut self) -> io::Result<()> {
        self.line("")
    }

    /// Prints a heading, on a line of its own.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn heading(&mut self, text: &str) -> io::Result<()> {
        self.styled(&StyledLine::default().with_styled_text(HEADING, text))
    }

    /// Prints a line with styles.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn styled(&mut self, line: &StyledLine) -> io::Result<()> {
        writeln!(self.0, "{}", line.0.trim_end())
    }

    /// Prints a value as JSON over several lines.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        // Parts that are encoded already are laid out as well.
        let value = serde_json::to_value(value)?;
        writeln!(self.0, "{}", escape_json(&serde_json::to_string_pretty(&value)?))
    }

    /// Prints a value as JSON on one line.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        writeln!(self.0, "{}", escape_json(&serde_json::to_string(value)?))
    }

    /// Prints a table.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn table(&mut self, table: &TextTable) -> io::Result<()> {
        self.0.write_all(table.render().as_bytes())
    }

    /// Prints a file as it is.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn verbatim(&mut self, text: PlainText<'_>) -> io::Result<()> {
        self.0.write_all(text.0.as_bytes())
    }

    /// Replaces the text that was last shown as a status, on a terminal.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn status(&mut self, text: &str) -> io::Result<()> {
        write!(self.0, "\r{} \x1b[K", escape_text(text))
    }

    /// Removes the status text from the terminal.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn clear_status(&mut self) -> io::Result<()> {
        write!(self.0, "\r\x1b[K")
    }

    /// Flushes buffered output.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Prints a message for a person to the standard error.
pub fn print_error(text: &str) {
    // A failure to print can't be reported anywhere.
    let _ = TerminalOutput::stderr().line(format!("ferryd: {text}"));
}

/// Prints a panic to the standard error. The message may quote text from outside.
pub fn complain_of_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    print_error(&panic.to_string());
    if backtrace.status() == BacktraceStatus::Captured {
        // A failure to print can't be reported anywhere.
        let _ = TerminalOutput::stderr().lines(&backtrace.to_string());
    }
}

/// A line of escaped text and of styles that are ferryd's own.
#[derive(Debug, Clone, Default)]
pub struct StyledLine(String);

impl StyledLine {
    /// Adds a text.
    #[must_use]
    pub fn with_text(mut self, text: impl AsRef<str>) -> Self {
        self.0.push_str(&escape_text(text.as_ref()));
        self
    }

    /// Adds a text in a style.
    #[must_use]
    pub fn with_styled_text(mut self, style: Style, text: impl AsRef<str>) -> Self {
        // Writing to a string does not fail.
        let _ = write!(self.0, "{style}{}{style:#}", escape_text(text.as_ref()));
        self
    }

    /// Adds a text as a column of at least so many characters, and the gap behind it.
    #[must_use]
    pub fn with_column(self, text: impl AsRef<str>, width: usize) -> Self {
        self.with_text(padded(text.as_ref(), width)).with_text(GAP)
    }

    /// Adds a column in a style.
    #[must_use]
    pub fn with_styled_column(self, style: Style, text: impl AsRef<str>, width: usize) -> Self {
        self.with_styled_text(style, padded(text.as_ref(), width)).with_text(GAP)
    }

    /// Returns the text without styles.
    #[cfg(test)]
    pub(super) fn unstyled(&self) -> String {
        anstream::adapter::strip_str(&self.0).to_string().trim_end().to_owned()
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{:width$}", escape_text(text))
}

/// A file in which nothing would be escaped but line ends and tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainText<'t>(&'t str);

impl<'t> PlainText<'t> {
    /// Takes a text as it is; `None` where a terminal would show a different text.
    #[must_use]
    pub fn new(text: &'t str) -> Option<Self> {
        let is_plain = |line: &str| {
            let line = line
                .strip_suffix('\n')
                .map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
            !line.contains(|c| is_escaped(c) && c != '\t')
        };
        text.split_inclusive('\n').all(is_plain).then_some(Self(text))
    }
}

/// Rows with aligned columns.
#[derive(Debug, Clone)]
pub struct TextTable {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// Makes a table without rows.
    #[must_use]
    pub fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Self { headings: headings.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        self.rows
            .push(cells.into_iter().map(|cell| escape_text(cell.as_ref()).into_owned()).collect());
    }

    fn render(&self) -> String {
        let widths: Vec<_> =
            self.headings.iter().enumerate().map(|(column, _)| self.width(column)).collect();
        let mut text = format!("{HEADING}{}{HEADING:#}\n", aligned(&self.headings, &widths));
        for row in &self.rows {
            text.push_str(&aligned(row, &widths));
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let cells =
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
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

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
