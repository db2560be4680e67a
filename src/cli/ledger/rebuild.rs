//! `ferryd ledger rebuild`.

use clap::Args;
use serde_json::json;

use super::super::context::CliContext;
use super::super::error::CommandError;
use super::super::output::TerminalOutput;
use super::super::progress::ProgressCounter;
use crate::operator::index_owner::{IndexOwner, IndexPlace, LedgerRead};
use crate::operator::{OperatorContext, OperatorError};
use ferryd_broker::connection::say_goodbye;
use ferryd_ledger::index::{CommandCounts, LedgerIndex};

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd ledger rebuild
  ferryd ledger rebuild --json | jq .commands

It deletes the index and reads the whole stream into a new one. It needs the index for itself: stop the
daemon on this host first. There is seldom a need: a missing or damaged index is made anew by itself.";

/// The arguments of `ferryd ledger rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArguments {
    /// Print JSON: `index` (the file), `commands`, `records`, `unreadable` (how many)
    #[arg(long)]
    json: bool,
}

impl RebuildArguments {
    pub(super) fn run(
        self,
        context: &CliContext,
        place: &IndexPlace,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let key = context.operator.names.ledger_key(&context.operator.amqp.first_address());
        let taken = LedgerIndex::open_first(&place.dir, &key).map_err(OperatorError::from)?;
        let Some(index) = taken else {
            let holder = LedgerIndex::holder(&place.dir, &key)
                .map(|pid| format!(", process {pid}"))
                .unwrap_or_default();
            return Err(CommandError::Refused(format!(
                "another ferryd on this host{holder} has the index in {}; stop it first",
                place.dir.display()
            )));
        };
        let path = index.path().display().to_string();
        let mut progress = ProgressCounter::new("messages of the ledger read", None);
        let rebuilding = rebuild(&context.operator, place, index, |read| {
            progress.show_progress_of(read.done, read.total);
        });
        let (counts, records) = context.runtime.block_on(rebuilding)?;
        drop(progress);
        let (commands, unreadable) = (counts.states.values().sum::<u64>(), counts.unreadable);
        if self.json {
            let json = json!({ "index": path, "commands": commands, "records": records, "unreadable": unreadable });
            return Ok(out.json(&json)?);
        }
        out.line(format!("{path}: {commands} commands of {records} records"))?;
        if unreadable > 0 {
            out.line(format!("{unreadable} lines of the ledger could not be read"))?;
        }
        Ok(())
    }
}

async fn rebuild(
    operator: &OperatorContext,
    place: &IndexPlace,
    index: LedgerIndex,
    mut progress: impl FnMut(LedgerRead),
) -> Result<(CommandCounts, u64), OperatorError> {
    // Connects before anything is deleted, so that the old index remains where the broker is
    // unreachable.
    let connection = operator.amqp.connect("operator-ledger").await?;
    say_goodbye(&connection).await;
    index.clear()?;
    let owner = IndexOwner::start(operator, place, index, &mut progress).await?;
    owner.ledger().flush().await;
    let (counts, records) = (owner.ledger().index().counts(), owner.ledger().progress().records);
    owner.close().await;
    Ok((counts?, records))
}
