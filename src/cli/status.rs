//! `ferryd status`: shows what happened to a command, and what comes next.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use super::api_client::{ApiArguments, ApiClient, ApiRequest};
use super::error::CommandError;
use super::format::{format_interval, format_step, format_time};
use super::output::{TerminalOutput, TextTable};
use crate::web::problem::{ProblemBody, ProblemKind};
use crate::web::responses::{CommandPhase, CommandProgress, CommandStory};
use ferryd_domain::command_id::CommandId;
use ferryd_domain::conflict::ConflictNote;
use ferryd_domain::ledger::content_removal::ContentRemoval;
use ferryd_domain::ledger::prompt::{CommandPrompt, PromptNote, QueryNote};
use ferryd_domain::ledger::record::Step;
use ferryd_domain::ledger::refusal_note::RefusalNote;
use ferryd_domain::ledger::transition::StateTransition;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::outcome::WaitingFor;
use ferryd_ledger::index::CommandRow;

const EXAMPLES: &str = "\
Examples:
  ferryd status shop.order-1001.charge
  ferryd status shop.order-1001.charge --json | jq -r .state
  ferryd status shop.order-1001.charge --json | jq '.timeline[] | [.at, .reason, .detail]'

It asks the daemon: that of this host, or the one at --url. Times are those of the clocks of the hosts
that wrote the records.";

/// The arguments of `ferryd status`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct StatusArguments {
    /// The command's id
    #[arg(value_name = "ID")]
    id: CommandId,
    #[command(flatten)]
    api: ApiArguments,
    /// Print JSON, as the HTTP API does: the fields of `ferryd commands`, and `unknown`, `key`,
    /// `first_sent`, `deadline`, `progress`, `event`, `timeline`, `prompts` (notices, and other
    /// reasons to query the provider), `queries` (polls and lookups, and why); and `refused`,
    /// the messages that were refused under the id
    #[arg(long)]
    json: bool,
}

impl StatusArguments {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        out: &mut TerminalOutput,
    ) -> Result<(), CommandError> {
        let client = ApiClient::open(&self.api, config)?;
        let story = find_story(&client, &self.id)?;
        if self.json {
            return Ok(out.json(&story)?);
        }
        print(&story, Timestamp::now(), out)?;
        print_refused(&story.refused, out)
    }
}

/// Requests the state and the history of a command.
pub(super) fn find_story(client: &ApiClient, id: &CommandId) -> Result<CommandStory, CommandError> {
    let found = client.send_request(&ApiRequest::get(["commands", id.as_str()]));
    found
        .or_else(|error| Err(unknown_command(id, error.into_problem(ProblemKind::UnknownCommand)?)))
}

/// Builds the error for an unknown command, with the messages that were refused under its id, if
/// any.
pub(super) fn unknown_command(id: &CommandId, problem: ProblemBody) -> CommandError {
    let refused: Vec<_> =
        problem.refused.unwrap_or_default().into_iter().map(|note| note.id).collect();
    if refused.is_empty() {
        CommandError::NotKnown(id.clone())
    } else {
        CommandError::OnlyRefused { id: id.clone(), refused }
    }
}

fn print(
    story: &CommandStory,
    now: Timestamp,
    out: &mut TerminalOutput,
) -> Result<(), CommandError> {
    let row = &story.row;
    out.heading(row.id.as_str())?;
    let pairs = [
        ("state", Some(describe_state(row))),
        (
            "operation",
            row.provider
                .as_ref()
                .zip(row.operation.as_ref())
                .map(|(at, what)| format!("{at}.{what}")),
        ),
        ("type", row.r#type.as_ref().map(ToString::to_string)),
        ("account", row.account.as_ref().map(ToString::to_string)),
        ("reference", row.reference.clone()),
        ("publisher", row.publisher.clone()),
        ("at the provider", row.provider_reference.clone()),
        ("HTTP status", row.http_status.map(|status| status.to_string())),
        ("may have acted", story.unknown.then(|| "yes".to_owned())),
        ("key", story.key.clone()),
        ("first sent", story.first_sent.map(format_time)),
        ("created", row.created_at.map(|at| dated(at, now))),
        ("updated", row.updated_at.filter(|_| row.ended_at.is_none()).map(|at| dated(at, now))),
        ("ended", row.ended_at.map(|at| dated(at, now))),
        ("contents", story.removal.as_ref().map(removed)),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            out.line(format!("  {name:16}{value}"))?;
        }
    }
    if !story.timeline.is_empty() {
        out.print_blank_line()?;
        out.table(&timeline(story))?;
    }
    for ConflictNote { at, conflict, event, message } in &story.conflicts {
        out.print_blank_line()?;
        out.line(format!(
            "conflict ({conflict}) at {}: {message}; event {event}",
            format_time(*at)
        ))?;
    }
    out.print_blank_line()?;
    for line in next(story, now) {
        out.line(line)?;
    }
    Ok(())
}

