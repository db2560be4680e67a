//! `ferryd status`: what happened to a command, and what comes next.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::desk::Desk;
use super::error::CommandError;
use super::output::{Output, Table};
use super::wording::{between, moment, step};
use crate::domain::command_id::CommandId;
use crate::domain::conflict::ConflictNote;
use crate::domain::event::Event;
use crate::domain::key::IdempotencyKey;
use crate::domain::ledger::case::{Case, Phase};
use crate::domain::ledger::erasure::ContentRemoval;
use crate::domain::ledger::prompt::{Prompt, PromptNote, QueryNote};
use crate::domain::ledger::record::{Person, Step};
use crate::domain::ledger::transition::Transition;
use crate::domain::lifecycle::State;
use crate::domain::outcome::Party;
use crate::ledger::index::Row;

const EXAMPLES: &str = "\
Examples:
  ferryd status shop.order-1001.charge
  ferryd status shop.order-1001.charge --json | jq -r .state
  ferryd status shop.order-1001.charge --json | jq '.timeline[] | [.at, .reason, .detail]'

It asks the ledger, and knows all that was on record when it was started. Where a ferryd on this host
keeps the ledger's index, it asks that; else it reads the ledger itself, the first time from its
beginning. Times are those of the clocks of whoever wrote the records.";

/// The arguments.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// The command's id
    #[arg(value_name = "ID")]
    id: CommandId,
    /// Print JSON, as the HTTP API does: what `ferryd commands` tells, and `unknown`, `key`, `first_sent`, `deadline`, `event`, `timeline`, `prompts` (notices, and who or what else had the provider asked), `queries` (polls and lookups, and why); and `refused`, the messages that were refused under the id
    #[arg(long)]
    json: bool,
}

/// All of it, for programs.
#[derive(Serialize)]
struct Story<'a> {
    #[serde(flatten)]
    row: Row,
    unknown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sent: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<&'a Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    conflicts: &'a [ConflictNote],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'a [CommandId],
    #[serde(skip_serializing_if = "Option::is_none")]
    removal: Option<&'a ContentRemoval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a Event>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    prompts: &'a [PromptNote],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    queries: &'a [QueryNote],
    timeline: &'a [Transition],
}

impl Status {
    pub(super) fn run(self, config: Option<&Path>, out: &mut Output) -> Result<(), CommandError> {
        let desk = Desk::open(config)?;
        let (case, refused) = desk.case_and_refused(&self.id)?;
        let Some(case) = case else {
            return Err(if refused.is_empty() {
                CommandError::NotKnown(self.id)
            } else {
                CommandError::OnlyRefused { id: self.id, refused }
            });
        };
        if self.json {
            return Ok(out.json(&Story { refused: &refused, ..Story::new(&self.id, &case) })?);
        }
        print(&self.id, &case, Timestamp::now(), out)?;
        print_refused(&refused, out)
    }
}

impl<'a> Story<'a> {
    fn new(id: &CommandId, case: &'a Case) -> Self {
        Self {
            row: Row::new(id.clone(), case.clone()),
            unknown: case.may_have_acted(),
            key: case.key.as_ref().map(IdempotencyKey::as_str),
            first_sent: case.first_sent,
            deadline: case.deadline,
            cancel: case.cancel.as_ref(),
            blocked: case.blocked.as_deref(),
            conflicts: &case.conflicts,
            refused: &[],
            removal: case.removal.as_ref(),
            event: case.ending.as_ref().map(|ending| &ending.event),
            prompts: &case.prompts,
            queries: &case.queries,
            timeline: &case.history,
        }
    }
}

