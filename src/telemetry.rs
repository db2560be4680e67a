//! The log: its destination, its format, and its limits.
//!
//! The log goes to the standard error, one line for each event, with the time in UTC (RFC 3339).
//! The standard output is for the results of subcommands. No task waits for the log to be written:
//! where the log is not read, lines are dropped, and the log states how many.

mod log_format;
mod log_queue;
pub mod log_throttle;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::IsTerminal as _;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use tracing::subscriber::SetGlobalDefaultError;
use tracing::{Level, Subscriber, error};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{Directive, EnvFilter, ParseError};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::Registry;

use self::log_format::{JsonLine, json_line, write_field};
use self::log_queue::LogQueue;
use crate::config::{LogConfig, LogFormat};

/// The target of the log of calls to providers and their answers.
pub const CALL_TARGET: &str = "ferryd::call";

/// The reason why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read. The configuration refuses such a filter before.
    #[error("log.filter cannot be read: {0}")]
    Filter(#[from] ParseError),
    /// A log of this process exists already.
    #[error("the log is set up already: {0}")]
    Twice(#[from] SetGlobalDefaultError),
    /// The system has no thread left.
    #[error("failed to start the thread that writes the log: {0}")]
    Thread(#[from] std::io::Error),
}

/// The longest time that the end of the process waits for the log to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The log of this process.
static LOG: OnceLock<ProcessLog> = OnceLock::new();

/// The lines of a log that are still to be written, and their style.
struct ProcessLog {
    queue: LogQueue,
    style: LogStyle,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogStyle {
    Human { colour: bool },
    Json,
}

/// Sends the log of this process to the standard error, and panics to the log. [`flush`] it before
/// the process ends.
///
/// # Errors
/// [`TelemetryError`] where the filter cannot be read, the process has a log already, or there can
/// be no thread to write it.
#[expect(clippy::disallowed_methods, reason = "every line is escaped by its format")]
pub fn init(log: &LogConfig) -> Result<(), TelemetryError> {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = style(log.format, std::io::stderr().is_terminal(), no_color);
    let queue = LogQueue::start(std::io::stderr(), move |dropped| {
        notice(style, dropped, Timestamp::now())
    })?;
    let writer = queue.clone();
    tracing::subscriber::set_global_default(subscriber(log, style, move || writer.clone())?)?;
    LOG.get_or_init(|| ProcessLog { queue, style });
    // The standard hook writes to the standard error itself, and would block where nobody reads
    // that.
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Waits until the log is written, for a second at most.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.queue.flush(FLUSH_TIMEOUT);
    }
}

/// Writes a line of JSON whose fields `push_fields` appends, each after a comma. No filter leaves the
/// line out. Returns false, and writes nothing, where the lines of the log are not JSON.
pub fn write_json(target: &str, level: Level, push_fields: impl FnOnce(&mut String)) -> bool {
    match LOG.get() {
        Some(ProcessLog { queue, style: LogStyle::Json }) => {
            queue.push(json_line(level, target, push_fields).as_bytes());
            true
        }
        _ => false,
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let (reason, place) =
        (panic.payload_as_str().unwrap_or_default(), panic.location().map(ToString::to_string));
    let backtrace =
        Some(Backtrace::capture()).filter(|trace| trace.status() == BacktraceStatus::Captured);
    let backtrace = backtrace.map(|trace| trace.to_string());
    error!(reason, place, backtrace, "panicked");
}

/// Writes the line that says how many lines are missing. The line is no event, so no filter leaves
/// it out.
fn notice(style: LogStyle, dropped: u64, now: Timestamp) -> Vec<u8> {
    let (target, message) = (module_path!(), "dropped log lines that nobody read in time");
    let line = match style {
        LogStyle::Human { .. } => format!("{now}  WARN {target}: {message} dropped={dropped}"),
        LogStyle::Json => {
            let now = now.to_string();
            json!({"timestamp": now, "level": "WARN", "message": message, "dropped": dropped, "target": target})
                .to_string()
        }
    };
    format!("{line}\n").into_bytes()
}

/// Chooses the style. Colours are only for a terminal where `NO_COLOR` is not set
/// (<https://no-color.org>).
fn style(format: LogFormat, terminal: bool, no_color: bool) -> LogStyle {
    let human = LogStyle::Human { colour: terminal && !no_color };
    match format {
        LogFormat::Human => human,
        LogFormat::Auto if terminal => human,
        LogFormat::Auto | LogFormat::Json => LogStyle::Json,
    }
}

fn filter(log: &LogConfig) -> Result<EnvFilter, ParseError> {
    // lapin and async-nats log every lost connection as several errors. ferryd handles them and logs
    // one line.
    let filter = EnvFilter::try_new(format!("lapin=off,async_nats=off,{}", log.filter.as_str()))?;
    if log.calls {
        return Ok(filter);
    }
    let off: Directive = format!("{CALL_TARGET}=off").parse()?;
    Ok(filter.add_directive(off))
}

fn subscriber<W>(
    log: &LogConfig,
    style: LogStyle,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter(log)?);
    Ok(match style {
        LogStyle::Human { colour } => {
            let fields = fmt::format::debug_fn(write_field).delimited(" ");
            Box::new(
                registry
                    .with(fmt::layer().fmt_fields(fields).with_ansi(colour).with_writer(writer)),
            )
        }
        LogStyle::Json => {
            let layer = fmt::layer().fmt_fields(JsonFields::new()).event_format(JsonLine);
            Box::new(registry.with(layer.with_writer(writer)))
        }
    })
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