/// Prints the messages that were refused under a command's id.
fn print_refused(refused: &[RefusalNote], out: &mut TerminalOutput) -> Result<(), CommandError> {
    if refused.is_empty() {
        return Ok(());
    }
    out.print_blank_line()?;
    out.line("messages that were refused under this id, and are none of this command's:")?;
    for note in refused {
        out.line(format!("  {}", note.id))?;
    }
    Ok(())
}

fn removed(removal: &ContentRemoval) -> String {
    match removal {
        ContentRemoval::Aged => "older than they are kept".to_owned(),
        ContentRemoval::Erased { at, actor: person } => {
            format!("erased at {} {person}", format_time(*at))
        }
    }
}

fn dated(at: Timestamp, now: Timestamp) -> String {
    format!("{}, {} ago", format_time(at), format_interval(at, now))
}

/// Describes the state in a word or two.
fn describe_state(row: &CommandRow) -> String {
    let kind = row.kind.map(|kind| format!(": {}", kind.as_str())).unwrap_or_default();
    let dead = if row.dead { ", a dead letter" } else { "" };
    format!("{}{kind}{dead}", row.state.as_str())
}

/// A line of the timeline.
struct TimelineEntry {
    at: Timestamp,
    state: Option<LifecycleState>,
    step: Option<Step>,
    what: String,
    detail: String,
    because: String,
}

/// Builds the timeline: the transitions of a command, notices and other events about it, and the
/// queries of its provider, in the order of their times.
fn timeline(story: &CommandStory) -> TextTable {
    let mut moments: Vec<_> =
        story.timeline.iter().map(|transition| changed(transition, story)).collect();
    moments.extend(story.prompts.iter().map(describe_prompts));
    moments.extend(story.queries.iter().map(describe_queries));
    moments.sort_by_key(|moment| moment.at);
    let mut table = TextTable::new(["TIME", "AFTER", "STATE", "CALL", "WHAT", "BECAUSE", "DETAIL"]);
    let mut before = None;
    for TimelineEntry { at, state, step: call, what, detail, because } in moments {
        table.row([
            format_time(at),
            before.map_or_else(String::new, |before| {
                format!("+{}", format_interval(before, at)).replace("+-", "-")
            }),
            state.map_or_else(String::new, |state| state.as_str().to_owned()),
            call.map(format_step).unwrap_or_default(),
            what,
            because,
            detail,
        ]);
        before = Some(at);
    }
    table
}

fn changed(transition: &StateTransition, story: &CommandStory) -> TimelineEntry {
    let StateTransition { at, state, step, reason, detail, .. } = transition;
    let because = match (reason.as_str(), step.attempt, step.generation) {
        ("started", 2.., _) => "retry was due",
        ("started", _, 1..) => "replay",
        _ => "",
    };
    // The decision of a query or a notice has the time of its record.
    let query = story.queries.iter().find(|query| query.at == *at);
    let because =
        query.map_or_else(|| because.to_owned(), |query| query.purpose.as_str().to_owned());
    let detail = detail.clone().unwrap_or_default();
    TimelineEntry {
        at: *at,
        state: Some(*state),
        step: Some(*step),
        what: reason.clone(),
        detail,
        because,
    }
}

