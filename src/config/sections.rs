//! The sections of the configuration, one struct each.
//!
//! Every field states its unit, its default and its environment variable; these texts are the JSON
//! Schema's descriptions too.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::EnvironmentVariables;
use ferryd_domain::lifecycle::LifecycleState;
use ferryd_domain::retry::RetryPolicy;
use ferryd_settings::units;

/// The provider files, and defaults for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProvidersConfig {
    /// The folder of the provider files, `*.toml`; relative to the configuration file. Default
    /// `providers`. Environment: `FERRYD_PROVIDERS__DIR`.
    pub dir: PathBuf,
    /// The maximum of concurrent calls to one account of a provider, 1 to 65535. Default 64.
    /// Environment: `FERRYD_PROVIDERS__MAX_IN_FLIGHT`.
    #[schemars(range(min = 1))]
    pub max_in_flight: u16,
    /// The maximum size of all commands in progress at one provider, at least `1MiB`. Default
    /// `64MiB`. Environment: `FERRYD_PROVIDERS__MAX_BYTES_IN_FLIGHT`.
    #[serde(with = "units::size")]
    #[schemars(schema_with = "units::size::schema")]
    pub max_bytes_in_flight: usize,
}

impl Default for ProvidersConfig {
    fn default() -> Self {
        Self { dir: "providers".into(), max_in_flight: 64, max_bytes_in_flight: 64 << 20 }
    }
}

/// The retries of commands, unless the provider file has its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The delay after each failed attempt, 1 s to 12 h each; there is one attempt more than
    /// entries. Default `5s 30s 2m 10m 30m 2h 6h`. Environment: `FERRYD_RETRY__SCHEDULE`, separated
    /// by commas.
    #[serde(with = "units::durations")]
    #[schemars(schema_with = "units::durations::schema")]
    pub schedule: Vec<Duration>,
    /// The time after the first attempt at which the last one may start. Default `24h`.
    /// Environment: `FERRYD_RETRY__GIVE_UP_AFTER`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub give_up_after: Duration,
    /// True if ferryd chooses a neighbouring delay at random, so that retries after an outage do
    /// not come at the same time. Default true. Environment: `FERRYD_RETRY__JITTER`.
    pub jitter: bool,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let RetryPolicy { schedule, give_up_after, jitter } = RetryPolicy::default();
        Self { schedule, give_up_after, jitter }
    }
}

impl From<&RetryConfig> for RetryPolicy {
    fn from(retry: &RetryConfig) -> Self {
        Self {
            schedule: retry.schedule.clone(),
            give_up_after: retry.give_up_after,
            jitter: retry.jitter,
        }
    }
}

/// The events about commands, and their subscribers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// The states that ferryd publishes as events: of `pending`, `processing`, `waiting`,
    /// `completed`, `failed`; the last two always. Default `waiting`, `completed`, `failed`.
    /// Environment: `FERRYD_EVENTS__STATES`, separated by commas.
    #[serde(deserialize_with = "states")]
    pub states: Vec<LifecycleState>,
    /// Queues that ferryd declares and binds before it publishes the first event. Default: none.
    /// Environment: none.
    pub subscribers: Vec<SubscriberConfig>,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            states: vec![
                LifecycleState::Waiting,
                LifecycleState::Completed,
                LifecycleState::Failed,
            ],
            subscribers: Vec::new(),
        }
    }
}

fn states<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LifecycleState>, D::Error> {
    let state = |word: String| {
        let known = LifecycleState::ALL.into_iter().find(|state| state.as_str() == word);
        known.ok_or_else(|| {
            let words = LifecycleState::ALL.map(LifecycleState::as_str).join(", ");
            D::Error::custom(format_args!("the entry `{word}` is no state: write some of {words}"))
        })
    };
    Vec::<String>::deserialize(deserializer)?.into_iter().map(state).collect()
}

/// A queue for a subscriber of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriberConfig {
    /// The queue's name, 1 to 255 bytes.
    #[schemars(length(min = 1, max = 255))]
    pub queue: String,
    /// The binding keys, such as `payment.#` or `*.stripe.*.failed`: `*` stands for one word, `#`
    /// for any number of words.
    #[schemars(length(min = 1))]
    pub bindings: Vec<String>,
}

