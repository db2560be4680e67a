//! Formats an event as one line for people.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use serde_json::Value;

use super::format::shorten;
use super::output::StyledLine;
use crate::operator::follow::FollowedEvent;
use ferryd_domain::command::EchoedIdentity;
use ferryd_domain::conflict::{ConflictData, ConflictEvent};
use ferryd_domain::event::{Event, EventData};
use ferryd_domain::lifecycle::{FailureKind, LifecycleState};
use ferryd_domain::name::Name;
use ferryd_domain::webhook_event::{ReceivedData, ReceivedEvent};

/// The most characters of a result or message.
const MOST: usize = 160;

/// Formats an event: time, command, state, operation, generation and attempt, reference, and result
/// or failure.
pub(super) fn line(followed: &FollowedEvent) -> StyledLine {
    match followed {
        FollowedEvent::Event(event, _) => event_line(event),
        FollowedEvent::Conflict(event, _) => conflict_line(event),
        FollowedEvent::Webhook(event, _) => webhook_line(event),
        FollowedEvent::Other { routing_key, body } => {
            let time = followed.occurred_at().map_or_else(|| "        ".to_owned(), clock_time);
            StyledLine::default()
                .with_column(time, 0)
                .with_column(routing_key, 0)
                .with_text(excerpt(&body.to_string()))
        }
    }
}

/// Formats an event of a command.
pub(super) fn event_line(event: &Event) -> StyledLine {
    let EventData { command, state, generation, attempt, .. } = &event.data;
    let step =
        if *generation == 0 { format!("#{attempt}") } else { format!("g{generation}#{attempt}") };
    EventLine {
        at: event.time,
        id: command.id.as_str(),
        label: state.as_str(),
        style: style(*state),
        about: operation_of(command),
        step,
        reference: command.reference.as_deref(),
        summary: came_of_it(&event.data),
    }
    .styled()
}

/// Lists the addresses in the result of an accepted command, one line each and untruncated: a
/// person may have to open them, such as a checkout page.
pub(super) fn addresses(event: &Event) -> Vec<String> {
    let result = event.data.result.as_ref().filter(|_| event.data.state == LifecycleState::Waiting);
    let fields = result.and_then(Value::as_object).into_iter().flatten();
    let address = |(name, value): (&String, &Value)| {
        let address = value
            .as_str()
            .filter(|text| text.starts_with("https://") || text.starts_with("http://"))?;
        Some(format!("          {name}: {address}"))
    };
    fields.filter_map(address).collect()
}

/// Formats an event about a conflict.
fn conflict_line(conflict: &ConflictEvent) -> StyledLine {
    let ConflictData { command, message, .. } = &conflict.data;
    EventLine {
        at: conflict.time,
        id: command.id.as_str(),
        label: "conflict",
        style: AnsiColor::Red.on_default(),
        about: operation_of(command),
        step: String::new(),
        reference: command.reference.as_deref(),
        summary: excerpt(message),
    }
    .styled()
}

/// Formats an event about a webhook, with the id of its command where that is known.
fn webhook_line(received: &ReceivedEvent) -> StyledLine {
    let ReceivedData {
        command,
        provider,
        account,
        verified,
        event,
        provider_reference,
        meaning,
        ..
    } = &received.data;
    let about = if *account == Name::default_account() {
        provider.to_string()
    } else {
        format!("{provider}/{account}")
    };
    EventLine {
        at: received.time,
        id: command.as_ref().map_or("-", |command| command.id.as_str()),
        label: "webhook",
        style: Style::new(),
        about,
        step: String::new(),
        reference: provider_reference.as_deref(),
        summary: excerpt(&format!(
            "{}{} means {meaning}",
            if *verified { "" } else { "unverified: " },
            event.as_deref().unwrap_or("a call")
        )),
    }
    .styled()
}

/// The columns of a line.
struct EventLine<'e> {
    at: Timestamp,
    id: &'e str,
    label: &'e str,
    style: Style,
    about: String,
    step: String,
    reference: Option<&'e str>,
    summary: String,
}

impl EventLine<'_> {
    fn styled(self) -> StyledLine {
        let Self { at, id, label, style, about, step, reference, summary } = self;
        let line = StyledLine::default()
            .with_column(clock_time(at), 8)
            .with_column(id, 28)
            .with_styled_column(style, label, 10);
        line.with_column(about, 24)
            .with_column(step, 5)
            .with_column(reference.unwrap_or("-"), 16)
            .with_text(summary)
    }
}

fn operation_of(command: &EchoedIdentity) -> String {
    let name_or_unknown =
        |name: &Option<_>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    format!("{}.{}", name_or_unknown(&command.provider), name_or_unknown(&command.operation))
}

fn clock_time(time: Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

fn style(state: LifecycleState) -> Style {
    let colour = match state {
        LifecycleState::Pending => AnsiColor::BrightBlack,
        LifecycleState::Processing => AnsiColor::Blue,
        LifecycleState::Waiting => AnsiColor::Yellow,
        LifecycleState::Failed => AnsiColor::Red,
        LifecycleState::Completed => AnsiColor::Green,
    };
    colour.on_default()
}

fn came_of_it(data: &EventData) -> String {
    if let Some(error) = &data.error {
        let kind = error.kind.map(FailureKind::as_str);
        let parts: Vec<_> = kind.into_iter().chain(error.code.as_deref()).collect();
        let dead = if error.dead_lettered { " (dead-lettered)" } else { "" };
        return excerpt(&format!("{}: {}{dead}", parts.join(" "), error.message));
    }
    data.result.as_ref().map_or_else(String::new, |result| excerpt(&result.to_string()))
}

fn excerpt(text: &str) -> String {
    shorten(text, MOST)
}

#[cfg(test)]
#[path = "event_line_tests.rs"]
mod tests;