fn describe_prompts(note: &PromptNote) -> TimelineEntry {
    let (what, detail) = match &note.prompt {
        CommandPrompt::Notice(notice) => {
            ("notice", format!("{}; it means {}", note.prompt, notice.meaning))
        }
        CommandPrompt::Actor(person) => ("lookup wanted", format!("by {person}")),
        CommandPrompt::Command(id) => ("changed by", id.to_string()),
    };
    TimelineEntry {
        at: note.at,
        state: None,
        step: None,
        what: what.to_owned(),
        detail,
        because: String::new(),
    }
}

fn describe_queries(query: &QueryNote) -> TimelineEntry {
    let QueryNote { at, step, purpose, cause, state, detail, times, latest } = query;
    let because = cause.as_ref().map_or_else(|| "its time".to_owned(), ToString::to_string);
    let often = if *times > 1 {
        format!("{times} times until {}: ", format_time(*latest))
    } else {
        String::new()
    };
    let detail = detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
    let detail = format!("{often}the command is {}{detail}", state.as_str());
    TimelineEntry {
        at: *at,
        state: None,
        step: Some(*step),
        what: purpose.as_str().to_owned(),
        detail,
        because,
    }
}

/// Describes what comes next, one line each.
fn next(story: &CommandStory, now: Timestamp) -> Vec<String> {
    if let Some(kind) = &story.blocked {
        return vec![format!(
            "blocked: the ledger holds a record of the kind `{kind}` about it, which this version does not understand; \
             a newer ferryd goes on with it"
        )];
    }
    let mut lines = vec![format!("next: {}", describe_next_action(story, now))];
    if !story.progress.published {
        lines.push("what was decided is not known to be published yet".to_owned());
    }
    lines
}

fn describe_next_action(story: &CommandStory, now: Timestamp) -> String {
    let CommandProgress { phase, step: call, waiting_for, .. } = story.progress;
    if story.event.is_some() {
        return if story.row.dead {
            format!("a person decides; see `ferryd dead-letters show {}`", story.row.id)
        } else {
            "nothing, this is its end".to_owned()
        };
    }
    let until = story.timeline.last().and_then(|last| last.until);
    let due = until.map(|until| format!(" at {}, {}", format_time(until), remaining(until, now)));
    match (phase, story.row.state) {
        (CommandPhase::Expected, _) => {
            let person =
                story.cancel.as_ref().map(|person| format!(" {person}")).unwrap_or_default();
            format!("it is not known yet; when it comes, it is cancelled{person}")
        }
        (CommandPhase::Started, _) => format!("the answer to call {}", format_step(call)),
        (CommandPhase::ClaimExpired, _) => {
            format!(
                "the instance that made call {} recorded no outcome; a lookup, or a person, decides",
                format_step(call)
            )
        }
        (CommandPhase::Decided, LifecycleState::Waiting) => {
            let who = match waiting_for {
                Some(WaitingFor::Customer) => "the customer",
                Some(WaitingFor::Provider) => "the provider",
                None => "the provider, or its customer,",
            };
            let queried = due
                .filter(|_| until != story.deadline)
                .map(|due| format!("; the provider is queried{due}"));
            let longest = story.deadline.map(|end| {
                format!("; it may take until {}, {}", format_time(end), remaining(end, now))
            });
            format!(
                "it is accepted, and {who} finishes it{}{}",
                queried.unwrap_or_default(),
                longest.unwrap_or_default()
            )
        }
        (CommandPhase::Decided, LifecycleState::Processing) => {
            let call = format_step(Step::call(call.generation, call.attempt));
            format!(
                "it is unknown whether call {call} acted; the provider is queried{}",
                due.unwrap_or_default()
            )
        }
        (CommandPhase::Decided, _) => {
            let call = Step::call(call.generation, call.attempt.saturating_add(1));
            format!("call {}{}", format_step(call), due.unwrap_or_default())
        }
        (CommandPhase::Open, _) => {
            format!(
                "call {}{}",
                format_step(call),
                due.unwrap_or_else(|| ", as soon as it is its turn".to_owned())
            )
        }
    }
}

fn remaining(until: Timestamp, now: Timestamp) -> String {
    if until > now {
        format!("in {}", format_interval(now, until))
    } else {
        format!("due for {}", format_interval(until, now))
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