/// The record of what happened to each command: a stream of the broker, and an index of it on this
/// host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// The folder of the index, relative to the configuration file. ferryd rebuilds a missing index
    /// from the stream. Default `$STATE_DIRECTORY`, else `$XDG_STATE_HOME/ferryd`, else
    /// `$HOME/.local/state/ferryd`, else `/var/lib/ferryd`. Environment: `FERRYD_LEDGER__DIR`.
    pub dir: Option<PathBuf>,
    /// The time for which ferryd keeps the ids of ended commands and the digests of their contents,
    /// to recognise duplicates. At least two days more than `retry.give_up_after`, and than the
    /// longest `give_up_after`, key retention and `deadline` of any operation. The policy of the
    /// stream has to keep the stream for as long (`max-age`). Default `60d`. Environment:
    /// `FERRYD_LEDGER__DUPLICATE_WINDOW`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub duplicate_window: Duration,
    /// The time for which the index keeps the contents of ended commands: results, metadata and
    /// texts. At least as long as the providers need, and at most `ledger.duplicate_window`.
    /// Default: as long as the providers need, which is two days more than the longest
    /// `retry.give_up_after`, `give_up_after`, key retention and `deadline`; `ferryd check` prints
    /// it. Environment: `FERRYD_LEDGER__RETENTION`.
    #[serde(with = "units::optional_duration")]
    #[schemars(schema_with = "units::optional_duration::schema")]
    pub retention: Option<Duration>,
    /// The time that a claim holds beyond the whole timeout of an operation without an idempotency
    /// key, 1 s to 10 min. Default `15s`. Environment: `FERRYD_LEDGER__CLAIM_MARGIN`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub claim_margin: Duration,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        let duplicate_window = Duration::from_hours(60 * 24);
        Self { dir: None, duplicate_window, retention: None, claim_margin: Duration::from_secs(15) }
    }
}

impl LedgerConfig {
    /// Returns the folder of the index, for a process with these environment variables.
    #[must_use]
    pub fn folder(&self, environment: &EnvironmentVariables) -> PathBuf {
        let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        // systemd separates several folders by colons.
        let given = || {
            variable("STATE_DIRECTORY")
                .and_then(|folders| folders.split(':').next())
                .map(PathBuf::from)
        };
        let state =
            || variable("XDG_STATE_HOME").map(|folder| PathBuf::from(folder).join("ferryd"));
        let home =
            || variable("HOME").map(|folder| PathBuf::from(folder).join(".local/state/ferryd"));
        self.dir
            .clone()
            .or_else(given)
            .or_else(state)
            .or_else(home)
            .unwrap_or_else(|| "/var/lib/ferryd".into())
    }
}

/// The shutdown of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// The time that calls in flight may take after SIGTERM, SIGINT or SIGHUP; ferryd then returns
    /// unfinished messages to the broker. Default `30s`. Environment:
    /// `FERRYD_SHUTDOWN__GRACE_PERIOD`.
    #[serde(with = "units::duration")]
    #[schemars(schema_with = "units::duration::schema")]
    pub grace_period: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace_period: Duration::from_secs(30) }
    }
}

/// The log on the standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The format of log lines: `human` for people, `json` for machines (one object a line), `auto`
    /// for people on a terminal and machines elsewhere. Default `auto`. Environment:
    /// `FERRYD_LOG__FORMAT`.
    #[serde(deserialize_with = "format")]
    pub format: LogFormat,
    /// The level of log lines (`error`, `warn`, `info`, `debug`, `trace`, `off`), or levels by
    /// target such as `info,ferryd_broker=debug`. Default `info`. Environment: `FERRYD_LOG`, which
    /// comes before `FERRYD_LOG__FILTER`.
    pub filter: LogFilter,
    /// True if ferryd logs every request to a provider and its answer, masked. Default true.
    /// Environment: `FERRYD_LOG__CALLS`.
    pub calls: bool,
    /// The maximum of bytes that ferryd logs of a request's or answer's body. Default `4KiB`.
    /// Environment: `FERRYD_LOG__MAX_BODY_SIZE`.
    #[serde(with = "units::size")]
    #[schemars(schema_with = "units::size::schema")]
    pub max_body_size: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            filter: LogFilter::default(),
            calls: true,
            max_body_size: 4 << 10,
        }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    /// Lines for people to read.
    Human,
    /// One JSON object for each line.
    Json,
}

fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogFormat, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "auto" => Ok(LogFormat::Auto),
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(D::Error::custom("is no log format: write auto, human or json")),
    }
}

/// Directives of `tracing_subscriber::EnvFilter`, known to be readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct LogFilter(String);

/// The reason why a text is no [`LogFilter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no log filter: write a level (error, warn, info, debug, trace, off), or target=level pairs with commas between them"
)]
pub struct InvalidFilter;

impl LogFilter {
    /// Returns the directives as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl TryFrom<String> for LogFilter {
    type Error = InvalidFilter;

    fn try_from(text: String) -> Result<Self, InvalidFilter> {
        match tracing_subscriber::EnvFilter::try_new(&text) {
            Ok(_) => Ok(Self(text)),
            Err(_) => Err(InvalidFilter),
        }
    }
}
