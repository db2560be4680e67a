//! The log: where it goes, in which form, and what is left out.
//!
//! It goes to the standard error, one line an event, with the time in UTC (RFC 3339). Standard output is for what a
//! command
//! prints.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::filter::{Directive, EnvFilter, ParseError};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use crate::config::{Format, Log};

/// The target of the log of requests to providers and their answers.
pub const EXCHANGE_TARGET: &str = "ferryd::exchange";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read. The configuration refuses such a filter before.
    #[error("log.filter cannot be read: {0}")]
    Filter(#[from] ParseError),
    /// This process has a log already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] SetGlobalDefaultError),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Human { colour: bool },
    Json,
}

/// Sends the log of this process to the standard error.
///
/// # Errors
/// Where the filter cannot be read, or the process has a log already.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = style(log.format, std::io::stderr().is_terminal(), no_color);
    tracing::subscriber::set_global_default(subscriber(log, style, std::io::stderr)?)?;
    Ok(())
}

/// Colours only for people on a terminal who did not say `NO_COLOR` (<https://no-color.org>).
fn style(format: Format, terminal: bool, no_color: bool) -> Style {
    let human = Style::Human { colour: terminal && !no_color };
    match format {
        Format::Human => human,
        Format::Auto if terminal => human,
        Format::Auto | Format::Json => Style::Json,
    }
}

fn filter(log: &Log) -> Result<EnvFilter, ParseError> {
    // lapin logs every lost connection as errors of its own. ferryd handles them, and says so once.
    let filter = EnvFilter::try_new(format!("lapin=off,{}", log.filter.as_str()))?;
    if log.exchanges {
        return Ok(filter);
    }
    let off: Directive = format!("{EXCHANGE_TARGET}=off").parse()?;
    Ok(filter.add_directive(off))
}

fn subscriber<W>(log: &Log, style: Style, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter(log)?);
    Ok(match style {
        Style::Human { colour } => Box::new(registry.with(fmt::layer().with_ansi(colour).with_writer(writer))),
        Style::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer);
            Box::new(registry.with(layer))
        }
    })
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
