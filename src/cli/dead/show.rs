//! `ferryd dead show`.

use clap::Args;
use serde_json::{Value, json};

use super::super::desk::Desk;
use super::super::error::CommandError;
use super::super::output::{Output, Table};
use crate::domain::command_id::CommandId;
use crate::domain::dead_letter::DeadLetter;
use crate::ledger::command_filter::CommandFilter;
use crate::operator::dead::Dead;
use crate::operator::properties;
use crate::operator::queues::dead_queue;
use crate::operator::scan::scan;

pub(super) const EXAMPLES: &str = "\
Examples:
  ferryd dead show shop.order-1001.charge
  ferryd dead show shop.order-1001.charge --message --json | jq '.[0].body.payload'

The ledger answers at once: why it was given up, and every call that was made. The message itself lies
in its queue, which --message goes through to find it, as `ferryd dead list --queues` does. Its body
and properties are shown as the core application published them, nothing masked. Secrets of providers
are never part of a dead letter. Messages that were refused under the id are shown too: they do not
claim it, and have ids of their own.";

/// The arguments.
#[derive(Debug, Args)]
pub struct Show {
    /// The command's id
    id: CommandId,
    /// Read the message itself too, body and properties, from its queue
    #[arg(long)]
    message: bool,
    /// Print JSON: a list, because there can be more than one message of a command: `queue`, `record`, and with
    /// --message `properties`, `body`
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        if self.message { self.messages(desk, out) } else { self.record(desk, out) }
    }

    /// What the ledger knows.
    fn record(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let letters = desk.find_dead_letters(&self.id)?;
        if letters.is_empty() {
            return Err(CommandError::NotKnownDead(self.id));
        }
        let queues = desk.runtime.block_on(desk.find_dead_queues(None))?;
        let queue = |letter: &DeadLetter| dead_queue(&desk.operator.names, &queues, letter.command.provider.as_ref());
        if self.json {
            let list = letters.iter().map(|letter| json!({ "queue": queue(letter), "record": letter }));
            return Ok(out.json(&list.collect::<Vec<_>>())?);
        }
        for letter in &letters {
            if letter.command.id != self.id {
                out.line(format!("refused under the id `{}`, which it does not claim:", self.id))?;
            }
            out.heading(letter.command.id.as_str())?;
            pair("queue", &queue(letter), out)?;
            print_record(letter, out)?;
            out.gap()?;
        }
        Ok(out.line("the message itself, with its body: add --message")?)
    }

    fn messages(self, desk: &Desk, out: &mut Output) -> Result<(), CommandError> {
        let queues = desk.runtime.block_on(desk.find_dead_queues(None))?;
        let mut found = Vec::new();
        let is_meant = |dead: &Dead| dead.identity.id == self.id || dead.identity.id.published() == self.id;
        let (all, keep) = (CommandFilter::default(), |dead| found.extend(Some(dead).filter(is_meant)));
        desk.runtime.block_on(scan(&desk.operator, &queues, &all, keep))?;
        if found.is_empty() {
            return Err(CommandError::NotDead(self.id));
        }
        if self.json {
            return Ok(out.json(&found.iter().map(whole).collect::<Vec<_>>())?);
        }
        for (index, dead) in found.iter().enumerate() {
            if index > 0 {
                out.gap()?;
            }
            print(dead, out)?;
        }
        Ok(())
    }
}

fn whole(dead: &Dead) -> Value {
    let mut whole = json!({
        "queue": dead.queue, "record": dead.letter, "properties": properties::to_json(&dead.properties),
        "body": body(dead),
    });
    if let Some(refusal) = &dead.refused {
        whole["refused"] = json!(refusal);
    }
    whole
}

/// The body; a text where it is not JSON.
fn body(dead: &Dead) -> Value {
    let text = || Value::String(String::from_utf8_lossy(&dead.body).into_owned());
    serde_json::from_slice(&dead.body).unwrap_or_else(|_| text())
}

fn print(dead: &Dead, out: &mut Output) -> Result<(), CommandError> {
    out.heading(dead.identity.id.as_str())?;
    pair("queue", &dead.queue, out)?;
    match &dead.letter {
        Some(letter) => print_record(letter, out)?,
        None => pair("kind", "unreadable: there is no record beside the message", out)?,
    }
    if let Some(refusal) = &dead.refused {
        let code = refusal.code.map(|code| format!("{code}, ")).unwrap_or_default();
        pair("refused", &format!("by the broker, as it was: {code}{}", refusal.reason), out)?;
        if refusal.is_cut {
            pair("body", "cut: it was too large for the broker", out)?;
        }
    }
    out.gap()?;
    out.heading("properties")?;
    for (name, value) in properties::to_json(&dead.properties) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        pair(&name, &text, out)?;
    }
    out.gap()?;
    out.heading("body")?;
    let body = body(dead);
    let text = body.as_str().map_or_else(|| serde_json::to_string_pretty(&body).unwrap_or_default(), str::to_owned);
    Ok(out.lines(&text)?)
}

fn print_record(letter: &DeadLetter, out: &mut Output) -> Result<(), CommandError> {
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
        ("given up", Some(format!("{}, generation {generation}, attempt {attempt}", letter.dead_lettered_at))),
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
    out.gap()?;
    let mut table = Table::new(["ATTEMPT", "AT", "TOOK", "OUTCOME", "STATUS", "CODE", "MESSAGE"]);
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

fn pair(name: &str, value: &str, out: &mut Output) -> Result<(), CommandError> {
    Ok(out.line(format!("  {name:16}{value}"))?)
}
