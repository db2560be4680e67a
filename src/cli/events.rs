//! `ferryd events`: prints events as they are published.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::context::CliContext;
use super::error::CommandError;
use super::event_line;
use super::interrupt;
use super::output::{TerminalOutput, print_error};
use crate::operator::follow::{EventSubscription, FollowedEvent};
use crate::operator::{OperatorContext, OperatorError};
use ferryd_domain::command_id::CommandId;

const EXAMPLES: &str = "\
Examples:
  ferryd events
  ferryd events --binding 'payment.#' --binding '*.twilio.*.failed'
  ferryd events --json | jq -r 'select(.data.state == \"failed\") | .subject'
  ferryd events --until-terminal shop.order-1001.charge

A binding is matched against <type>.<provider>.<operation>.<state>: `*` stands for one word, `#`
for any number of words. Events from before the start are not shown. Ctrl-C ends it with code 0.";

const PAUSE: Duration = Duration::from_secs(1);

/// The arguments of `ferryd events`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EventArguments {
    /// The events to follow, as a binding key of a topic exchange; may be given more than once
    #[arg(long = "binding", value_name = "KEY", default_value = "#")]
    bindings: Vec<String>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End when this command has ended; with code 1 where it failed
    #[arg(long, value_name = "ID")]
    until_terminal: Option<CommandId>,
}

impl EventArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let context = CliContext::open(config)?;
        context.runtime.block_on(async {
            let stop = interrupt::token().map_err(CommandError::Runtime)?;
            let first = EventSubscription::open(&context.operator, &self.bindings).await?;
            print_error(&format!("following {}", self.bindings.join(", ")));
            self.follow(&context.operator, first, &stop, out).await
        })
    }

    async fn follow(
        &self,
        operator: &OperatorContext,
        first: EventSubscription,
        stop: &CancellationToken,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let mut follow = first;
        let mut seen = 0;
        loop {
            let next = tokio::select! {
                next = follow.next() => next,
                () = stop.cancelled() => break,
            };
            let Ok(followed) = next else {
                print_error(
                    "lost the broker; connecting again: events that are published meanwhile are missed",
                );
                match self.resubscribe(operator, stop).await {
                    Some(again) => follow = again,
                    None => return Ok(()),
                }
                print_error("connected again");
                continue;
            };
            self.print(&followed, out)?;
            seen += 1;
            if let Some(ended) = self.ends_with(&followed) {
                follow.close().await;
                return ended;
            }
            if self.count.is_some_and(|count| seen >= count) {
                break;
            }
        }
        follow.close().await;
        Ok(())
    }

    /// Subscribes again as soon as the broker is reachable; `None` once interrupted.
    async fn resubscribe(
        &self,
        operator: &OperatorContext,
        stop: &CancellationToken,
    ) -> Option<EventSubscription> {
        let subscribing = async {
            loop {
                let opened: Result<EventSubscription, OperatorError> =
                    EventSubscription::open(operator, &self.bindings).await;
                match opened {
                    Ok(follow) => return follow,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        tokio::select! {
            follow = subscribing => Some(follow),
            () = stop.cancelled() => None,
        }
    }

    fn print(
        &self,
        followed: &FollowedEvent,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        if self.json {
            out.json_line(followed.json())?;
        } else {
            out.styled(&event_line::line(followed))?;
        }
        Ok(out.flush()?)
    }

    /// Returns the result of the command that is waited for, where this event ends it.
    fn ends_with(&self, followed: &FollowedEvent) -> Option<Result<(), CommandError>> {
        let FollowedEvent::Event(event, _) = followed else { return None };
        let awaited = Some(&event.data.command.id) == self.until_terminal.as_ref();
        (awaited && event.data.state.is_terminal()).then(|| super::publish::code_for(event))
    }
}
