//! `ferryd ledger tail`.

use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;

use super::super::context::CliContext;
use super::super::error::CommandError;
use super::super::interrupt;
use super::super::output::TerminalOutput;
use super::record_line;
use crate::operator::stream_tail;
use ferryd_broker::stream::{StreamEntry, StreamPosition};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::ledger::record::LedgerLine;
use ferryd_ledger::command_filter::parse_past_time;
use ferryd_ledger::line_reader::{LineReader, PlacedLine};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd ledger tail
  ferryd ledger tail --from 2h --command shop.order-1001.charge
  ferryd ledger tail --from first --json | jq -r 'select(.kind == \"finished\") | .command'

A line is: time, the end of the record's id, kind, command, call, and what it says. It goes on until
Ctrl-C, which ends it with code 0. A record is a proposal: `ferryd status` shows its result.";

/// The arguments of `ferryd ledger tail`.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// The beginning: `first`, `now`, an offset, a time (RFC 3339), or how long ago it was, such as
    /// 2h
    #[arg(long, value_name = "PLACE", default_value = "now")]
    from: TailStart,
    /// Only records about this command
    #[arg(long, value_name = "ID")]
    command: Option<CommandId>,
    /// End after this many records
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print one JSON object a line: the record, and its `offset` and `id`
    #[arg(long)]
    json: bool,
}

/// The beginning of the records to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TailStart {
    First,
    Now,
    Offset(u64),
    Time(Timestamp),
}

impl FromStr for TailStart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::Offset).or_else(|_| parse_past_time(text).map(Self::Time)).map_err(|_| {
                "write `first`, `now`, an offset, a time as 2026-01-31T12:00:00Z, or how long ago it was, as 36h"
                    .to_owned()
            }),
        }
    }
}

impl TailStart {
    fn place(self) -> StreamPosition {
        match self {
            Self::First => StreamPosition::First,
            Self::Now => StreamPosition::Next,
            Self::Offset(offset) => StreamPosition::Offset(offset),
            Self::Time(time) => {
                StreamPosition::Time(u64::try_from(time.as_second()).unwrap_or_default())
            }
        }
    }

    /// Returns true for a message before the beginning: the broker delivers whole chunks.
    fn is_behind(self, entry: &StreamEntry) -> bool {
        match (self, entry.properties.timestamp()) {
            (Self::Offset(offset), _) => entry.offset < offset,
            (Self::Time(time), Some(at)) => {
                i64::try_from(*at).unwrap_or(i64::MAX) < time.as_second()
            }
            _ => false,
        }
    }
}

impl TailArguments {
    pub(super) fn run(
        self,
        context: &CliContext,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        context.runtime.block_on(async {
            let stop = interrupt::token().map_err(CommandError::Runtime)?;
            let mut tail = stream_tail::StreamTail::open(
                &context.operator,
                &context.operator.names.ledger(),
                self.from.place(),
            )
            .await?;
            let (mut reading, mut printed) = (LineReader::default(), 0);
            let ended = loop {
                let entry = tokio::select! {
                    entry = tail.next() => entry,
                    () = stop.cancelled() => break Ok(()),
                };
                match entry
                    .map_err(CommandError::from)
                    .and_then(|entry| self.show(&entry, &mut reading, &mut printed, out))
                {
                    Ok(()) if self.count.is_some_and(|count| printed >= count) => break Ok(()),
                    Ok(()) => {}
                    Err(error) => break Err(error),
                }
            };
            tail.close().await;
            ended
        })
    }

    fn show(
        &self,
        entry: &StreamEntry,
        reading: &mut LineReader,
        printed: &mut u64,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        if self.from.is_behind(entry) {
            return Ok(());
        }
        for read in reading.read(entry).iter().filter(|read| self.matches_filter(read)) {
            if self.count.is_some_and(|count| *printed >= count) {
                break;
            }
            *printed += 1;
            if self.json {
                out.json_line(&record_line::json(read))?;
            } else {
                out.styled(&record_line::line(read))?;
            }
        }
        Ok(out.flush()?)
    }

    fn matches_filter(&self, read: &PlacedLine) -> bool {
        let Some(wanted) = &self.command else { return true };
        match &read.line {
            Ok(LedgerLine::Record(record)) => record.command == *wanted,
            Ok(LedgerLine::Foreign { command: Some(command), .. }) => command == wanted,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_an_offset_or_a_time() {
        assert_eq!("first".parse(), Ok(TailStart::First));
        assert_eq!("now".parse(), Ok(TailStart::Now));
        assert_eq!("42".parse(), Ok(TailStart::Offset(42)));
        assert_eq!(
            "2026-01-31T12:00:00Z".parse(),
            Ok(TailStart::Time("2026-01-31T12:00:00Z".parse().unwrap()))
        );
        assert!(matches!("2h".parse(), Ok(TailStart::Time(time)) if time < Timestamp::now()));
        assert!("yesterday".parse::<TailStart>().is_err());
    }
}
