//! Formats a record as one line for people, or as an object for programs.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::super::format::{format_step, format_time, shorten};
use super::super::output::StyledLine;
use ferryd_domain::event::EventData;
use ferryd_domain::job::state::JobProgress;
use ferryd_domain::job::{JobChange, JobRecord};
use ferryd_domain::ledger::record::{
    CallGuard, DecidedBy, FinishedRecord, JobDecision, LedgerLine, OpenedRecord, PromptRecord,
    Record, RecordBody, RecordId, ReplayedRecord, StartedRecord, Step,
};
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::name::Name;
use ferryd_ledger::line_reader::PlacedLine;

/// The most characters of a record's content in a line.
const MOST: usize = 160;
/// The number of characters shown of a writer's name, from its end. Its start is a time, which many
/// names share.
const TAIL: usize = 6;

/// Formats a record: time, the end of its id, kind, command, call, and content.
pub(super) fn line(read: &PlacedLine) -> StyledLine {
    let id = read.id.map_or_else(|| format!("@{}", read.offset), short);
    match &read.line {
        Ok(LedgerLine::Record(record)) => record_line(&id, record),
        Ok(LedgerLine::Job(record)) => job_line(&id, record),
        Ok(LedgerLine::Marker) => {
            let at = at(&read.text).unwrap_or_else(|| " ".repeat(24));
            StyledLine::default().with_column(at, 24).with_column(id, 10).with_text("marker")
        }
        Ok(LedgerLine::Foreign { kind, command, critical }) => {
            let command = command.as_ref().map_or("", |command| command.as_str());
            let weight = if *critical { "must not be passed over" } else { "passed over" };
            let at = at(&read.text).unwrap_or_else(|| " ".repeat(24));
            let line = StyledLine::default()
                .with_column(at, 24)
                .with_column(id, 10)
                .with_column(kind, 13)
                .with_column(command, 28);
            line.with_column("", 5).with_text(format!("not known to this version, {weight}"))
        }
        Err(error) => {
            let line = StyledLine::default()
                .with_column("", 24)
                .with_column(id, 10)
                .with_column("unreadable", 13);
            line.with_text(shorten(&error.to_string(), MOST))
        }
    }
}

/// Returns the record as it is stored, with its offset and id.
pub(super) fn json(read: &PlacedLine) -> Value {
    let id = read.id.map(|id| id.to_string());
    match (&read.line, serde_json::from_slice::<Value>(&read.text)) {
        (Ok(_), Ok(Value::Object(record))) => {
            let mut whole = json!({ "offset": read.offset, "id": id });
            if let Some(whole) = whole.as_object_mut() {
                whole.extend(record);
            }
            whole
        }
        (line, _) => {
            let why = line.as_ref().err().map(ToString::to_string);
            let text = String::from_utf8_lossy(&read.text);
            json!({ "offset": read.offset, "id": id, "unreadable": text, "why": why })
        }
    }
}

fn record_line(id: &str, record: &Record) -> StyledLine {
    let Record { at, command, fact: body } = record;
    let call = call(body).map(format_step).unwrap_or_default();
    let line = StyledLine::default().with_column(format_time(*at), 24).with_column(id, 10);
    let line = line
        .with_styled_column(style(body), body.kind(), 13)
        .with_column(command.as_str(), 28)
        .with_column(call, 5);
    line.with_text(shorten(&summarize_record(body), MOST))
}

fn job_line(id: &str, JobRecord { at, job, change }: &JobRecord) -> StyledLine {
    let line = StyledLine::default()
        .with_column(format_time(*at), 24)
        .with_column(id, 10)
        .with_column(change.kind(), 13);
    let says = match change {
        JobChange::Started(spec) => format!("{} {}", spec.action.as_str(), spec.actor),
        JobChange::Taken(claim) => {
            format!("term {} by the instance {}", claim.term, claim.instance)
        }
        JobChange::Progressed(report) => {
            format!("term {}: {}", report.term, counts(&report.progress))
        }
        JobChange::Paused(request) | JobChange::Resumed(request) | JobChange::Stopped(request) => {
            request.actor.to_string()
        }
        JobChange::Ended(ending) => {
            let reason = serde_json::to_value(ending.reason).unwrap_or_default();
            let detail =
                ending.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{}{detail}, {}", reason.as_str().unwrap_or_default(), counts(&ending.progress))
        }
    };
    line.with_text(shorten(&format!("{job} {says}"), MOST))
}

fn counts(progress: &JobProgress) -> String {
    format!("{} refused, {} not found", progress.refused, progress.not_found)
}

/// Reads the time from a line that is no valid record.
fn at(text: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(text).ok()?;
    line.get("at")?.as_str()?.parse().ok().map(format_time)
}

fn short(id: RecordId) -> String {
    let writer = id.writer.simple().to_string();
    format!("{}.{}", &writer[writer.len() - TAIL..], id.number)
}

