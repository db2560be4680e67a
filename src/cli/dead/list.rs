//! `ferryd dead list`.

use clap::Args;
use jiff::Timestamp;

use super::super::desk::Desk;
use super::super::error::CommandError;
use super::super::output::{Output, Table};
use super::super::wording::age;
use super::Which;
use crate::operator::dead::Listed;
use crate::operator::scan::scan;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead list
  ferryd dead list --provider stripe --kind unavailable --newer-than 2h
  ferryd dead list --json | jq -r '.[].command.id'

Looking changes nothing: every message stays in its queue, in its place. While the list is made,
a replay or discard running at the same time does not see what the list holds, and the list not
what they hold.";

/// The arguments.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let filter = self.which.filter();
        let queues = desk.dead_queues(filter.provider.as_ref())?;
        let mut found = Vec::new();
        desk.runtime.block_on(scan(&desk.operator, &queues, &filter, |dead| found.push(Listed::from(&dead))))?;
        if self.json {
            return Ok(out.json(&found)?);
        }
        if found.is_empty() {
            return Ok(out.line("no dead letters")?);
        }
        let now = Timestamp::now();
        let mut table = Table::new(["AGE", "ID", "OPERATION", "KIND", "CODE", "AT", "REFERENCE", "MESSAGE"]);
        for listed in &found {
            table.row(cells(listed, now));
        }
        out.table(&table)?;
        Ok(out.line(format!("\n{} in all", found.len()))?)
    }
}

fn cells(listed: &Listed, now: Timestamp) -> [String; 8] {
    let Listed { command, kind, code, message, generation, attempt, dead_lettered_at, .. } = listed;
    let word = |name: &Option<_>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let step = match (generation, attempt) {
        (Some(0), Some(attempt)) => format!("#{attempt}"),
        (Some(generation), Some(attempt)) => format!("g{generation}#{attempt}"),
        _ => "?".to_owned(),
    };
    [
        dead_lettered_at.map_or_else(|| "?".to_owned(), |at| age(at, now)),
        command.id.to_string(),
        format!("{}.{}", word(&command.provider), word(&command.operation)),
        (*kind).to_owned(),
        code.clone().unwrap_or_default(),
        step,
        command.reference.clone().unwrap_or_default(),
        message.as_deref().unwrap_or_default().chars().take(100).collect(),
    ]
}
