//! `ferryd erase`: erases the contents of commands that have ended from the ledger's index, at a
//! person's request.

use std::path::Path;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};

use super::actor;
use super::api_client::{ApiArguments, ApiClient, ApiError, ApiRequest};
use super::error::CommandError;
use super::exit_status::ExitStatus;
use super::output::{TerminalOutput, TextTable};
use crate::operator::erase::{ErasureOutcome, ErasureResult};
use crate::web::problem::ProblemKind;
use crate::web::responses::ErasureReport;
use ferryd_domain::command_id::CommandId;

const EXAMPLES: &str = "\
Examples:
  ferryd erase --reference order-1001 --by ann --reason 'request 4711' --dry-run
  ferryd erase --reference order-1001 --by ann --reason 'request 4711'
  ferryd erase --id shop.order-1001.charge --id shop.order-1001.refund --by ann --reason 'request 4711'

Results, references, metadata and texts of commands that have ended leave the index, `ferryd status`, `ferryd
calls` and the HTTP API at once, and stay out of an index that is made anew. Ids and digests stay for
`ledger.duplicate_window`, so that a copy is distinguished from a new command and nothing is charged again. What the
broker's streams still hold ages out: see docs/how-to/erase-personal-data.md. The reason is kept:
write no personal data into it.

It asks the daemon, with a token of the role erase in FERRYD_TOKEN: that of the host does not have it. The
record names the person and the token: `ann via api:privacy`.

A command that has not ended, or is a dead letter, is named and keeps its contents: repeat the erasure later.
Ends with 1 where some keep them, or none is known.";

/// The arguments of `ferryd erase`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("which").args(["reference", "id"]).required(true))]
pub struct EraseArguments {
    /// Every command with this reference
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    reference: Option<String>,
    /// A command, and the messages refused under its id; may be given several times
    #[arg(long, value_name = "ID")]
    id: Vec<CommandId>,
    #[command(flatten)]
    api: ApiArguments,
    /// The person who requests the erasure
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, value_parser = actor::text)]
    by: String,
    /// The reason; it is kept, so name a request and no person
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: String,
    /// Change nothing, only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: `commands`, each with `id`, `state`, `outcome` (erased, `already_erased`, kept),
    /// `reason`
    #[arg(long)]
    json: bool,
}

/// The longest time for the answer, which exceeds the daemon's own limit.
const TIMEOUT: Duration = Duration::from_secs(75);

impl EraseArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { reference, id, api, by, reason, dry_run, json } = self;
        let request =
            ApiRequest::post(["erasures"]).with("by", Some(by)).with("reason", Some(reason));
        let request = request
            .with("dry_run", Some(dry_run))
            .with("reference", reference.as_ref())
            .with_timeout(TIMEOUT);
        let request =
            if id.is_empty() { request } else { request.with("ids", Some(list_ids(&id))) };
        let report: ErasureReport =
            ApiClient::open(&api, config)?.send_request(&request).map_err(explain)?;
        if let (Some(reference), true) = (reference, report.commands.is_empty()) {
            return Err(CommandError::Refused(format!(
                "the ledger knows no command with the reference `{reference}`; one that was erased has none any more"
            )));
        }
        let is_whole = report.commands.iter().all(|result| result.outcome != ErasureOutcome::Kept);
        if json {
            out.json(&report)?;
        } else {
            print(&report, out)?;
        }
        if is_whole { Ok(()) } else { Err(CommandError::Reported(ExitStatus::Failed)) }
    }
}

/// Adds to the error what to configure, where the token may not erase.
fn explain(error: ApiError) -> CommandError {
    match error.into_problem(ProblemKind::Forbidden) {
        Ok(problem) => CommandError::Refused(format!(
            "{}: configure one in `api.tokens`, with `role = \"erase\"`, and give it in FERRYD_TOKEN",
            problem.detail
        )),
        Err(other) => other.into(),
    }
}

fn list_ids(ids: &[CommandId]) -> String {
    ids.iter().map(CommandId::as_str).collect::<Vec<_>>().join(",")
}

fn print(report: &ErasureReport, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let mut table = TextTable::new(["ID", "STATE", "ERASED", "WHY NOT"]);
    for ErasureResult { id, state, outcome, reason } in &report.commands {
        let word = match (outcome, report.dry_run) {
            (ErasureOutcome::Erased, false) => "yes",
            (ErasureOutcome::Erased, true) => "would be",
            (ErasureOutcome::AlreadyErased, _) => "before",
            (ErasureOutcome::Kept, _) => "no",
        };
        let state = state.map_or("-", |state| state.as_str());
        table.row([id.as_str(), state, word, reason.as_deref().unwrap_or_default()]);
    }
    out.table(&table)?;
    if !report.dry_run
        && report.commands.iter().any(|result| result.outcome == ErasureOutcome::Erased)
    {
        out.print_blank_line()?;
        out.line("what the broker's streams still hold ages out: see `ferryd check` for how long that takes")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "erase_tests.rs"]
mod tests;
