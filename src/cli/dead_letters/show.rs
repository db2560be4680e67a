//! `ferryd dead-letters show`.

use std::path::Path;

use clap::Args;

use super::super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::super::context::CliContext;
use super::super::error::CommandError;
use super::super::output::{TerminalOutput, TextTable};
use crate::operator::scan::find_messages;
use crate::web::dead_letters::{
    DeadLetterQuery, DeadLetterView, DeadLetters, DeadMessage, MESSAGE_PATIENCE,
};
use crate::web::problem::ProblemKind;
use ferryd_domain::command_id::CommandId;
use ferryd_domain::dead_letter::DeadLetter;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead-letters show shop.order-1001.charge
  ferryd dead-letters show shop.order-1001.charge --message --json | jq '.[0].message.body.payload'
  ferryd dead-letters show shop.order-1001.charge --queues

The daemon answers at once: why it was given up, and every call that was made. The message itself is in
its queue, from which --message reads it, with a token of the role operate. Its body and
properties are shown as the core application published them, nothing masked. Secrets of providers are
never part of a dead letter. Messages that were refused under the id are shown too: they do not claim
it, and have ids of their own. --queues reads the queues without a daemon, as `ferryd dead-letters list
--queues` does.";

/// The arguments.
#[derive(Debug, Args)]
pub struct ShowDeadLetter {
    /// The command's id
    id: CommandId,
    /// Show the message itself too, body and properties, from its queue
    #[arg(long)]
    message: bool,
    /// Read the queues at the broker; needs no daemon
    #[arg(long, conflicts_with_all = ["url", "allow_plaintext"])]
    queues: bool,
    #[command(flatten)]
    api: ApiArguments,
    /// Print JSON: a list, because there can be more than one message of a command: `queue`,
    /// `record`, and with --message or --queues `message`: `properties`, `body`
    #[arg(long)]
    json: bool,
}

impl ShowDeadLetter {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let letters =
            if self.queues { self.find_in_queues(config)? } else { self.ask_daemon(config)? };
        if self.json {
            return Ok(out.json(&letters)?);
        }
        for (index, letter) in letters.iter().enumerate() {
            if index > 0 {
                out.print_blank_line()?;
            }
            self.print(letter, out)?;
        }
        if self.message || self.queues {
            return Ok(());
        }
        out.print_blank_line()?;
        Ok(out.line("the message itself, with its body: add --message")?)
    }

    fn ask_daemon(&self, config: Option<&Path>) -> Result<Vec<DeadLetterView>, CommandError> {
        let request = ApiRequest::get(["dead-letters", self.id.as_str()]);
        let request = request.with_fields(&DeadLetterQuery { message: self.message });
        let request =
            if self.message { request.with_timeout(2 * MESSAGE_PATIENCE) } else { request };
        match ApiClient::open(&self.api, config)?.send_request::<DeadLetters>(&request) {
            Ok(found) => Ok(found.dead_letters),
            Err(error) => {
                error.into_problem(ProblemKind::UnknownCommand)?;
                Err(CommandError::NotKnownDead(self.id.clone()))
            }
        }
    }

    fn find_in_queues(&self, config: Option<&Path>) -> Result<Vec<DeadLetterView>, CommandError> {
        let context = CliContext::open(config)?;
        let found = context.runtime.block_on(async {
            let queues = context.dead_queues(None).await?;
            Ok::<_, CommandError>(find_messages(&context.operator, &queues, &self.id).await?)
        })?;
        if found.is_empty() {
            return Err(CommandError::NotDead(self.id.clone()));
        }
        Ok(found.into_iter().map(DeadLetterView::from).collect())
    }

    fn print(&self, letter: &DeadLetterView, out: &mut TerminalOutput) -> Result<(), CommandError> {
        let id = letter.record.as_ref().map_or(&self.id, |record| &record.command.id);
        if *id != self.id {
            out.line(format!("refused under the id `{}`, which it does not claim:", self.id))?;
        }
        out.heading(id.as_str())?;
        pair("queue", &letter.queue, out)?;
        match &letter.record {
            Some(record) => print_record(record, out)?,
            None => pair("kind", "unreadable: there is no record beside the message", out)?,
        }
        letter.message.as_ref().map_or(Ok(()), |message| print_message(message, out))
    }
}

fn print_message(message: &DeadMessage, out: &mut TerminalOutput) -> Result<(), CommandError> {
    if let Some(refusal) = &message.refused {
        let code = refusal.code.map(|code| format!("{code}, ")).unwrap_or_default();
        pair("refused", &format!("by the broker, as it was: {code}{}", refusal.reason), out)?;
        if refusal.is_cut {
            pair("body", "cut: it was too large for the broker", out)?;
        }
    }
    out.print_blank_line()?;
    out.heading("properties")?;
    for (name, value) in &message.properties {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        pair(name, &text, out)?;
    }
    out.print_blank_line()?;
    out.heading("body")?;
    let body = &message.body;
    let text = body
        .as_str()
        .map_or_else(|| serde_json::to_string_pretty(body).unwrap_or_default(), str::to_owned);
    Ok(out.lines(&text)?)
}

fn print_record(letter: &DeadLetter, out: &mut TerminalOutput) -> Result<(), CommandError> {
    let DeadLetter { command, kind, generation, attempt, history, .. } = letter;
    let names = [&command.r#type, &command.provider, &command.operation];
    let words = names.map(|name| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string));
    let pairs = [
        ("command", Some(words.join("."))),
        ("account", command.account.as_ref().map(ToString::to_string)),
        ("reference", command.reference.clone()),
        ("kind", Some(kind.as_str().to_owned())),
        ("code", letter.code.clone()),
        ("message", Some(letter.message.clone())),
        ("HTTP status", letter.http_status.map(|status| status.to_string())),
        (
            "given up",
            Some(format!(
                "{}, generation {generation}, attempt {attempt}",
                letter.dead_lettered_at
            )),
        ),
        ("first failed", Some(letter.first_failed_at.to_string())),
        ("may have acted", Some(if letter.unknown { "yes" } else { "no" }.to_owned())),
        ("key", letter.key.clone()),
        ("first sent", letter.first_sent.map(|time| time.to_string())),
        ("expires", letter.expires_at.map(|time| time.to_string())),
        ("routing key", letter.routing_key.clone()),
        ("publisher", letter.publisher.clone()),
        ("by", Some(format!("ferryd {} at {}", letter.version, letter.host))),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            pair(name, &value, out)?;
        }
    }
    if history.is_empty() {
        return Ok(());
    }
    out.print_blank_line()?;
    let mut table =
        TextTable::new(["ATTEMPT", "AT", "TOOK", "OUTCOME", "STATUS", "CODE", "MESSAGE"]);
    for call in history {
        table.row([
            call.attempt.to_string(),
            call.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            format!("{} ms", call.duration_ms),
            call.outcome.as_str().to_owned(),
            call.http_status.map(|status| status.to_string()).unwrap_or_default(),
            call.code.clone().unwrap_or_default(),
            call.message.clone().unwrap_or_default(),
        ]);
    }
    Ok(out.table(&table)?)
}

fn pair(name: &str, value: &str, out: &mut TerminalOutput) -> Result<(), CommandError> {
    Ok(out.line(format!("  {name:16}{value}"))?)
}
