use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::config::Filter;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(log: &Log, style: Style, events: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = subscriber(log, style, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, events);
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

fn filtered(filter: &str) -> Log {
    Log { filter: Filter::try_from(filter.to_owned()).unwrap(), ..Log::default() }
}

#[test]
fn a_json_line_is_one_flat_object_with_the_time_in_utc() {
    let text = logged(&Log::default(), Style::Json, || {
        let _span = tracing::info_span!("command", command.id = "order-1").entered();
        tracing::info!(target: "ferryd::test", duration_ms = 7, "two\nlines");
    });
    assert_eq!(text.lines().count(), 1);
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(line["message"], "two\nlines");
    assert_eq!(line["duration_ms"], 7);
    assert_eq!(line["target"], "ferryd::test");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["span"]["command.id"], "order-1");
    let time = line["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
}

#[test]
fn colours_are_for_people_on_a_terminal_who_want_them() {
    use Format::{Auto, Human, Json};
    let (plain, colour) = (Style::Human { colour: false }, Style::Human { colour: true });
    let table = [
        // format, terminal, NO_COLOR, expected
        (Auto, true, false, colour),
        (Auto, true, true, plain),
        (Auto, false, false, Style::Json),
        (Human, true, false, colour),
        (Human, false, false, plain),
        (Human, true, true, plain),
        (Json, true, false, Style::Json),
    ];
    for (format, terminal, no_color, expected) in table {
        assert_eq!(style(format, terminal, no_color), expected, "{format:?} {terminal} {no_color}");
    }
    let line = |style| logged(&Log::default(), style, || tracing::warn!("careful"));
    assert!(line(colour).contains('\u{1b}'));
    assert!(!line(plain).contains('\u{1b}') && line(plain).contains("careful"));
}

#[test]
fn the_filter_chooses_levels_by_target() {
    let text = logged(&filtered("warn,ferryd::amqp=debug"), Style::Json, || {
        tracing::info!(target: "ferryd::pipeline", "left out");
        tracing::debug!(target: "ferryd::amqp", "kept");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("kept"), "{text}");
}

#[test]
fn exchanges_are_logged_unless_switched_off() {
    let event = || {
        tracing::info!(target: EXCHANGE_TARGET, "exchange");
        tracing::info!("other");
    };
    for (exchanges, lines) in [(true, 2), (false, 1)] {
        for filter in ["info", "info,ferryd::exchange=trace"] {
            let text = logged(&Log { exchanges, ..filtered(filter) }, Style::Json, event);
            assert_eq!(text.lines().count(), lines, "{filter} {exchanges}: {text}");
        }
    }
}

#[test]
fn the_line_about_dropped_lines_has_the_form_of_the_others() {
    let now = jiff::Timestamp::UNIX_EPOCH;
    let json: serde_json::Value = serde_json::from_slice(&notice(Style::Json, 7, now)).unwrap();
    let text = logged(&Log::default(), Style::Json, || tracing::warn!(dropped = 7, "careful"));
    let other: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = |line: &serde_json::Value| line.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&json), names(&other));
    assert_eq!((&json["dropped"], &json["level"]), (&7.into(), &"WARN".into()));
    let human = String::from_utf8(notice(Style::Human { colour: true }, 7, now)).unwrap();
    assert_eq!(
        human,
        "1970-01-01T00:00:00Z  WARN ferryd::telemetry: dropped log lines that nobody read in time dropped=7\n"
    );
}
