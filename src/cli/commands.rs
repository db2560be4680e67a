//! `ferryd commands`: lists commands.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::error::CommandError;
use super::format::{format_age, format_step};
use super::output::{TerminalOutput, TextTable};
use crate::web::query::{CommandListQuery, PageQuery};
use crate::web::responses::CommandPage;
use ferryd_domain::ledger::record::Step;
use ferryd_domain::name::Name;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::{CommandRow, PageCursor};

const EXAMPLES: &str = "\
Examples:
  ferryd commands
  ferryd commands --provider stripe --state failed --newer-than 2h
  ferryd commands --reference order-1001
  ferryd commands --conflicts --newer-than 7d
  ferryd commands --state waiting --older-than 2d --limit 1000 --json | jq -r '.commands[].id'

Newest first; AGE is the time since the last change. A list that is cut ends with the `--cursor` that
goes on. Of commands that ended longer ago than `ledger.duplicate_window` nothing is known, except dead letters.";

/// The longest message in a line, in characters.
const MAX_MESSAGE: usize = 80;

/// The arguments of `ferryd commands`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CommandListArguments {
    #[command(flatten)]
    filter: CommandFilter,
    /// Only commands whose cancellation was requested before they came, and that have not come yet;
    /// they are not listed otherwise
    #[arg(long)]
    cancel_requested: bool,
    #[command(flatten)]
    api: ApiArguments,
    /// At most so many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Continue after the list that ended with this cursor
    #[arg(long, value_name = "TEXT")]
    cursor: Option<PageCursor>,
    /// Print JSON, as the HTTP API does: `commands` and `next`, the cursor, null at the end
    #[arg(long)]
    json: bool,
}

impl CommandListArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { filter, cancel_requested, api, limit, cursor, json } = self;
        let request = ApiRequest::get(["commands"])
            .with_fields(&filter)
            .with_fields(&CommandListQuery { dead: false, cancel_requested })
            .with_fields(&PageQuery { limit: limit.into(), cursor });
        let page: CommandPage = ApiClient::open(&api, config)?.send_request(&request)?;
        if json {
            return Ok(out.json(&page)?);
        }
        print(&page, Timestamp::now(), out)
    }
}

fn print(page: &CommandPage, now: Timestamp, out: &mut TerminalOutput) -> Result<(), CommandError> {
    if page.commands.is_empty() {
        return Ok(out.line("no commands")?);
    }
    let mut table = TextTable::new([
        "AGE",
        "ID",
        "OPERATION",
        "STATE",
        "KIND",
        "CODE",
        "CALL",
        "REFERENCE",
        "MESSAGE",
    ]);
    for row in &page.commands {
        table.row(row_cells(row, now));
    }
    out.table(&table)?;
    if let Some(next) = &page.next {
        out.print_blank_line()?;
        out.line(format!("more: --cursor {next}"))?;
    }
    Ok(())
}

fn row_cells(row: &CommandRow, now: Timestamp) -> [String; 9] {
    let CommandRow { provider, operation, generation, attempt, .. } = row;
    let word =
        |name: &Option<Name>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let dead = if row.dead { " (dead)" } else { "" };
    let conflicts = if row.contradicted { " (conflict)" } else { "" };
    [
        row.updated_at.map_or_else(|| "?".to_owned(), |at| format_age(at, now)),
        row.id.to_string(),
        format!("{}.{}", word(provider), word(operation)),
        format!("{}{conflicts}", row.state.as_str()),
        row.kind.map(|kind| format!("{}{dead}", kind.as_str())).unwrap_or_default(),
        row.code.clone().unwrap_or_default(),
        format_step(Step::call(*generation, *attempt)),
        row.reference.clone().unwrap_or_default(),
        row.message.as_deref().unwrap_or_default().chars().take(MAX_MESSAGE).collect(),
    ]
}

#[cfg(test)]
#[path = "commands_tests.rs"]
mod tests;
