//! `ferryd cancel`: cancels a command that was not sent yet.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::actor;
use super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::error::CommandError;
use super::exit_status::ExitStatus;
use super::output::TerminalOutput;
use crate::web::problem::ProblemKind;
use crate::web::responses::{CancelOutcome, CancelledCommand};
use ferryd_domain::command_id::{CommandId, PublishedCommandId};
use ferryd_domain::ledger::ruling::TooLate;

const EXAMPLES: &str = "\
Examples:
  ferryd cancel shop.order-1001.charge --reason 'order withdrawn'
  ferryd cancel shop.order-1001.charge --json | jq -r .outcome

ferryd decides by the order of the ledger: a command of which no call was made ends as `failed`, kind
`cancelled`, for good. One that is not known yet is noted, and cancelled when it comes. The record names
the person and the token: `ann via api:host`.

Ends with 1 where it is too late, and with 4 where no ferryd runs, and then nothing has changed; with 5
where the broker did not confirm it in time, and then it may be cancelled all the same.";

/// The arguments of `ferryd cancel`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CancelArguments {
    /// The command's id
    #[arg(value_name = "ID")]
    id: PublishedCommandId,
    #[command(flatten)]
    api: ApiArguments,
    /// The person who cancels [default: $USER, or the user who runs this]
    #[arg(long, value_name = "NAME", value_parser = actor::text)]
    by: Option<String>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: Option<String>,
    /// Print JSON: `id`, `outcome` (cancelled, noted, `too_late`), `reason`
    #[arg(long)]
    json: bool,
}

/// A command that can't be cancelled any more, as JSON.
#[derive(Serialize)]
struct LateCancel<'a> {
    id: &'a CommandId,
    outcome: &'static str,
    reason: Option<TooLate>,
}

impl CancelArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { id, api, by, reason, json } = self;
        let id = CommandId::from(id);
        let by = Some(by.unwrap_or_else(actor::user));
        let request =
            ApiRequest::delete(["commands", id.as_str()]).with("by", by).with("reason", reason);
        match ApiClient::open(&api, config)?.send_request::<CancelledCommand>(&request) {
            Ok(cancelled) if json => Ok(out.json(&cancelled)?),
            Ok(cancelled) => Ok(out.line(sentence(&cancelled))?),
            Err(error) => {
                let problem = error.into_problem(ProblemKind::TooLate)?;
                let reason =
                    problem.reason.and_then(|word| serde_json::from_value(word.into()).ok());
                if json {
                    out.json(&LateCancel { id: &id, outcome: "too_late", reason })?;
                    return Err(CommandError::Reported(ExitStatus::Failed));
                }
                let why = reason.map_or(problem.detail, |reason: TooLate| reason.to_string());
                Err(CommandError::Refused(format!("it is too late to cancel `{id}`: {why}")))
            }
        }
    }
}

fn sentence(CancelledCommand { id, outcome }: &CancelledCommand) -> String {
    match outcome {
        CancelOutcome::Cancelled => format!("{id} is cancelled"),
        CancelOutcome::Noted => {
            format!("{id} is not known yet; it will be cancelled when it comes")
        }
    }
}
