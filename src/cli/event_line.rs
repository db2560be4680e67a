//! An event as one line for people.

use anstyle::{AnsiColor, Style};

use super::output::visible;
use super::wording::shortened;
use crate::domain::event::{Event, EventData};
use crate::domain::lifecycle::{Kind, State};
use crate::domain::name::Name;
use crate::domain::received::{ReceivedData, ReceivedEvent};
use crate::operator::follow::Followed;

/// The most characters of a result or message.
const MOST: usize = 160;

/// Time, command, state, operation, generation and attempt, reference, and what came of it.
pub(super) fn line(followed: &Followed) -> String {
    match followed {
        Followed::Event(event, _) => event_line(event),
        Followed::Callback(event, _) => callback_line(event),
        Followed::Other { routing_key, body } => {
            let time = followed.at().map_or_else(|| "        ".to_owned(), clock);
            format!("{time}  {}  {}", visible(routing_key), excerpt(&body.to_string()))
        }
    }
}

/// The same for an event alone.
pub(super) fn event_line(event: &Event) -> String {
    let EventData { command, state, generation, attempt, .. } = &event.data;
    let word = |name: &Option<_>| name.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let operation = format!("{}.{}", word(&command.provider), word(&command.operation));
    let step = if *generation == 0 { format!("#{attempt}") } else { format!("g{generation}#{attempt}") };
    let style = style(*state);
    let reference = visible(command.reference.as_deref().unwrap_or("-"));
    let line = format!(
        "{}  {:28}  {style}{:10}{style:#}  {operation:24}  {step:5}  {reference:16}  {}",
        clock(event.time),
        visible(command.id.as_str()),
        state.as_str(),
        came_of_it(&event.data)
    );
    line.trim_end().to_owned()
}

/// The same for what a webhook call told; where its command is known, under that.
fn callback_line(received: &ReceivedEvent) -> String {
    let ReceivedData { command, provider, account, event, provider_reference, meaning, .. } = &received.data;
    let id = command.as_ref().map_or("-", |command| command.id.as_str());
    let whose =
        if *account == Name::default_account() { provider.to_string() } else { format!("{provider}/{account}") };
    let reference = provider_reference.as_deref().unwrap_or("-");
    let told = format!("{} means {meaning}", event.as_deref().unwrap_or("a call"));
    format!(
        "{}  {:28}  {:10}  {whose:24}  {:5}  {:16}  {}",
        clock(received.time),
        visible(id),
        "callback",
        "",
        visible(reference),
        excerpt(&told)
    )
}

fn clock(time: jiff::Timestamp) -> String {
    time.strftime("%H:%M:%S").to_string()
}

fn style(state: State) -> Style {
    let colour = match state {
        State::Pending => AnsiColor::BrightBlack,
        State::Processing => AnsiColor::Blue,
        State::Waiting => AnsiColor::Yellow,
        State::Failed => AnsiColor::Red,
        State::Completed => AnsiColor::Green,
    };
    colour.on_default()
}

fn came_of_it(data: &EventData) -> String {
    if let Some(error) = &data.error {
        let kind = error.kind.map(Kind::as_str);
        let words: Vec<_> = kind.into_iter().chain(error.code.as_deref()).collect();
        let dead = if error.dead_lettered { " (dead-lettered)" } else { "" };
        return excerpt(&format!("{}: {}{dead}", words.join(" "), error.message));
    }
    data.result.as_ref().map_or_else(String::new, |result| excerpt(&result.to_string()))
}

fn excerpt(text: &str) -> String {
    visible(&shortened(text, MOST))
}

#[cfg(test)]
#[path = "event_line_tests.rs"]
mod tests;