fn print(id: &CommandId, case: &Case, now: Timestamp, out: &mut Output) -> Result<(), CommandError> {
    let row = Row::new(id.clone(), case.clone());
    out.heading(id.as_str())?;
    let pairs = [
        ("state", Some(standing(&row))),
        ("operation", row.provider.as_ref().zip(row.operation.as_ref()).map(|(at, what)| format!("{at}.{what}"))),
        ("type", row.r#type.as_ref().map(ToString::to_string)),
        ("account", row.account.as_ref().map(ToString::to_string)),
        ("reference", row.reference.clone()),
        ("publisher", row.publisher.clone()),
        ("at the provider", row.provider_reference.clone()),
        ("HTTP status", row.http_status.map(|status| status.to_string())),
        ("may have acted", case.may_have_acted().then(|| "yes".to_owned())),
        ("key", case.key.as_ref().map(|key| key.as_str().to_owned())),
        ("first sent", case.first_sent.map(moment)),
        ("created", row.created_at.map(|at| dated(at, now))),
        ("updated", row.updated_at.filter(|_| row.ended_at.is_none()).map(|at| dated(at, now))),
        ("ended", row.ended_at.map(|at| dated(at, now))),
        ("contents", case.removal.as_ref().map(removed)),
    ];
    for (name, value) in pairs {
        if let Some(value) = value {
            out.line(format!("  {name:16}{value}"))?;
        }
    }
    if !case.history.is_empty() {
        out.gap()?;
        out.table(&timeline(case))?;
    }
    for ConflictNote { at, conflict, event, message } in &case.conflicts {
        out.gap()?;
        out.line(format!("conflict ({conflict}) at {}: {message}; event {event}", moment(*at)))?;
    }
    out.gap()?;
    for line in next(id, case, now) {
        out.line(line)?;
    }
    Ok(())
}

/// The messages that were refused under a command's id.
fn print_refused(refused: &[CommandId], out: &mut Output) -> Result<(), CommandError> {
    if refused.is_empty() {
        return Ok(());
    }
    out.gap()?;
    out.line("messages that were refused under this id, and are none of this command's:")?;
    for id in refused {
        out.line(format!("  {id}"))?;
    }
    Ok(())
}

fn removed(removal: &ContentRemoval) -> String {
    match removal {
        ContentRemoval::Aged => "older than they are kept".to_owned(),
        ContentRemoval::Erased { at, person } => format!("erased at {} {person}", moment(*at)),
    }
}

fn dated(at: Timestamp, now: Timestamp) -> String {
    format!("{}, {} ago", moment(at), between(at, now))
}

/// The state in a word or two.
fn standing(row: &Row) -> String {
    let kind = row.kind.map(|kind| format!(": {}", kind.as_str())).unwrap_or_default();
    let dead = if row.dead { ", a dead letter" } else { "" };
    format!("{}{kind}{dead}", row.state.as_str())
}

/// A line of the timeline.
struct Moment {
    at: Timestamp,
    state: Option<State>,
    step: Option<Step>,
    what: String,
    detail: String,
    because: String,
}

/// What happened to a command, what its provider and others told of it, and what its provider was asked, in the order of their
/// times.
fn timeline(case: &Case) -> Table {
    let mut moments: Vec<_> = case.history.iter().map(|transition| changed(transition, case)).collect();
    moments.extend(case.prompts.iter().map(prompted));
    moments.extend(case.queries.iter().map(asked));
    moments.sort_by_key(|moment| moment.at);
    let mut table = Table::new(["TIME", "AFTER", "STATE", "CALL", "WHAT", "BECAUSE", "DETAIL"]);
    let mut before = None;
    for Moment { at, state, step: call, what, detail, because } in moments {
        table.row([
            moment(at),
            before.map_or_else(String::new, |before| format!("+{}", between(before, at)).replace("+-", "-")),
            state.map_or_else(String::new, |state| state.as_str().to_owned()),
            call.map(step).unwrap_or_default(),
            what,
            because,
            detail,
        ]);
        before = Some(at);
    }
    table
}

fn changed(transition: &Transition, case: &Case) -> Moment {
    let Transition { at, state, step, reason, detail, .. } = transition;
    let because = match (reason.as_str(), step.attempt, step.generation) {
        ("started", 2.., _) => "retry was due",
        ("started", _, 1..) => "replay",
        _ => "",
    };
    // The decision of a question or a notice has the time of its record.
    let query = case.queries.iter().find(|query| query.at == *at);
    let because = query.map_or_else(|| because.to_owned(), |query| query.purpose.as_str().to_owned());
    let detail = detail.clone().unwrap_or_default();
    Moment { at: *at, state: Some(*state), step: Some(*step), what: reason.clone(), detail, because }
}

fn prompted(note: &PromptNote) -> Moment {
    let (what, detail) = match &note.prompt {
        Prompt::Notice(notice) => ("notice", format!("{}; it means {}", note.prompt, notice.meaning)),
        Prompt::Person(person) => ("lookup wanted", format!("by {person}")),
        Prompt::Command(id) => ("changed by", id.to_string()),
    };
    Moment { at: note.at, state: None, step: None, what: what.to_owned(), detail, because: String::new() }
}

fn asked(query: &QueryNote) -> Moment {
    let QueryNote { at, step, purpose, cause, state, detail, times, latest } = query;
    let because = cause.as_ref().map_or_else(|| "its time".to_owned(), ToString::to_string);
    let often = if *times > 1 { format!("{times} times until {}: ", moment(*latest)) } else { String::new() };
    let detail = detail.as_ref().map(|detail| format!(", {detail}")).unwrap_or_default();
    let detail = format!("{often}the command is {}{detail}", state.as_str());
    Moment { at: *at, state: None, step: Some(*step), what: purpose.as_str().to_owned(), detail, because }
}

/// What comes next, one line each.
fn next(id: &CommandId, case: &Case, now: Timestamp) -> Vec<String> {
    if let Some(kind) = &case.blocked {
        return vec![format!(
            "blocked: the ledger holds a record of the kind `{kind}` about it, which this version does not understand; \
             a newer ferryd goes on with it"
        )];
    }
    let mut lines = vec![format!("next: {}", what_next(id, case, now))];
    if let Phase::Decided { effects: Some(_), .. } = &case.phase {
        lines.push("what was decided is not known to be published yet".to_owned());
    }
    lines
}

fn what_next(id: &CommandId, case: &Case, now: Timestamp) -> String {
    if let Some(ending) = &case.ending {
        return if ending.is_dead() {
            format!("a person decides; see `ferryd dead show {id}`")
        } else {
            "nothing, this is its end".to_owned()
        };
    }
    if let (None, Some(person)) = (&case.opening, &case.cancel) {
        return format!("it is not known yet; when it comes, it is cancelled {person}");
    }
    let until = case.history.last().and_then(|last| last.until);
    let due = until.map(|until| format!(" at {}, {}", moment(until), remaining(until, now)));
    match (&case.phase, case.state()) {
        (Phase::Started { .. }, _) => format!("the answer to call {}", step(case.step)),
        (Phase::TakenOver, _) => {
            format!("whoever made call {} does not answer for it; a lookup, or a person, decides", step(case.step))
        }
        (Phase::Decided { effects, .. }, State::Waiting) => {
            let party = effects.as_ref().and_then(|effects| effects.event.data.waiting_for);
            let who = match party {
                Some(Party::Customer) => "the customer",
                Some(Party::Provider) => "the provider",
                None => "the provider, or its customer,",
            };
            let asked = due.filter(|_| until != case.deadline).map(|due| format!("; the provider is asked{due}"));
            let longest =
                case.deadline.map(|end| format!("; it may take until {}, {}", moment(end), remaining(end, now)));
            format!("it is accepted, and {who} finishes it{}{}", asked.unwrap_or_default(), longest.unwrap_or_default())
        }
        (Phase::Decided { .. }, State::Processing) => {
            let call = step(Step::call(case.step.generation, case.step.attempt));
            format!("nobody knows whether call {call} acted; the provider is asked{}", due.unwrap_or_default())
        }
        (Phase::Decided { .. }, _) => {
            let call = Step::call(case.step.generation, case.step.attempt.saturating_add(1));
            format!("call {}{}", step(call), due.unwrap_or_default())
        }
        (Phase::Open, _) => {
            format!("call {}{}", step(case.step), due.unwrap_or_else(|| ", as soon as it is its turn".to_owned()))
        }
    }
}

fn remaining(until: Timestamp, now: Timestamp) -> String {
    if until > now { format!("in {}", between(now, until)) } else { format!("due for {}", between(until, now)) }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
