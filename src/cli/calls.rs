//! `ferryd calls`: shows the calls to a provider for a command, with their answers.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::api_client::{ApiArguments, ApiClient, ApiError, ApiRequest};
use super::error::CommandError;
use super::output::{TerminalOutput, print_error};
use super::status::unknown_command;
use crate::web::problem::ProblemKind;
use crate::web::responses::CommandCalls;
use ferryd_domain::command_id::CommandId;
use ferryd_redact::{MaskedHeaders, with_cut_note};
use ferryd_settings::units::{format_duration, parse_duration};
use ferryd_transport::call_log::{HttpCall, RequestSent};

const EXAMPLES: &str = "\
Examples:
  ferryd calls shop.order-1001.charge
  ferryd calls shop.order-1001.charge --attempt 2
  ferryd calls shop.order-1001.charge --since 7d --json | jq -r .response.body

Requests and answers are shown as they were recorded: masked, and long bodies cut. They are kept for
as long as the stream of calls keeps them. The newest appear within about a second. The ledger
knows when the command was called; for a command that it does not know, the last 24 h are searched.";

/// The time to search back for a command that the ledger does not know.
const LOOK_BACK: Duration = Duration::from_hours(24);

/// The arguments of `ferryd calls`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CallArguments {
    /// The command's id
    #[arg(value_name = "ID")]
    id: CommandId,
    #[command(flatten)]
    api: ApiArguments,
    /// Only the calls of this number
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Search this much time, whatever the ledger knows of the command
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl CallArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let client = ApiClient::open(&self.api, config)?;
        let unknown = match self.find(&client, self.since) {
            Ok(found) => return self.show(&found, self.since, out),
            Err(error) => error.into_problem(ProblemKind::UnknownCommand)?,
        };
        if self.since.is_some() {
            return Err(unknown_command(&self.id, unknown));
        }
        // The stream may still hold calls of commands that the ledger has pruned.
        match self.find(&client, Some(LOOK_BACK)) {
            Ok(found) => self.show(&found, Some(LOOK_BACK), out),
            Err(error) => {
                Err(unknown_command(&self.id, error.into_problem(ProblemKind::UnknownCommand)?))
            }
        }
    }

    /// Requests the calls within the last `since`, or else at the times that the ledger records.
    fn find(&self, client: &ApiClient, since: Option<Duration>) -> Result<CommandCalls, ApiError> {
        let from =
            since.map(|since| Timestamp::now().checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH));
        client.send_request(
            &ApiRequest::get(["commands", self.id.as_str(), "calls"]).with("since", from),
        )
    }

    fn show(
        &self,
        found: &CommandCalls,
        since: Option<Duration>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let CommandCalls { calls: http_calls, complete, .. } = found;
        if !complete {
            print_error("too much to search; there may be more; give a shorter --since");
        }
        let wanted =
            |call: &&HttpCall<'_>| self.attempt.is_none_or(|attempt| call.attempt == attempt);
        let wanted: Vec<_> = http_calls.iter().filter(wanted).collect();
        if wanted.is_empty() {
            return Err(self.print_none(found, since));
        }
        for (index, call) in wanted.into_iter().enumerate() {
            if !self.json && index > 0 {
                out.print_blank_line()?;
            }
            if self.json {
                out.json_line(call)?;
            } else {
                print(call, out)?;
            }
        }
        Ok(())
    }

    fn print_none(&self, found: &CommandCalls, since: Option<Duration>) -> CommandError {
        let id = &self.id;
        if found.erased {
            return CommandError::Refused(format!("the contents of command `{id}` were erased"));
        }
        if !found.called {
            return CommandError::Refused(format!(
                "no call was made of command `{id}` yet; see `ferryd status {id}`"
            ));
        }
        let calls = self
            .attempt
            .map_or_else(|| "calls".to_owned(), |attempt| format!("calls number {attempt}"));
        let place = match since {
            Some(since) => format!("within the last {}", format_duration(since)),
            None => "at the times in the ledger".to_owned(),
        };
        CommandError::Refused(format!(
            "no {calls} of command `{id}` are recorded {place}; look further back with `--since`"
        ))
    }
}

/// Prints a call for people: a heading, then the request behind `>`, then the answer behind `<`.
fn print(call: &HttpCall<'_>, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let HttpCall { request, response, error, .. } = call;
    out.heading(&heading(call))?;
    out.line(format!("> {} {}", request.method.as_str(), request.url))?;
    print_part(
        '>',
        &request.headers,
        request.body.as_deref().map(|body| (body, request.body_cut)),
        out,
    )?;
    if let Some(response) = response {
        out.line(format!("< {}", response.status))?;
        let none = MaskedHeaders::default();
        let headers = response.headers.as_ref().unwrap_or(&none);
        print_part(
            '<',
            headers,
            response.body.as_deref().map(|body| (body, response.body_cut)),
            out,
        )?;
    }
    if response.is_none() && error.is_none() {
        // A message has no other answer.
        out.line("< acknowledged")?;
    }
    if let Some(error) = error {
        let code = error.code.as_deref().map(|code| format!("{code}: ")).unwrap_or_default();
        out.line(format!("! {code}{}", error.message))?;
    }
    Ok(())
}

/// Describes the call: number, time, operation, host, duration, and whether it reached the
/// provider.
fn heading(call: &HttpCall<'_>) -> String {
    let HttpCall { at, provider, operation, generation, attempt, host, sent, duration_ms, .. } =
        call;
    let step =
        if *generation == 0 { format!("#{attempt}") } else { format!("g{generation}#{attempt}") };
    let sent = match sent {
        RequestSent::No => ", not sent",
        RequestSent::Maybe => ", perhaps sent",
        RequestSent::Yes => "",
    };
    format!("{step}  {at:.3}  {provider}.{operation}  {duration_ms} ms{sent}, by {host}")
}

/// Prints headers and body of a request or answer.
fn print_part(
    mark: char,
    headers: &MaskedHeaders<'_>,
    body: Option<(&str, usize)>,
    out: &mut TerminalOutput,
) -> Result<(), CommandError> {
    for (name, value) in headers.iter() {
        out.line(format!("{mark} {name}: {value}"))?;
    }
    let Some((body, cut)) = body.filter(|(body, _)| !body.is_empty()) else { return Ok(()) };
    out.line(mark.to_string())?;
    for line in pretty_body(body, cut).lines() {
        out.line(format!("{mark} {line}").trim_end())?;
    }
    Ok(())
}

/// Formats a body over several lines where it is JSON.
fn pretty_body(body: &str, cut: usize) -> String {
    let json = serde_json::from_str::<Value>(body)
        .ok()
        .filter(|json| cut == 0 && (json.is_object() || json.is_array()));
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    pretty.unwrap_or_else(|| with_cut_note(body, cut).into_owned())
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
