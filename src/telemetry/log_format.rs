//! Escapes the text of providers and publishers in log lines, which terminals show too.

use std::fmt::{self, Debug, Write as _};

use anstyle::Style;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use crate::escape::{JsonEscaper, JsonTextEscaper, TextEscaper};

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
/// event happens in a span, the span. Each part is written once, straight to the line.
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
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
        let mut fields = JsonFieldWriter { writer, result: Ok(()) };
        event.record(&mut fields);
        let JsonFieldWriter { mut writer, result } = fields;
        result?;
        writer.write_str(",\"target\":")?;
        write_text(&mut writer, metadata.target())?;
        let parent = event.parent().and_then(|id| context.span(id));
        if let Some(span) = parent.or_else(|| context.lookup_current()) {
            write_span::<S, N>(&mut writer, &span)?;
        }
        writer.write_str("}\n")
    }
}

/// Writes the fields of an event as members of a JSON object that is not empty.
struct JsonFieldWriter<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
}

impl<'w> JsonFieldWriter<'w> {
    fn write(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'w>) -> fmt::Result) {
        if self.result.is_err() {
            return;
        }
        let writer = &mut self.writer;
        let name = writer.write_str(",").and_then(|()| write_text(writer, field.name()));
        self.result = name.and_then(|()| writer.write_str(":")).and_then(|()| write(writer));
    }
}

impl Visit for JsonFieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, |writer| {
            writer.write_str("\"")?;
            write!(JsonTextEscaper(&mut *writer), "{value:?}")?;
            writer.write_str("\"")
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |writer| write_text(writer, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, |writer| write!(writer, "{}", Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |writer| write!(writer, "{value}"));
    }
}

/// Writes a text as a JSON value.
fn write_text(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    writer.write_str("\"")?;
    JsonTextEscaper(&mut *writer).write_str(text)?;
    writer.write_str("\"")
}

/// Writes a span, whose fields were formatted as a JSON object when it was entered.
fn write_span<'s, S, N>(writer: &mut Writer<'_>, span: &SpanRef<'s, S>) -> fmt::Result
where
    S: LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    let extensions = span.extensions();
    let formatted = extensions.get::<FormattedFields<N>>().map_or("", |fields| &fields.fields);
    let fields = formatted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let fields = fields.unwrap_or_default();
    writer.write_str(",\"span\":{")?;
    JsonEscaper(&mut *writer).write_str(fields)?;
    writer.write_str(if fields.is_empty() { "\"name\":" } else { ",\"name\":" })?;
    write_text(writer, span.name())?;
    writer.write_str("}")
}
