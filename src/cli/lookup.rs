//! `ferryd lookup`: queries providers for the outcome of commands that wait, or whose outcome is
//! unknown.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::actor;
use super::api_client::{ApiClient, ApiRequest};
use super::error::CommandError;
use super::event_line::event_line;
use super::jobs::start::{JobArguments, letter_choice};
use super::output::TerminalOutput;
use super::status::{find_story, unknown_command};
use crate::web::dead_letters::MESSAGE_PATIENCE;
use crate::web::job_order::{JobActionName, JobOrder};
use crate::web::lookup::LookupReceipt;
use crate::web::problem::ProblemKind;
use crate::web::responses::CommandStory;
use ferryd_domain::command_id::CommandId;
use ferryd_ledger::command_filter::CommandFilter;
use ferryd_ledger::index::CommandRow;
use ferryd_settings::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  ferryd lookup shop.order-1001.charge
  ferryd lookup shop.order-1001.charge --wait 2m --json | jq -r .data.state
  ferryd lookup --provider stripe --kind unresolved --rate 5

The daemon asks the provider, by the operation's `lookup`, about a command that waits or is a dead letter.
An outcome that it finds ends the command, and closes its dead letter. Where the provider still works on the
command, or does not know it, all stays as it is: replay a dead letter that the provider does not know.
`ferryd calls ID` shows the requests and the answers.

For one command, ferryd waits for the answer. Ends with 0 where the answer ends the command, with 5
where it does not or none comes in time, and with 1 where there is nothing to query. A filter, or
several ids, select dead letters: the daemon runs their lookup as a job, which is followed to its end,
and `--wait` does not apply.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = letter_choice())]
pub struct LookupArguments {
    #[command(flatten)]
    filter: CommandFilter,
    /// The longest wait for the answer about one command; `0s` does not wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    wait: Duration,
    #[command(flatten)]
    job: JobArguments,
    /// The person who requests the lookup [default: $USER, or the user who runs this]
    #[arg(long, value_name = "NAME", value_parser = actor::text)]
    by: Option<String>,
    /// The reason
    #[arg(long, value_name = "TEXT", value_parser = actor::text)]
    reason: Option<String>,
}

/// The lookup of one command.
struct CommandLookup {
    id: CommandId,
    client: ApiClient,
    wait: Duration,
    json: bool,
}

/// The pause between two requests about a command.
const ASK_EVERY: Duration = Duration::from_millis(250);

impl LookupArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let Self { filter, wait, job, by, reason } = self;
        if let ([id], false) = (filter.ids.as_slice(), job.wants_job())
            && filter == (CommandFilter { ids: vec![id.clone()], ..CommandFilter::default() })
        {
            let client = ApiClient::open(&job.api, config)?;
            return CommandLookup { id: id.clone(), client, wait, json: job.json }.run(out);
        }
        let order = JobOrder::new(JobActionName::Lookup, filter);
        job.run(JobOrder { by: Some(by.unwrap_or_else(actor::user)), reason, ..order }, config, out)
    }
}

impl CommandLookup {
    fn run(&self, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let before = find_story(&self.client, &self.id)?;
        let request = ApiRequest::post(["commands", self.id.as_str(), "lookup"])
            .with_timeout(2 * MESSAGE_PATIENCE);
        let receipt = self.client.send_request::<LookupReceipt>(&request);
        receipt.or_else(|error| {
            Err(unknown_command(&self.id, error.into_problem(ProblemKind::UnknownCommand)?))
        })?;
        if self.wait.is_zero() {
            return if self.json {
                Ok(out.json(&json!({ "id": self.id, "asked": true }))?)
            } else {
                Ok(out.line(format!(
                    "{} is being looked up; see `ferryd status {}`",
                    self.id, self.id
                ))?)
            };
        }
        let story = self.await_answer(&before)?;
        match story.event.filter(|_| is_ended(&before.row, &story.row)) {
            Some(event) if self.json => Ok(out.json(&event)?),
            Some(event) => Ok(out.styled(&event_line(&event))?),
            None => {
                let detail = story.queries.last().and_then(|query| query.detail.clone());
                let answer = detail.unwrap_or_else(|| "still works on it".to_owned());
                Err(CommandError::StillOpen { id: self.id.to_string(), answer })
            }
        }
    }

    /// Waits until the command has ended or its provider has answered, and returns its story.
    fn await_answer(&self, before: &CommandStory) -> Result<CommandStory, CommandError> {
        let began = Instant::now();
        loop {
            let story = find_story(&self.client, &self.id)?;
            if is_ended(&before.row, &story.row) || story.queries != before.queries {
                return Ok(story);
            }
            if began.elapsed() >= self.wait {
                return Err(CommandError::NotEnded {
                    count: 1,
                    some: self.id.to_string(),
                    after: self.wait,
                });
            }
            sleep(ASK_EVERY);
        }
    }
}

/// Returns true if a command has ended since the lookup was requested. A dead letter does not count
/// as ended again while it stays one.
fn is_ended(before: &CommandRow, now: &CommandRow) -> bool {
    now.state.is_terminal() && !(before.dead && now.dead)
}