fn call(body: &RecordBody) -> Option<Step> {
    match body {
        RecordBody::Opened(opened) => Some(opened.step),
        RecordBody::Started(started) => Some(started.step),
        RecordBody::Finished(finished) => Some(finished.step),
        RecordBody::Replayed(replayed) => Some(Step::call(replayed.from.saturating_add(1), 1)),
        RecordBody::Released(_)
        | RecordBody::ClaimExpired(_)
        | RecordBody::Settled(_)
        | RecordBody::CancelRequested(_)
        | RecordBody::ReplyRequested(_)
        | RecordBody::Conflicted(_)
        | RecordBody::Erased(_)
        | RecordBody::Prompted(_) => None,
    }
}

fn style(body: &RecordBody) -> Style {
    let colour = match body {
        RecordBody::Finished(finished) => match finished.effects.event.data.state {
            LifecycleState::Completed => AnsiColor::Green,
            LifecycleState::Failed => AnsiColor::Red,
            _ => AnsiColor::Yellow,
        },
        RecordBody::Conflicted(_) => AnsiColor::Red,
        RecordBody::Started(_) => AnsiColor::Blue,
        RecordBody::Settled(_) | RecordBody::ReplyRequested(_) => AnsiColor::BrightBlack,
        _ => return Style::new(),
    };
    colour.on_default()
}

/// Summarises the content of a record.
fn summarize_record(body: &RecordBody) -> String {
    match body {
        RecordBody::Opened(opened) => opened_gist(opened),
        RecordBody::Started(started) => started_gist(started),
        RecordBody::Released(released) => {
            format!("call of {} is not made", short(released.started))
        }
        RecordBody::ClaimExpired(taken) => format!("claim {} was waited out", short(taken.claim)),
        RecordBody::Finished(finished) => finished_gist(finished),
        RecordBody::Settled(settled) => format!("{} is published", short(settled.finished)),
        RecordBody::CancelRequested(request) => request.actor.to_string(),
        RecordBody::Replayed(replayed) => {
            let ReplayedRecord { actor: person, key, .. } = replayed.as_ref();
            let key = if key.is_some() { ", under the old key" } else { "" };
            format!("{person}{key}")
        }
        RecordBody::ReplyRequested(target) => {
            format!("the end is to be sent to {}", target.reply_to)
        }
        RecordBody::Conflicted(note) => format!("{}: {}", note.conflict, note.message),
        RecordBody::Erased(erased) => erased.actor.to_string(),
        RecordBody::Prompted(PromptRecord { prompt, starts_query: asks }) => {
            format!("{prompt}{}", if *asks { "; the provider is queried" } else { "" })
        }
    }
}

fn opened_gist(opened: &OpenedRecord) -> String {
    let OpenedRecord { identity: command_identity, reason, until, submitted_by: by, .. } = opened;
    let word = serde_json::to_value(reason).unwrap_or_default();
    let until = until.map(|until| format!(", until {}", format_time(until))).unwrap_or_default();
    let name =
        |name: &Option<Name>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let (provider, operation) =
        (name(&command_identity.command.provider), name(&command_identity.command.operation));
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("{provider}.{operation} {}{by}{until}", word.as_str().unwrap_or_default())
}

fn started_gist(started: &StartedRecord) -> String {
    let StartedRecord { identity: command_identity, guard, unknown, key, .. } = started;
    let guard = match (guard, key) {
        (CallGuard::Key(_), Some(key)) => format!("under the key {}", key.as_str()),
        (CallGuard::Key(_), None) => "under a key".to_owned(),
        (CallGuard::Claim(ms), _) => format!("claimed for {ms} ms"),
        (CallGuard::ReadOnly, _) => "reads only".to_owned(),
    };
    let name =
        |name: &Option<Name>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let what = command_identity.as_ref().map(|command_identity| &command_identity.command);
    let what = what
        .map(|known| format!("{}.{} ", name(&known.provider), name(&known.operation)))
        .unwrap_or_default();
    format!("{what}{guard}{}", if *unknown { ", may have acted before" } else { "" })
}

fn finished_gist(finished: &FinishedRecord) -> String {
    let EventData { state, error, provider_reference, next_attempt_at, .. } =
        &finished.effects.event.data;
    let mut gist = state.as_str().to_owned();
    if let Some(error) = error {
        let words = error.kind.map(FailureKind::as_str).into_iter().chain(error.code.as_deref());
        gist = words.fold(gist, |gist, word| format!("{gist} {word}"));
        gist = format!("{gist}: {}", error.message);
    }
    if let Some(reference) = provider_reference {
        gist = format!("{gist} {reference}");
    }
    if let Some(due) = next_attempt_at {
        gist = format!("{gist}; again at {}", format_time(*due));
    }
    match &finished.decided_by {
        DecidedBy::Holder => gist,
        DecidedBy::Canceller(person)
        | DecidedBy::Operator(person)
        | DecidedBy::Job(JobDecision { actor: person, .. }) => {
            format!("{gist} ({person})")
        }
    }
}

#[cfg(test)]
#[path = "record_line_tests.rs"]
mod tests;
