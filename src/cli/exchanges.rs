//! `ferryd exchanges`: what was said to a provider about a command, and what it answered.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::desk::Desk;
use super::error::CommandError;
use super::output::{Output, complain};
use crate::config::human::{format_duration, parse_duration};
use crate::domain::command_id::CommandId;
use crate::domain::ledger::case::Case;
use crate::ledger::exchanges::{Found, Window, find, find_on, spans};
use crate::ledger::index::NotedCalls;
use crate::operator::register::Register;
use crate::operator::{Operator, OperatorError};
use crate::redact::{Headers, told};
use crate::transport::exchange_log::{Exchange, Sent};

const EXAMPLES: &str = "\
Examples:
  ferryd exchanges shop.order-1001.charge
  ferryd exchanges shop.order-1001.charge --attempt 2
  ferryd exchanges shop.order-1001.charge --since 7d --json | jq -r .response.body

Requests and answers are shown as they were recorded: masked, and long bodies cut. They are kept for
as long as the stream of exchanges keeps them. The newest appear within about a second. The ledger tells
when the command was called; of one that it does not know, the last 24 h are searched.";

/// How far to look back for a command that the ledger does not know.
const LOOK_BACK: Duration = Duration::from_hours(24);

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Exchanges {
    /// The command's id
    #[arg(value_name = "ID")]
    id: CommandId,
    /// Only the calls of this number
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Look through this much time, whatever the ledger knows of the command
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    since: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

impl Exchanges {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let found = desk.runtime.block_on(async {
            // Without the ledger nobody can tell whether the command was erased.
            let register = desk.register().await?;
            let found = self.find_known(&desk, &register).await;
            register.close().await;
            found
        });
        self.show(&found?, out)
    }

    /// Searches where and when the ledger says that the command was called: over the register's connection where it has one, for
    /// most of the time goes into connecting.
    async fn find_known(&self, desk: &Desk, register: &Register) -> Result<Found<Exchange<'static>>, CommandError> {
        let (windows, noted) = self.place(register).await?;
        let Operator { amqp, names } = &desk.operator;
        let (stream, noted) = (names.exchanges(), noted.as_ref());
        let found = match register.connection() {
            Some(connection) => find_on(connection, &stream, &self.id, &windows, noted).await,
            None => find(amqp, &stream, &self.id, &windows, noted).await,
        };
        Ok(found.map_err(OperatorError::from)?)
    }

    /// When the command may have been called, and where the index says that its calls are.
    async fn place(&self, register: &Register) -> Result<(Vec<Window>, Option<NotedCalls>), CommandError> {
        let windows = self.windows(register.case(&self.id)?.as_deref())?;
        let noted = register.index().await.noted_calls(&self.id, &spans(&windows)).map_err(OperatorError::from)?;
        Ok((windows, noted))
    }

    /// When the command may have been called.
    fn windows(&self, known: Option<&Case>) -> Result<Vec<Window>, CommandError> {
        let now = Timestamp::now();
        if known.is_some_and(Case::is_erased) {
            return Err(CommandError::Refused(format!("the contents of command `{}` were erased", self.id)));
        }
        if let Some(since) = self.since {
            return Ok(look_back(since, now));
        }
        match known.map(|case| Window::of_calls(case, now)) {
            Some(calls) if calls.is_empty() => Err(CommandError::Refused(format!(
                "no call was made of command `{0}` yet; see `ferryd status {0}`",
                self.id
            ))),
            Some(calls) => Ok(calls),
            None => Ok(look_back(LOOK_BACK, now)),
        }
    }

    fn show(
        &self,
        Found { exchanges, complete }: &Found<Exchange<'static>>,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        if !complete {
            complain("too much to search; there may be more; give a shorter --since");
        }
        let wanted = |exchange: &&Exchange<'_>| self.attempt.is_none_or(|attempt| exchange.attempt == attempt);
        let wanted: Vec<_> = exchanges.iter().filter(wanted).collect();
        if wanted.is_empty() {
            return Err(self.none());
        }
        for (index, exchange) in wanted.into_iter().enumerate() {
            if !self.json && index > 0 {
                out.gap()?;
            }
            if self.json {
                out.json_line(exchange)?;
            } else {
                print(exchange, out)?;
            }
        }
        Ok(())
    }

    fn none(&self) -> CommandError {
        let calls = self.attempt.map_or_else(|| "calls".to_owned(), |attempt| format!("calls number {attempt}"));
        let age = format_duration(self.since.unwrap_or(LOOK_BACK));
        CommandError::Refused(format!(
            "no {calls} of command `{}` are recorded at the times the ledger tells, or within the last {age}; look back \
             further with `--since`",
            self.id
        ))
    }
}

/// The last so much time.
fn look_back(since: Duration, now: Timestamp) -> Vec<Window> {
    let from = now.checked_sub(since).unwrap_or(Timestamp::UNIX_EPOCH);
    vec![Window { from, to: now }]
}

/// An exchange for people: a heading, then the request behind `>`, then the answer behind `<`.
fn print(exchange: &Exchange<'_>, out: &mut Output) -> Result<(), CommandError> {
    let Exchange { request, response, error, .. } = exchange;
    out.heading(&heading(exchange))?;
    out.line(format!("> {} {}", request.method.as_str(), request.url))?;
    part('>', &request.headers, request.body.as_deref().map(|body| (body, request.body_cut)), out)?;
    if let Some(response) = response {
        out.line(format!("< {}", response.status))?;
        let none = Headers::default();
        let headers = response.headers.as_ref().unwrap_or(&none);
        part('<', headers, response.body.as_deref().map(|body| (body, response.body_cut)), out)?;
    }
    if let Some(error) = error {
        let code = error.code.as_deref().map(|code| format!("{code}: ")).unwrap_or_default();
        out.line(format!("! {code}{}", error.message))?;
    }
    Ok(())
}

/// Which call it was, when, of what, by whom, how long it took, and whether it reached the provider.
fn heading(exchange: &Exchange<'_>) -> String {
    let Exchange { at, provider, operation, generation, attempt, host, sent, duration_ms, .. } = exchange;
    let step = if *generation == 0 { format!("#{attempt}") } else { format!("g{generation}#{attempt}") };
    let sent = match sent {
        Sent::No => ", not sent",
        Sent::Maybe => ", perhaps sent",
        Sent::Yes => "",
    };
    format!("{step}  {at:.3}  {provider}.{operation}  {duration_ms} ms{sent}, by {host}")
}

/// Headers and body of a request or answer.
fn part(mark: char, headers: &Headers<'_>, body: Option<(&str, usize)>, out: &mut Output) -> Result<(), CommandError> {
    for (name, value) in headers.iter() {
        out.line(format!("{mark} {name}: {value}"))?;
    }
    let Some((body, cut)) = body.filter(|(body, _)| !body.is_empty()) else { return Ok(()) };
    out.line(mark.to_string())?;
    for line in pretty(body, cut).lines() {
        out.line(format!("{mark} {line}").trim_end())?;
    }
    Ok(())
}

/// A body over several lines where it is JSON.
fn pretty(body: &str, cut: usize) -> String {
    let json =
        serde_json::from_str::<Value>(body).ok().filter(|json| cut == 0 && (json.is_object() || json.is_array()));
    let pretty = json.and_then(|json| serde_json::to_string_pretty(&json).ok());
    pretty.unwrap_or_else(|| told(body, cut).into_owned())
}

#[cfg(test)]
#[path = "exchanges_tests.rs"]
mod tests;
