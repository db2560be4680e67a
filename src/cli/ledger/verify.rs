//! `ferryd ledger verify`.

use clap::Args;
use serde_json::Value;

use super::super::context::CliContext;
use super::super::error::CommandError;
use super::super::exit_status::ExitStatus;
use super::super::format::shorten;
use super::super::output::{TerminalOutput, TextTable};
use super::super::progress::ProgressCounter;
use crate::operator::index_owner::IndexPlace;
use crate::operator::verify::{CommandDifference, FieldDifference, VerifyReport, verify};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd ledger verify
  ferryd ledger verify --json | jq -r '.different[].id'

It reads the whole stream into a second index beside the first, needs as much room on the disk, and
compares the two. Daemons go on meanwhile. Ends with 1 where something differs; then stop the daemon
and run `ferryd ledger rebuild`: the stream is the truth, the index can be deleted at any time.";

/// The longest value in a line, in characters.
const MAX_VALUE: usize = 60;
/// The most lines that are printed; the JSON has all.
const MAX_LINES: usize = 100;

/// The arguments of `ferryd ledger verify`.
#[derive(Debug, Args)]
pub struct LedgerVerifyArguments {
    /// Print JSON: `commands`, `older`, `forgotten` (how many), `different`, `more` (how many)
    #[arg(long)]
    json: bool,
}

impl LedgerVerifyArguments {
    pub(super) fn run(
        self,
        context: &CliContext,
        place: &IndexPlace,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let mut progress = ProgressCounter::new("messages of the ledger read", None);
        let report = context.runtime.block_on(verify(&context.operator, place, |read| {
            progress.show_progress_of(read.done, read.total);
        }))?;
        drop(progress);
        if self.json {
            out.json(&report)?;
        } else {
            print(&report, out)?;
        }
        if report.different.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Reported(ExitStatus::Failed))
        }
    }
}

fn print(report: &VerifyReport, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let VerifyReport { commands, older, forgotten, different, .. } = report;
    out.line(format!(
        "{commands} commands in the stream, {} differ in the index",
        report.count_differences()
    ))?;
    if *older > 0 {
        out.line(format!(
            "{older} are older than what is left of the stream, and were not compared"
        ))?;
    }
    if *forgotten > 0 {
        out.line(format!("{forgotten} ended so long ago that the index has forgotten them"))?;
    }
    if different.is_empty() {
        return Ok(());
    }
    out.print_blank_line()?;
    let mut table = TextTable::new(["ID", "WHAT", "INDEX", "STREAM"]);
    let lines = different
        .iter()
        .flat_map(|CommandDifference { id, fields }| fields.iter().map(move |field| (id, field)));
    for (id, FieldDifference { name, index, stream }) in lines.take(MAX_LINES) {
        table.row([id.to_string(), name.clone(), short(index), short(stream)]);
    }
    Ok(out.table(&table)?)
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("{} of them, the last {}", list.len(), list.last().unwrap_or(&Value::Null))
        }
        other => other.to_string(),
    };
    shorten(&text, MAX_VALUE)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::fixture::printed;

    #[test]
    fn differences_are_shown_field_by_field() {
        let field =
            |name: &str, index, stream| FieldDifference { name: name.to_owned(), index, stream };
        let history = json!([{ "reason": "started" }, { "reason": "x".repeat(100) }]);
        let fields = vec![
            field("published_sequence", json!(17), json!(21)),
            field("history", history, json!([])),
        ];
        let gone = vec![field("command", Value::Null, json!("completed"))];
        let different = vec![
            CommandDifference { id: "order-1".parse().unwrap(), fields },
            CommandDifference { id: "order-2".parse().unwrap(), fields: gone },
        ];
        let report = VerifyReport { commands: 12, older: 1, forgotten: 2, different, more: 0 };
        insta::assert_snapshot!(printed(|out| print(&report, out).unwrap()));
    }
}
