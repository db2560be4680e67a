//! Escapes the text of providers and publishers in log lines, which terminals show too.

use std::fmt::{self, Debug, Display, Write as _};

use anstyle::Style;
use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use ferryd_domain::json_writer::JsonWriter;
use ferryd_domain::timestamp_text::push_timestamp_micros;
use ferryd_redact::escape::{JsonEscaper, JsonTextEscaper, TextEscaper, push_json_text};

/// The size of most lines, in bytes.
const USUAL_SIZE: usize = 2048;

/// Writes a field of an event or span for people: the message alone, other fields as `name=value`.
pub(super) fn write_field(
    writer: &mut Writer<'_>,
    field: &Field,
    value: &dyn Debug,
) -> fmt::Result {
    let name = field.name();
    if name != "message" {
        let has_styles = writer.has_ansi_escapes();
        let style = |style: Style| if has_styles { style } else { Style::new() };
        let (italic, dimmed) = (style(Style::new().italic()), style(Style::new().dimmed()));
        write!(writer, "{italic}{name}{italic:#}{dimmed}={dimmed:#}")?;
    }
    write!(TextEscaper(writer), "{value:?}")
}

/// Formats an event as a line of JSON: the time, the level, the fields, the target and, where the
/// event happens in a span, the span.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = begin_line(*metadata.level());
        event.record(&mut JsonFieldWriter { line: &mut line });
        push_member(&mut line, "target", metadata.target());
        let parent = event.parent().and_then(|id| context.span(id));
        if let Some(span) = parent.or_else(|| context.lookup_current()) {
            push_span::<S, N>(&mut line, &span);
        }
        line.push_str("}\n");
        writer.write_str(&line)
    }
}

/// Makes a line whose fields `push_fields` appends, each after a comma.
pub(super) fn json_line(
    level: Level,
    target: &str,
    push_fields: impl FnOnce(&mut String),
) -> String {
    let mut line = begin_line(level);
    push_fields(&mut line);
    push_member(&mut line, "target", target);
    line.push_str("}\n");
    line
}

/// Begins a line with the time and the level.
fn begin_line(level: Level) -> String {
    let mut line = String::with_capacity(USUAL_SIZE);
    line.push_str("{\"timestamp\":\"");
    push_timestamp_micros(&mut line, Timestamp::now());
    line.push_str("\",\"level\":\"");
    line.push_str(level.as_str());
    line.push('"');
    line
}

/// Writes the fields of an event as members of a JSON object that is not empty.
struct JsonFieldWriter<'l> {
    line: &'l mut String,
}

impl JsonFieldWriter<'_> {
    fn push_value(&mut self, field: &Field, value: impl Display) {
        push_name(self.line, field.name());
        // Writing to memory does not fail.
        let _ = write!(self.line, "{value}");
    }
}

impl Visit for JsonFieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        push_name(self.line, field.name());
        self.line.push('"');
        // A value that fails to describe itself is cut there.
        let _ = write!(JsonTextEscaper(&mut *self.line), "{value:?}");
        self.line.push('"');
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        push_member(self.line, field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        push_name(self.line, field.name());
        JsonWriter::new(self.line).number("", value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_value(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push_value(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_value(field, value);
    }
}

/// Appends the name of a member. Names are of this program and its libraries, so no terminal has to
/// be protected from them.
fn push_name(line: &mut String, name: &str) {
    let mut json = JsonWriter::new(line);
    json.text(",", name);
    json.raw(":");
}

fn push_member(line: &mut String, name: &str, value: &str) {
    push_name(line, name);
    push_json_text(line, value);
}

/// Appends a span, whose fields were formatted as a JSON object when it was entered.
fn push_span<'s, S, N>(line: &mut String, span: &SpanRef<'s, S>)
where
    S: LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    let extensions = span.extensions();
    let formatted = extensions.get::<FormattedFields<N>>().map_or("", |fields| &fields.fields);
    let fields = formatted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let fields = fields.unwrap_or_default();
    line.push_str(",\"span\":{");
    // Writing to memory does not fail.
    let _ = JsonEscaper(&mut *line).write_str(fields);
    line.push_str(if fields.is_empty() { "\"name\":" } else { ",\"name\":" });
    push_json_text(line, span.name());
    line.push('}');
}
