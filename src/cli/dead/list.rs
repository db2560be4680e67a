//! `ferryd dead list`.

use clap::Args;
use jiff::Timestamp;

use super::super::desk::Desk;
use super::super::error::CommandError;
use super::super::output::{Output, Table};
use super::super::wording::age;
use crate::ledger::command_filter::{CommandFilter, WantedKind};
use crate::ledger::index::MAX_PAGE;
use crate::operator::OperatorError;
use crate::operator::dead::Listed;
use crate::operator::queues::dead_queue;
use crate::operator::scan::{depths, scan};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead list
  ferryd dead list --provider stripe --kind unavailable --newer-than 2h
  ferryd dead list --json | jq -r '.[].command.id'

The oldest first. The ledger answers at once. With --queues the queues themselves are read; every
message stays there, in its place. While that list is made, a replay or discard running at the same
time does not see what the list holds, and the list not what they hold. Where the two do not agree,
the list says so: the queues also hold what is older than the ledger or can't be read, and the ledger
knows which of them have ended meanwhile.";

/// The arguments.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: CommandFilter,
    /// Read the queues instead of asking the ledger
    #[arg(long)]
    queues: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The filter that the ledger is asked with.
pub(super) fn ask_ledger(filter: &CommandFilter) -> Result<CommandFilter, CommandError> {
    if filter.kind == Some(WantedKind::Unreadable) {
        return Err(CommandError::OnlyInQueues);
    }
    Ok(CommandFilter { dead: true, ..filter.clone() })
}

impl List {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let by_queues = self.queues || self.filter.kind == Some(WantedKind::Unreadable);
        let (found, note) = if by_queues { (self.in_queues(desk)?, None) } else { self.in_ledger(desk)? };
        if self.json {
            return Ok(out.json(&found)?);
        }
        if found.is_empty() {
            out.line("no dead letters")?;
            return Ok(note.map_or(Ok(()), |note| out.line(note))?);
        }
        let now = Timestamp::now();
        let mut table = Table::new(["AGE", "ID", "OPERATION", "KIND", "CODE", "AT", "REFERENCE", "MESSAGE"]);
        for listed in &found {
            table.row(cells(listed, now));
        }
        out.table(&table)?;
        out.gap()?;
        out.line(format!("{} in all", found.len()))?;
        Ok(note.map_or(Ok(()), |note| out.line(note))?)
    }

    fn in_queues(&self, desk: &Desk) -> Result<Vec<Listed>, CommandError> {
        let filter = &self.filter;
        let mut found = Vec::new();
        desk.runtime.block_on(async {
            let queues = desk.find_dead_queues(filter.provider.as_ref()).await?;
            scan(&desk.operator, &queues, filter, |dead| found.push(Listed::from(&dead))).await?;
            Ok(found)
        })
    }

    /// What the ledger knows, and a word where the queues hold something else.
    fn in_ledger(&self, desk: &Desk) -> Result<(Vec<Listed>, Option<String>), CommandError> {
        let filter = ask_ledger(&self.filter)?;
        let names = &desk.operator.names;
        desk.runtime.block_on(async {
            let register = desk.register().await?;
            let queues = desk.dead_queues(None, Some(&register)).await?;
            let index = register.index().await;
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = index.list(&filter, after.as_ref(), MAX_PAGE).map_err(OperatorError::from)?;
                found.extend(page.rows.into_iter().map(|row| {
                    let queue = dead_queue(names, &queues, row.provider.as_ref());
                    Listed::of_row(row, queue)
                }));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let known = index.counts().map_err(OperatorError::from)?.dead;
            register.close().await;
            let there = depths(&desk.operator, &queues).await?;
            found.reverse();
            let note = (there != known).then(|| {
                format!(
                    "the queues hold {there} messages, the ledger knows of {known} dead letters; --queues reads the queues"
                )
            });
            Ok((found, note))
        })
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
