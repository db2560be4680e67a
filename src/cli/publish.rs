//! `ferryd publish`: publishes commands by hand, checked before they are sent.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::command_checks::{CommandChecks, fault_lines};
use super::context::CliContext;
use super::error::CommandError;
use super::exit_status::ExitStatus;
use super::output::{TerminalOutput, print_error};
use super::progress::ProgressCounter;
use super::publish_result::PublishedCommands;
use super::{event_line, interrupt};
use crate::operator::OperatorContext;
use crate::operator::follow::FollowedEvent;
use crate::operator::publish::{EndWatcher, InvalidCommandText, PreparedCommand, read};
use crate::operator::publishing_connection::PublishingConnection;
use ferryd_domain::command_id::PublishedCommandId;
use ferryd_domain::event::Event;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::name::Name;
use ferryd_settings::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  ferryd publish --type payment --provider stripe --operation charge \\
      --id shop.order-1001.charge --payload '{\"amount\":1099,\"currency\":\"eur\"}' --wait
  ferryd publish --type notification --operation send_sms --payload @sms.json --expires-at 2m
  ferryd publish --file commands.jsonl
  jq -c '.[]' orders.json | ferryd publish --file - --wait --timeout 5m --json

Every command is checked before the first is published, and nothing is published where one is wrong:
its fields, and by the provider files of this host its provider, account, operation and payload. A
command whose provider has no usable file here, secrets included, is reported and left to the daemon.

With --wait: 0 all completed, 1 some failed, 5 some had not ended in time; they go on all the same.
Where the broker goes away in the middle, or on Ctrl-C, it lists what was published and what perhaps
was, says how to go on, and ends with 1.";

/// The arguments of `ferryd publish`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PublishArguments {
    /// Read commands from a file, `-` for the standard input: JSON objects, one after the other
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "provider", "operation", "id", "payload", "reference", "account", "metadata", "not_before", "expires_at"])]
    file: Option<PathBuf>,
    /// The provider's type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    kind: Option<Name>,
    /// The provider; without it, the one the type's route names
    #[arg(long)]
    provider: Option<Name>,
    /// The operation of the provider
    #[arg(long, required_unless_present = "file")]
    operation: Option<Name>,
    /// The command's id; without it, a new one
    #[arg(long)]
    id: Option<PublishedCommandId>,
    /// The payload of the operation, as JSON, or `@FILE`
    #[arg(long, value_name = "JSON", value_parser = payload)]
    payload: Option<Map<String, Value>>,
    /// A text that is echoed in every event
    #[arg(long)]
    reference: Option<String>,
    /// The account whose credentials are used
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
    /// Do not check commands against the provider files of this host
    #[arg(long)]
    unchecked: bool,
    /// Print each event of each command as it comes, until each has ended
    #[arg(long)]
    wait: bool,
    /// The longest time to wait
    #[arg(long, requires = "wait", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
    /// Print one JSON object a line: the events with --wait, else what was published
    #[arg(long)]
    json: bool,
}

