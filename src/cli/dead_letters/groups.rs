//! `ferryd dead-letters groups`.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use super::super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::super::error::CommandError;
use super::super::format::format_age;
use super::super::output::{TerminalOutput, TextTable};
use super::list::recorded;
use crate::web::dead_letters::DeadLetterGroups;
use ferryd_ledger::command_filter::CommandFilter;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters groups
  ferryd dead-letters groups --provider stripe --newer-than 2h
  ferryd dead-letters groups --json | jq '.[] | select(.count > 100)'

Those that failed alike, at the same operation with the same kind and code, are one line: how many,
the first, the last, and the newest as an example. Answered by the ledger.";

/// The arguments.
#[derive(Debug, Args)]
pub struct CountDeadLetters {
    #[command(flatten)]
    filter: CommandFilter,
    #[command(flatten)]
    api: ApiArguments,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CountDeadLetters {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let now = Timestamp::now();
        let request =
            ApiRequest::get(["dead-letters", "groups"]).with_fields(recorded(&self.filter)?);
        let DeadLetterGroups { groups } =
            ApiClient::open(&self.api, config)?.send_request(&request)?;
        if self.json {
            return Ok(out.json(&groups)?);
        }
        if groups.is_empty() {
            return Ok(out.line("no dead letters")?);
        }
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        let mut table =
            TextTable::new(["COUNT", "OPERATION", "KIND", "CODE", "FIRST", "LAST", "EXAMPLE"]);
        for group in &groups {
            table.row([
                group.count.to_string(),
                format!("{}.{}", word(&group.provider), word(&group.operation)),
                word(&group.kind),
                group.code.clone().unwrap_or_default(),
                format_age(group.first, now),
                format_age(group.last, now),
                group.example.to_string(),
            ]);
        }
        Ok(out.table(&table)?)
    }
}
