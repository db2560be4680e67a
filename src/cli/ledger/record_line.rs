//! Formats a record as one line for people, or as an object for programs.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::super::output::StyledLine;
use super::super::wording::{moment, shortened, step};
use ferryd_domain::event::EventData;
use ferryd_domain::job::state::JobProgress;
use ferryd_domain::job::{JobChange, JobRecord};
use ferryd_domain::ledger::record::{
    By, Fact, Finished, Guard, JobDecision, Line, Opened, Prompted, Record, RecordId, Replayed, Started, Step,
};
use ferryd_domain::lifecycle::{Kind, State};
use ferryd_domain::name::Name;
use ferryd_ledger::reading::Read;

/// The most characters of a record's content in a line.
const MOST: usize = 160;
/// The number of characters shown of a writer's name, from its end. Its start is a time, which many
/// names share.
const TAIL: usize = 6;

/// Formats a record: time, the end of its id, kind, command, call, and content.
pub(super) fn line(read: &Read) -> StyledLine {
    let id = read.id.map_or_else(|| format!("@{}", read.offset), short);
    match &read.line {
        Ok(Line::Record(record)) => record_line(&id, record),
        Ok(Line::Job(record)) => job_line(&id, record),
        Ok(Line::Marker) => {
            let at = at(&read.text).unwrap_or_else(|| " ".repeat(24));
            StyledLine::default().with_column(at, 24).with_column(id, 10).with_text("marker")
        }
        Ok(Line::Foreign { kind, command, critical }) => {
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
            let line = StyledLine::default().with_column("", 24).with_column(id, 10).with_column("unreadable", 13);
            line.with_text(shortened(&error.to_string(), MOST))
        }
    }
}

/// Returns the record as it is stored, with its offset and id.
pub(super) fn json(read: &Read) -> Value {
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
    let Record { at, command, fact } = record;
    let call = call(fact).map(step).unwrap_or_default();
    let line = StyledLine::default().with_column(moment(*at), 24).with_column(id, 10);
    let line =
        line.with_styled_column(style(fact), fact.kind(), 13).with_column(command.as_str(), 28).with_column(call, 5);
    line.with_text(shortened(&gist(fact), MOST))
}

fn job_line(id: &str, JobRecord { at, job, change }: &JobRecord) -> StyledLine {
    let line = StyledLine::default().with_column(moment(*at), 24).with_column(id, 10).with_column(change.kind(), 13);
    let says = match change {
        JobChange::Started(spec) => format!("{} {}", spec.action.as_str(), spec.actor),
        JobChange::Taken(claim) => format!("term {} by the instance {}", claim.term, claim.instance),
        JobChange::Progressed(report) => format!("term {}: {}", report.term, counts(&report.progress)),
        JobChange::Paused(request) | JobChange::Resumed(request) | JobChange::Stopped(request) => {
            request.actor.to_string()
        }
        JobChange::Ended(ending) => {
            let reason = serde_json::to_value(ending.reason).unwrap_or_default();
            let detail = ending.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("{}{detail}, {}", reason.as_str().unwrap_or_default(), counts(&ending.progress))
        }
    };
    line.with_text(shortened(&format!("{job} {says}"), MOST))
}

fn counts(progress: &JobProgress) -> String {
    format!("{} refused, {} not found", progress.refused, progress.not_found)
}

/// Reads the time from a line that is no valid record.
fn at(text: &[u8]) -> Option<String> {
    let line: Value = serde_json::from_slice(text).ok()?;
    line.get("at")?.as_str()?.parse().ok().map(moment)
}

fn short(id: RecordId) -> String {
    let writer = id.writer.simple().to_string();
    format!("{}.{}", &writer[writer.len() - TAIL..], id.number)
}

fn call(fact: &Fact) -> Option<Step> {
    match fact {
        Fact::Opened(opened) => Some(opened.step),
        Fact::Started(started) => Some(started.step),
        Fact::Finished(finished) => Some(finished.step),
        Fact::Replayed(replayed) => Some(Step::call(replayed.from.saturating_add(1), 1)),
        Fact::Released(_)
        | Fact::TakenOver(_)
        | Fact::Settled(_)
        | Fact::CancelWished(_)
        | Fact::Asked(_)
        | Fact::Conflicted(_)
        | Fact::Erased(_)
        | Fact::Prompted(_) => None,
    }
}

