//! `ferryd lookup`: the provider is asked what came of a command that waits, or of which nobody knows.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::desk::Desk;
use super::error::CommandError;
use super::event_line::event_line;
use super::output::Output;
use super::person;
use super::setup::Setup;
use crate::domain::command_id::CommandId;
use crate::domain::event::Event;
use crate::domain::lifecycle::State;
use crate::domain::progress::Progress;
use crate::operator::control::say;
use crate::operator::dead::Dead;
use crate::operator::follow::Follow;
use crate::operator::lookup::{AnswerWatch, Asked, look_up};
use crate::pipeline::control::{Heard, Word};
use crate::pipeline::inquire::LookupWish;
use crate::settings::units::parse_duration;

const EXAMPLES: &str = "\
Examples:
  ferryd lookup shop.order-1001.charge
  ferryd lookup shop.order-1001.charge --wait 2m --json | jq -r .data.state

A running ferryd asks the provider, by the operation's `lookup`, about a command that waits or is dead.
What it finds ends the command, and closes its dead letter. Where it finds nothing, or that the provider still
works on it, all stays as it is, also where the provider says that there is none: replay a dead letter then.
`ferryd exchanges ID` shows what was asked and answered.

It ends once the answer is there: with 0 where that ends the command, else with 5, as where none has come in time;
with 1 where there is nothing to ask.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Lookup {
    /// The command's id
    #[arg(value_name = "ID")]
    id: CommandId,
    /// How long to wait for the answer; `0s` for not at all
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    wait: Duration,
    /// Print JSON: the event that ends the command; with `--wait 0s`, `id` and `asked`
    #[arg(long)]
    json: bool,
}

impl Lookup {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let setup = Setup::load(config)?;
        let desk = Desk::open(config)?;
        let queues = desk.runtime.block_on(desk.find_dead_queues(None))?;
        let can_ask = |dead: &Dead, progress: &Progress| {
            let (provider, operation) = (dead.identity.provider.as_ref(), dead.identity.operation.as_ref());
            let provider = provider.and_then(|name| setup.registry.get(name));
            let operation = provider.zip(operation).and_then(|(provider, name)| provider.operations.get(name));
            operation.is_some_and(|operation| progress.askable(operation.lookup).is_some())
        };
        let ended = desk.runtime.block_on(async {
            // Before it is asked: the answer may be quick.
            let mut follow = Follow::open(&desk.operator, &["#.completed".to_owned(), "#.failed".to_owned()]).await?;
            let mut answers = AnswerWatch::open(&desk.operator, &self.id).await?;
            let is_dead = match look_up(&desk.operator, &queues, &self.id, can_ask).await? {
                Asked::Sent => true,
                Asked::NotDead => self.ask_ahead(&desk).await.map(|()| false)?,
                Asked::Refused(why) => {
                    return Err(CommandError::Refused(format!("`{}` is not looked up: {why}", self.id)));
                }
            };
            if self.wait.is_zero() {
                return Ok(None);
            }
            let end = tokio::time::timeout(self.wait, self.end(&mut follow, &mut answers, is_dead)).await;
            follow.close().await;
            answers.close().await;
            let (some, after) = (self.id.to_string(), self.wait);
            end.unwrap_or(Err(CommandError::NotEnded { count: 1, some, after })).map(Some)
        });
        match ended? {
            None if self.json => Ok(out.json(&json!({ "id": self.id, "asked": true }))?),
            None => Ok(out.line(format!("{} is being looked up; see `ferryd status {}`", self.id, self.id))?),
            Some(event) if self.json => Ok(out.json(&*event)?),
            Some(event) => Ok(out.styled(&event_line(&event))?),
        }
    }

    /// Has a command looked up that is no dead letter: it waits, or there is nothing to ask.
    async fn ask_ahead(&self, desk: &Desk) -> Result<(), CommandError> {
        let word = Word::Lookup { id: self.id.clone(), by: person::user() };
        let why = match say(&desk.operator, &word).await? {
            Heard::Lookup { lookup: LookupWish::Asked, .. } => return Ok(()),
            Heard::Lookup { lookup, .. } => lookup.refusal().unwrap_or("it is being asked already").to_owned(),
            Heard::Refused { error } => {
                format!("ferryd did not understand: {error}; is it an older version?")
            }
            Heard::Cancel { .. } => "ferryd answered another question".to_owned(),
        };
        Err(CommandError::Refused(format!("`{}` is not looked up: {why}", self.id)))
    }

    /// The event that ends the command, as soon as it is there; or what was answered instead.
    async fn end(
        &self,
        follow: &mut Follow,
        answers: &mut AnswerWatch,
        is_dead: bool,
    ) -> Result<Box<Event>, CommandError> {
        let ends = |event: &Event| {
            matches!(event.data.state, State::Completed | State::Failed) && event.data.command.id == self.id
        };
        let mut end = std::pin::pin!(follow.until(ends));
        let answer = tokio::select! {
            biased;
            end = &mut end => return Ok(end?),
            answer = answers.next() => answer?,
        };
        // Of a dead letter nobody is told once more that nobody knows.
        if answer.data.state.is_terminal() && (answer.data.r#final || !is_dead) {
            return Ok(end.await?);
        }
        let answer = answer.data.error.map_or("still works on it".to_owned(), |error| error.message);
        Err(CommandError::StillOpen { id: self.id.to_string(), answer })
    }
}
