//! `ferryd publish`: commands by hand, checked before they are sent.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::desk::Desk;
use super::error::CommandError;
use super::event_line;
use super::exit::Exit;
use super::output::Output;
use super::progress::Progress;
use crate::config::human::parse_duration;
use crate::domain::command_id::PublishedCommandId;
use crate::domain::event::Event;
use crate::domain::lifecycle::State;
use crate::domain::name::Name;
use crate::operator::publish::{Ends, Outgoing, read};
use crate::operator::sender::Sender;
use crate::operator::{Operator, OperatorError};

const EXAMPLES: &str = "\
Examples:
  ferryd publish --type payment --provider stripe --operation charge \\
      --id shop.order-1001.charge --payload '{\"amount\":1099,\"currency\":\"eur\"}' --wait
  ferryd publish --type notification --operation send_sms --payload @sms.json --expires-at 2m
  ferryd publish --file commands.jsonl
  jq -c '.[]' orders.json | ferryd publish --file - --wait --timeout 5m --json

Everything is checked before anything is published. With --wait: 0 all completed, 1 some failed,
5 some had not ended in time; they go on all the same.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Publish {
    /// Read commands from a file, `-` for the standard input: JSON objects, one after the other
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "provider", "operation", "id", "payload", "reference", "account", "metadata", "not_before", "expires_at"])]
    file: Option<PathBuf>,
    /// The provider's type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    kind: Option<Name>,
    /// The provider; without it, the one the type's route names
    #[arg(long)]
    provider: Option<Name>,
    /// What the provider is to do
    #[arg(long, required_unless_present = "file")]
    operation: Option<Name>,
    /// The command's id; without it, a new one
    #[arg(long)]
    id: Option<PublishedCommandId>,
    /// What the operation needs, as JSON, or `@FILE`
    #[arg(long, value_name = "JSON", value_parser = payload)]
    payload: Option<Map<String, Value>>,
    /// A text that is echoed in every event
    #[arg(long)]
    reference: Option<String>,
    /// Whose credentials to use
    #[arg(long)]
    account: Option<Name>,
    /// A text that is echoed in every event, by name; may be given more than once
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// No attempt starts before: a time (RFC 3339), or how long from now
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_before: Option<Timestamp>,
    /// No attempt starts after: a time (RFC 3339), or how long from now
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<Timestamp>,
    /// Wait for the end of each command and print its event
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, requires = "wait", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
    /// Print one JSON object a line: the events waited for, else what was published
    #[arg(long)]
    json: bool,
}

impl Publish {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let new_id = || uuid::Uuid::now_v7().to_string();
        let Operator { names, amqp } = &desk.operator;
        let commands = read(names, amqp.user.as_deref(), &self.text()?, Timestamp::now(), new_id)?;
        desk.runtime.block_on(async {
            if !self.wait {
                let mut progress = Progress::new("published");
                send(&desk.operator, &commands, |done| progress.tell(done)).await?;
                drop(progress);
                return self.print_published(&commands, out);
            }
            let mut ends = Ends::subscribe(&desk.operator, &commands).await?;
            let ended = self.send_and_wait(&desk.operator, &commands, &mut ends, out).await;
            ends.close().await;
            ended
        })
    }

    /// The commands as JSON text.
    fn text(&self) -> Result<Vec<u8>, CommandError> {
        let Some(path) = &self.file else { return Ok(self.command().to_string().into_bytes()) };
        let text = if path.as_os_str() == "-" {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).map(|_| text)
        } else {
            std::fs::read(path)
        };
        text.map_err(|source| CommandError::Input { path: path.clone(), source })
    }

    /// The command that the arguments describe.
    fn command(&self) -> Value {
        let metadata: BTreeMap<_, _> = self.metadata.iter().cloned().collect();
        let mut command = json!({
            "id": self.id, "type": self.kind, "provider": self.provider, "operation": self.operation,
            "account": self.account, "reference": self.reference, "not_before": self.not_before,
            "expires_at": self.expires_at, "payload": self.payload.clone().unwrap_or_default(), "metadata": metadata,
        });
        if let Some(fields) = command.as_object_mut() {
            fields.retain(|_, value| !value.is_null() && *value != json!({}));
        }
        command
    }

    fn print_published(&self, commands: &[Outgoing], out: &mut Output) -> Result<(), CommandError> {
        for Outgoing { command, message } in commands {
            let (id, key) = (&command.id, message.routing_key.as_str());
            if self.json {
                out.json_line(&json!({ "id": id, "routing_key": key }))?;
            } else {
                out.line(format!("{id}  {key}"))?;
            }
        }
        Ok(())
    }

    async fn send_and_wait(
        &self,
        operator: &Operator,
        commands: &[Outgoing],
        ends: &mut Ends,
        out: &mut Output,
    ) -> Result<(), CommandError> {
        let waiting = async {
            let printed = tokio::time::timeout(self.timeout, self.print_ends(ends, out)).await;
            printed.unwrap_or_else(|_| Err(late(ends, self.timeout)))
        };
        let ((), ended) = tokio::try_join!(send(operator, commands, |_| {}), waiting)?;
        ended
    }

    /// Prints every end; the result inside is the worst of them.
    async fn print_ends(&self, ends: &mut Ends, out: &mut Output) -> Result<Result<(), CommandError>, CommandError> {
        let mut worst = Ok(());
        while let Some(event) = ends.next().await? {
            if self.json {
                out.json_line(&event)?;
            } else {
                out.styled(&event_line::event_line(&event))?;
            }
            out.flush()?;
            worst = worst.and(code_for(&event));
        }
        Ok(worst)
    }
}

/// Publishes one after the other, each confirmed.
async fn send(operator: &Operator, commands: &[Outgoing], mut done: impl FnMut(u64)) -> Result<(), CommandError> {
    let mut sender = Sender::open(operator).await?;
    for (published, outgoing) in commands.iter().enumerate() {
        let partly = |source: OperatorError| CommandError::Partly { published, all: commands.len(), source };
        sender.send(&outgoing.message).await.map_err(partly)?;
        done(published as u64 + 1);
    }
    sender.close().await;
    Ok(())
}

fn late(ends: &Ends, after: Duration) -> CommandError {
    let some: Vec<_> = ends.pending().iter().take(3).map(ToString::to_string).collect();
    let more = if ends.pending().len() > some.len() { ", …" } else { "" };
    CommandError::NotEnded { count: ends.pending().len(), some: format!("{}{more}", some.join(", ")), after }
}

/// The result of having waited for this event. The event itself was printed.
pub(super) fn code_for(event: &Event) -> Result<(), CommandError> {
    if event.data.state == State::Completed { Ok(()) } else { Err(CommandError::Told(Exit::Failed)) }
}

fn payload(text: &str) -> Result<Map<String, Value>, String> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: failed to read: {error}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| format!("is no JSON object: {error}"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=TEXT".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let from_now = parse_duration(text).ok().and_then(|duration| SignedDuration::try_from(duration).ok());
    let time = from_now.and_then(|from_now| Timestamp::now().checked_add(from_now).ok());
    time.ok_or_else(|| "write a time such as 2027-01-01T00:00:00Z, or how long from now, such as 90s or 2h".to_owned())
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
