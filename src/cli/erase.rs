//! `ferryd erase`: the contents of commands that have ended leave the ledger's index, at a person's request.

use std::path::Path;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::desk::Desk;
use super::error::CommandError;
use super::exit::Exit;
use super::output::{Output, Table};
use super::person;
use super::progress::Progress;
use crate::domain::command_id::CommandId;
use crate::domain::ledger::record::Person;
use crate::ledger::command_filter::CommandFilter;
use crate::ledger::index::{Index, IndexError, MAX_PAGE};
use crate::operator::OperatorError;
use crate::operator::erase::{CommandEraser, ErasureOutcome, ErasureResult};
use crate::operator::register::Register;

const EXAMPLES: &str = "\
Examples:
  ferryd erase --reference order-1001 --by ann --reason 'request 4711' --dry-run
  ferryd erase --reference order-1001 --by ann --reason 'request 4711'
  ferryd erase --id shop.order-1001.charge --id shop.order-1001.refund --by ann --reason 'request 4711'

Results, references, metadata and texts of commands that have ended leave the index, `ferryd status`, `ferryd
exchanges` and the HTTP API at once, and stay out of an index that is made anew. Ids and digests stay for
`ledger.duplicate_window`, so that a copy is told from a new command and nothing is charged again. What the
broker's streams still hold ages out: see \"Erasing personal data\" in docs/OPERATIONS.md. The reason is kept:
write no personal data into it.

A command that goes on, or lies among the dead letters, is named and stays; so it may be said again. Ends with 1
where some stay, or none is known.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("which").args(["reference", "id"]).required(true))]
pub struct EraseArguments {
    /// Every command with this reference
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reference: Option<String>,
    /// A command, and what was refused under its id; may be given several times
    #[arg(long, value_name = "ID")]
    id: Vec<CommandId>,
    /// The person who has it erased
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = person::text)]
    by: String,
    /// Why; it is kept, so name a request and no person
    #[arg(long, value_name = "TEXT", value_parser = person::text)]
    reason: String,
    /// Change nothing, only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `commands`, each with `id`, `state`, `outcome` (erased, `already_erased`, kept), `reason`
    #[arg(long)]
    json: bool,
}

/// All of it, for programs.
#[derive(Serialize)]
struct ErasureReport {
    dry_run: bool,
    commands: Vec<ErasureResult>,
}

impl EraseArguments {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let commands = desk.runtime.block_on(async {
            let mut register = desk.register().await?;
            let erased = self.erase(&desk, &mut register).await;
            register.close().await;
            erased
        })?;
        let is_whole = commands.iter().all(|result| result.outcome != ErasureOutcome::Kept);
        let report = ErasureReport { dry_run: self.dry_run, commands };
        if self.json {
            out.json(&report)?;
        } else {
            report.print(out)?;
        }
        if is_whole { Ok(()) } else { Err(CommandError::Told(Exit::Failed)) }
    }

    async fn erase(&self, desk: &Desk, register: &mut Register) -> Result<Vec<ErasureResult>, CommandError> {
        let ids = match &self.reference {
            Some(reference) => called(register.index().await, reference).map_err(OperatorError::from)?,
            None => named(register.index().await, &self.id).map_err(OperatorError::from)?,
        };
        if let (Some(reference), true) = (&self.reference, ids.is_empty()) {
            return Err(CommandError::Refused(format!(
                "the ledger knows no command with the reference `{reference}`; one that was erased has none any more"
            )));
        }
        let queues = desk.dead_queues(None, Some(register)).await?;
        let mut progress = Progress::new("commands erased", Some(ids.len() as u64));
        let person = Person { by: self.by.clone(), reason: Some(self.reason.clone()) };
        let (operator, queues, dry_run) = (&desk.operator, queues.as_slice(), self.dry_run);
        if !dry_run {
            // Nobody reads the erasures into them. First, so that where it is refused nothing has happened yet.
            let key = operator.names.ledger_key(&operator.amqp.first_address());
            Index::delete_unused(&desk.ledger()?.dir, &key).map_err(OperatorError::from)?;
        }
        let mut eraser = CommandEraser { operator, ledger: register, queues, person, dry_run };
        Ok(eraser.erase(&ids, |done| progress.tell(done)).await?)
    }
}

/// These commands, and the messages that were refused under their ids. Where there is nothing but those, they are meant.
fn named(index: &Index, ids: &[CommandId]) -> Result<Vec<CommandId>, IndexError> {
    let mut named = Vec::new();
    for id in ids {
        let refused = if id.is_refused() { Vec::new() } else { index.refused_under(id, u32::MAX)? };
        if refused.is_empty() || index.case(id)?.is_some() {
            named.push(id.clone());
        }
        named.extend(refused);
    }
    Ok(named)
}

/// The commands with a reference, the oldest first.
fn called(index: &Index, reference: &str) -> Result<Vec<CommandId>, IndexError> {
    let filter = CommandFilter { reference: Some(reference.to_owned()), ..CommandFilter::default() };
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = index.list(&filter, after.as_ref(), MAX_PAGE)?;
        ids.extend(page.rows.into_iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            ids.reverse();
            return Ok(ids);
        }
    }
}

impl ErasureReport {
    fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        let mut table = Table::new(["ID", "STATE", "ERASED", "WHY NOT"]);
        for ErasureResult { id, state, outcome, reason } in &self.commands {
            let word = match (outcome, self.dry_run) {
                (ErasureOutcome::Erased, false) => "yes",
                (ErasureOutcome::Erased, true) => "would be",
                (ErasureOutcome::AlreadyErased, _) => "before",
                (ErasureOutcome::Kept, _) => "no",
            };
            let state = state.map_or("-", |state| state.as_str());
            table.row([id.as_str(), state, word, reason.as_deref().unwrap_or_default()]);
        }
        out.table(&table)?;
        if !self.dry_run && self.commands.iter().any(|result| result.outcome == ErasureOutcome::Erased) {
            out.gap()?;
            out.line("what the broker's streams still hold ages out: see `ferryd check` for how long that takes")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "erase_tests.rs"]
mod tests;