fn style(fact: &Fact) -> Style {
    let colour = match fact {
        Fact::Finished(finished) => match finished.effects.event.data.state {
            State::Completed => AnsiColor::Green,
            State::Failed => AnsiColor::Red,
            _ => AnsiColor::Yellow,
        },
        Fact::Conflicted(_) => AnsiColor::Red,
        Fact::Started(_) => AnsiColor::Blue,
        Fact::Settled(_) | Fact::Asked(_) => AnsiColor::BrightBlack,
        _ => return Style::new(),
    };
    colour.on_default()
}

/// Summarises the content of a record.
fn gist(fact: &Fact) -> String {
    match fact {
        Fact::Opened(opened) => opened_gist(opened),
        Fact::Started(started) => started_gist(started),
        Fact::Released(released) => format!("call of {} is not made", short(released.started)),
        Fact::TakenOver(taken) => format!("claim {} was waited out", short(taken.claim)),
        Fact::Finished(finished) => finished_gist(finished),
        Fact::Settled(settled) => format!("{} is published", short(settled.finished)),
        Fact::CancelWished(wish) => wish.person.to_string(),
        Fact::Replayed(replayed) => {
            let Replayed { person, key, .. } = replayed.as_ref();
            let key = if key.is_some() { ", under the old key" } else { "" };
            format!("{person}{key}")
        }
        Fact::Asked(asked) => format!("the end is to be told to {}", asked.reply_to),
        Fact::Conflicted(note) => format!("{}: {}", note.conflict, note.message),
        Fact::Erased(erased) => erased.person.to_string(),
        Fact::Prompted(Prompted { prompt, asks }) => {
            format!("{prompt}{}", if *asks { "; the provider is asked" } else { "" })
        }
    }
}

fn opened_gist(opened: &Opened) -> String {
    let Opened { opening, reason, until, by, .. } = opened;
    let word = serde_json::to_value(reason).unwrap_or_default();
    let until = until.map(|until| format!(", until {}", moment(until))).unwrap_or_default();
    let name = |name: &Option<Name>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let (provider, operation) = (name(&opening.identity.provider), name(&opening.identity.operation));
    let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    format!("{provider}.{operation} {}{by}{until}", word.as_str().unwrap_or_default())
}

fn started_gist(started: &Started) -> String {
    let Started { opening, guard, unknown, key, .. } = started;
    let guard = match (guard, key) {
        (Guard::Key(_), Some(key)) => format!("under the key {}", key.as_str()),
        (Guard::Key(_), None) => "under a key".to_owned(),
        (Guard::Claim(ms), _) => format!("claimed for {ms} ms"),
        (Guard::Harmless, _) => "reads only".to_owned(),
    };
    let name = |name: &Option<Name>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let what = opening.as_ref().map(|opening| &opening.identity);
    let what = what.map(|known| format!("{}.{} ", name(&known.provider), name(&known.operation))).unwrap_or_default();
    format!("{what}{guard}{}", if *unknown { ", may have acted before" } else { "" })
}

fn finished_gist(finished: &Finished) -> String {
    let EventData { state, error, provider_reference, next_attempt_at, .. } = &finished.effects.event.data;
    let mut gist = state.as_str().to_owned();
    if let Some(error) = error {
        let words = error.kind.map(Kind::as_str).into_iter().chain(error.code.as_deref());
        gist = words.fold(gist, |gist, word| format!("{gist} {word}"));
        gist = format!("{gist}: {}", error.message);
    }
    if let Some(reference) = provider_reference {
        gist = format!("{gist} {reference}");
    }
    if let Some(due) = next_attempt_at {
        gist = format!("{gist}; again at {}", moment(*due));
    }
    match &finished.by {
        By::Holder => gist,
        By::Canceller(person) | By::Operator(person) | By::Job(JobDecision { person, .. }) => {
            format!("{gist} ({person})")
        }
    }
}

#[cfg(test)]
#[path = "record_line_tests.rs"]
mod tests;