impl PublishArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let context = CliContext::open(config)?;
        let commands = self.checked_commands(&context)?;
        context.runtime.block_on(async {
            let stop = interrupt::token().map_err(CommandError::Runtime)?;
            if !self.wait {
                let mut progress = ProgressCounter::new("published", Some(commands.len() as u64));
                let published = self
                    .send(&context, &commands, &stop, |done| progress.show_progress(done))
                    .await?;
                drop(progress);
                self.print_published(&published, out)?;
                return finish(&published);
            }
            let mut ends = EndWatcher::subscribe(&context.operator, &commands).await?;
            let ended = self.send_and_wait(&context, &commands, &mut ends, &stop, out).await;
            ends.close().await;
            ended
        })
    }

    /// Reads the commands, and checks each.
    fn checked_commands(&self, context: &CliContext) -> Result<Vec<PreparedCommand>, CommandError> {
        let new_id = || uuid::Uuid::now_v7().to_string();
        let OperatorContext { names, amqp } = &context.operator;
        let (commands, mut faults) =
            read(names, amqp.user.as_deref(), &self.text()?, Timestamp::now(), new_id);
        if !self.unchecked {
            let (wrong, unchecked) = CommandChecks::load(&context.config).check(&commands);
            faults.extend(wrong);
            faults.sort_by_key(InvalidCommandText::line);
            if faults.is_empty() {
                for line in unchecked {
                    print_error(&line);
                }
            }
        }
        if faults.is_empty() {
            Ok(commands)
        } else {
            Err(CommandError::NoCommand(fault_lines(&faults, self.file.as_deref())))
        }
    }

    /// Returns the commands as JSON text.
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

    /// Builds the command that the arguments describe.
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

    fn print_published(
        &self,
        published: &PublishedCommands<'_>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        for PreparedCommand { command, message, .. } in published.confirmed() {
            let (id, key) = (&command.id, message.routing_key.as_str());
            if self.json {
                out.json_line(&json!({ "id": id, "routing_key": key }))?;
            } else {
                out.line(format!("{id}  {key}"))?;
            }
        }
        Ok(())
    }

    /// Publishes all commands, as far as the broker takes them.
    async fn send<'c>(
        &'c self,
        context: &CliContext,
        commands: &'c [PreparedCommand],
        stop: &CancellationToken,
        confirmed: impl FnMut(u64),
    ) -> Result<PublishedCommands<'c>, CommandError> {
        let mut sender = PublishingConnection::open(&context.operator).await?;
        let messages: Vec<_> = commands.iter().map(|outgoing| &outgoing.message).collect();
        let result = sender.send_all(&messages, stop, confirmed).await;
        sender.close().await;
        Ok(PublishedCommands { commands, result, file: self.file.as_deref() })
    }

    async fn send_and_wait(
        &self,
        context: &CliContext,
        commands: &[PreparedCommand],
        ends: &mut EndWatcher,
        stop: &CancellationToken,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let waiting = async {
            tokio::select! {
                printed = tokio::time::timeout(self.timeout, self.print_events(ends, out)) => printed.ok(),
                () = stop.cancelled() => None,
            }
        };
        let sending = async { finish(&self.send(context, commands, stop, |_| {}).await?) };
        let waiting = async { Ok(waiting.await) };
        let ((), ended) = tokio::try_join!(sending, waiting)?;
        ended.unwrap_or_else(|| Err(is_late(ends, self.timeout, stop.is_cancelled())))?
    }

    /// Prints every event until each command has ended. The inner result is the worst of the ends.
    async fn print_events(
        &self,
        ends: &mut EndWatcher,
        out: &mut TerminalOutput,
    ) -> Result<Result<(), CommandError>, CommandError> {
        let mut worst = Ok(());
        while let Some(followed) = ends.next().await? {
            if self.json {
                out.json_line(followed.json())?;
            } else {
                out.styled(&event_line::line(&followed))?;
            }
            if let FollowedEvent::Event(event, _) = &followed {
                if !self.json {
                    event_line::addresses(event)
                        .into_iter()
                        .try_for_each(|address| out.line(address))?;
                }
                if event.data.state.is_terminal() {
                    worst = worst.and(code_for(event));
                }
            }
            out.flush()?;
        }
        Ok(worst)
    }
}

/// Fails where some commands are not published.
fn finish(published: &PublishedCommands<'_>) -> Result<(), CommandError> {
    let lines = published.result_lines();
    if lines.is_empty() { Ok(()) } else { Err(CommandError::Partly(lines)) }
}

fn is_late(ends: &EndWatcher, after: Duration, is_interrupted: bool) -> CommandError {
    let some: Vec<_> = ends.pending().iter().take(3).map(ToString::to_string).collect();
    let more = if ends.pending().len() > some.len() { ", …" } else { "" };
    let (count, some) = (ends.pending().len(), format!("{}{more}", some.join(", ")));
    if is_interrupted {
        return CommandError::Refused(format!(
            "interrupted before the end of {count} ({some}), which go on all the same; `ferryd events --until-terminal ID` goes \
             on waiting"
        ));
    }
    CommandError::NotEnded { count, some, after }
}

/// Returns the result of waiting for this event, which was printed already.
pub(super) fn code_for(event: &Event) -> Result<(), CommandError> {
    if event.data.state == LifecycleState::Completed {
        Ok(())
    } else {
        Err(CommandError::Reported(ExitStatus::Failed))
    }
}

fn payload(text: &str) -> Result<Map<String, Value>, String> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("{path}: failed to read: {error}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| format!("is no JSON object: {error}"))
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| "write NAME=TEXT".to_owned())
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let from_now =
        parse_duration(text).ok().and_then(|duration| SignedDuration::try_from(duration).ok());
    let time = from_now.and_then(|from_now| Timestamp::now().checked_add(from_now).ok());
    time.ok_or_else(|| {
        "write a time such as 2027-01-01T00:00:00Z, or how long from now, such as 90s or 2h"
            .to_owned()
    })
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
