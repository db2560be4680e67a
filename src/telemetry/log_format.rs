//! Escapes the text of providers and publishers in log lines, which terminals show too.

use std::fmt::{self, Debug, Write as _};

use anstyle::Style;
use tracing::field::Field;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::escape::{JsonEscaper, TextEscaper};

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

/// Formats events as JSON, and escapes the characters that a terminal would obey or hide.
pub(super) struct EscapedJson<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for EscapedJson<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut escaper = JsonEscaper(writer);
        self.0.format_event(context, Writer::new(&mut escaper), event)
    }
}
