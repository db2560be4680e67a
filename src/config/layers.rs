//! Lays the environment over the file, reads the result, and finds out where each fault was written.

use std::path::Path;

use config::{File, FileFormat, Value, ValueKind};
use serde_path_to_error::Segment;
use toml::de::{DeTable, DeValue};

use super::environment::{self, Override, Setting};
use super::fault::{ConfigError, Fault, Place};
use super::{Config, Environment, check, placeholder};
use crate::domain::name::excerpt;

/// Keys whose values are never shown, and may hold `${…}`.
const SECRETS: [&str; 5] = [URI, URIS, MANAGEMENT_URL, TOKENS, TOKEN_KEYS];

/// A secret address.
const URI: &str = "amqp.uri";

/// Another secret address.
const MANAGEMENT_URL: &str = "amqp.management_url";

/// A list of secret addresses, in the place of [`URI`].
const URIS: &str = "amqp.uris";

/// A list of tables, each with a secret `token`.
const TOKENS: &str = "api.tokens";

/// A list of secrets.
const TOKEN_KEYS: &str = "webhooks.token_keys";

/// The file and the environment, and what is wrong with them.
pub(super) struct Layers<'a> {
    file: Option<Source<'a>>,
    environment: &'a Environment,
    overrides: Vec<Override>,
    merged: Value,
    faults: Vec<Fault>,
}

/// The file, with the place of every key.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    table: DeTable<'a>,
}

/// A step from a table or list into it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl<'a> Layers<'a> {
    /// Lays one over the other.
    ///
    /// # Errors
    /// Where the file is no TOML.
    pub(super) fn new(file: Option<(&'a Path, &'a str)>, environment: &'a Environment) -> Result<Self, ConfigError> {
        let file = file.map(|(path, text)| Source::parse(path, text)).transpose()?;
        let (overrides, faults) = environment::overrides(environment);
        let mut layers = Self { file, environment, overrides, merged: Value::default(), faults };
        layers.merge();
        Ok(layers)
    }

    fn merge(&mut self) {
        let mut builder = config::Config::builder();
        if let Some(file) = &self.file {
            builder = builder.add_source(File::from_str(file.text, FileFormat::Toml));
        }
        for Override { key, variable, value } in &self.overrides {
            let value = match value {
                Setting::One(text) => Value::from(text.clone()),
                Setting::List(entries) => Value::from(entries.clone()),
            };
            // A builder is used up by an error, so that it is tried on a copy.
            match builder.clone().set_override(key, value) {
                Ok(with) => builder = with,
                Err(_) => {
                    self.faults.push(environment::fault(variable, "is no setting: see deploy/ferryd.example.toml"));
                }
            }
        }
        match builder.build() {
            Ok(config) => self.merged = config.cache,
            Err(error) => self.faults.push(self.fault(&[], None, error.to_string())),
        }
    }

    /// Reads the settings. Whatever is wrong is noted and replaced by its default, so that one reading finds every
    /// fault.
    pub(super) fn read(&mut self) -> Config {
        self.expand();
        self.refuse_two_sorts_of_addresses();
        loop {
            let error = match serde_path_to_error::deserialize(self.merged.clone()) {
                Ok(config) => return config,
                Err(error) => error,
            };
            let steps = steps(error.path());
            let (message, known) = match explain_removed(&steps) {
                Some(message) => (message.to_owned(), false),
                None => explain(error.inner()),
            };
            let value = if known { self.shown(&steps) } else { None };
            self.faults.push(self.fault(&steps, value, message));
            if !remove(&mut self.merged, &steps) {
                return Config::default();
            }
        }
    }

    /// The places of secrets that may hold `${…}`.
    fn secrets(&self) -> Vec<Vec<Step>> {
        let length = |list| match find(&self.merged, &parse_steps(list)).map(|value| &value.kind) {
            Some(ValueKind::Array(list)) => list.len(),
            _ => 0,
        };
        let tokens = (0..length(TOKENS)).map(|index| format!("{TOKENS}[{index}].token"));
        let listed = [TOKEN_KEYS, URIS]
            .into_iter()
            .flat_map(|list| (0..length(list)).map(move |index| format!("{list}[{index}]")));
        tokens.chain(listed).chain([URI, MANAGEMENT_URL].map(str::to_owned)).map(|key| parse_steps(&key)).collect()
    }

    /// Only one of the two keys for addresses says where the broker is; an empty list says nothing.
    fn refuse_two_sorts_of_addresses(&mut self) {
        let [uri, uris] = [URI, URIS].map(parse_steps);
        let is_empty = match find(&self.merged, &uris).map(|value| &value.kind) {
            Some(ValueKind::Array(list)) => list.is_empty(),
            Some(_) => false,
            None => return,
        };
        if is_empty {
            let message = "has no address: write one for each node of the cluster, or leave it out";
            self.faults.push(self.fault(&uris, None, message.to_owned()));
        }
        if find(&self.merged, &uri).is_some() {
            let other = self.fault(&uri, None, String::new()).place;
            let message = format!("is set beside amqp.uri ({other}): leave one of them out");
            self.faults.push(self.fault(&uris, None, message));
        }
    }

    fn expand(&mut self) {
        for steps in self.secrets() {
            let Some(Value { kind: ValueKind::String(text), .. }) = find_mut(&mut self.merged, &steps) else {
                continue;
            };
            match placeholder::expand(text, self.file.as_ref().map_or(Path::new(""), Source::folder), self.environment)
            {
                Ok(expanded) => *text = expanded,
                Err(message) => {
                    self.faults.push(self.fault(&steps, None, message));
                    remove(&mut self.merged, &steps);
                }
            }
        }
    }

    /// Lets relative paths of the file, and of the defaults, start at the file's folder. Those of the environment
    /// start at
    /// the working directory.
    pub(super) fn place_paths(&self, config: &mut Config) {
        let Some(folder) = self.file.as_ref().map(Source::folder) else { return };
        let amqp = &mut config.amqp;
        let files = [
            ("amqp.ca_file", amqp.ca_file.as_mut()),
            ("amqp.client_cert_file", amqp.client_cert_file.as_mut()),
            ("amqp.client_key_file", amqp.client_key_file.as_mut()),
            ("providers.dir", Some(&mut config.providers.dir)),
            ("ledger.dir", config.ledger.dir.as_mut()),
            ("api.token_file", config.api.token_file.as_mut()),
            ("webhooks.tls_cert_file", config.webhooks.tls_cert_file.as_mut()),
            ("webhooks.tls_key_file", config.webhooks.tls_key_file.as_mut()),
        ];
        for (key, path) in files {
            if let Some(path) = path.filter(|_| self.variable(key).is_none()) {
                *path = folder.join(&*path);
            }
        }
    }

    /// The configuration, if nothing is wrong with it.
    ///
    /// # Errors
    /// All faults.
    pub(super) fn finish(mut self, config: Config) -> Result<Config, ConfigError> {
        if self.faults.is_empty() {
            let broken = check::broken(&config).into_iter().map(|(key, message)| {
                let steps = parse_steps(&key);
                self.fault(&steps, self.shown(&steps), message)
            });
            self.faults = broken.collect();
        }
        if self.faults.is_empty() {
            return Ok(config);
        }
        self.faults.sort();
        Err(ConfigError::Faults(self.faults))
    }

    fn fault(&self, steps: &[Step], value: Option<String>, message: String) -> Fault {
        let key = join(steps);
        let written = self.file.as_ref().and_then(|file| file.place(steps));
        let place = match self.variable(&key) {
            Some(variable) => Place::Variable(variable.to_owned()),
            None => written.or_else(|| self.variable_below(&key)).unwrap_or(Place::Default),
        };
        Fault { place, key, value, message }
    }

    /// The variable that set a key, or a list or table that holds it.
    fn variable(&self, key: &str) -> Option<&str> {
        let holds = |setting: &&Override| is_within(key, &setting.key);
        self.overrides.iter().rev().find(holds).map(|setting| setting.variable.as_str())
    }

    /// The variable that set something within a table which nothing else speaks of.
    fn variable_below(&self, key: &str) -> Option<Place> {
        let setting = self.overrides.iter().find(|setting| is_within(&setting.key, key))?;
        Some(Place::Variable(setting.variable.clone()))
    }

    /// A value as the fault shows it: only texts, numbers and truth values, and no secrets.
    fn shown(&self, steps: &[Step]) -> Option<String> {
        let key = join(steps);
        if SECRETS.iter().any(|secret| secret.starts_with(&key) || key.starts_with(secret)) {
            return None;
        }
        match &find(&self.merged, steps)?.kind {
            ValueKind::String(text) => Some(format!("{:?}", excerpt(text))),
            ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => None,
            other => Some(other.to_string()),
        }
    }
}

impl<'a> Source<'a> {
    fn parse(path: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { path, text, table: table.into_inner() }),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(text, span.start));
                let place = Place::Line(path.to_owned(), line);
                let message = format!("is no TOML: {}", error.message().replace('\n', ", "));
                Err(ConfigError::Faults(vec![Fault { place, key: String::new(), value: None, message }]))
            }
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The line of a key, or of the innermost table around it that is written in the file.
    fn place(&self, steps: &[Step]) -> Option<Place> {
        let Some((Step::Key(first), rest)) = steps.split_first() else {
            return Some(Place::File(self.path.to_owned()));
        };
        let (key, value) = self.table.get_key_value(first.as_str())?;
        let (mut start, mut value) = (key.span().start, value.get_ref());
        for step in rest {
            let inner = match (value, step) {
                (DeValue::Table(table), Step::Key(key)) => {
                    table.get_key_value(key.as_str()).map(|(key, value)| (key.span(), value))
                }
                (DeValue::Array(list), Step::Index(index)) => list.get(*index).map(|value| (value.span(), value)),
                _ => None,
            };
            let Some((span, found)) = inner else { break };
            (start, value) = (span.start, found.get_ref());
        }
        Some(Place::Line(self.path.to_owned(), line_of(self.text, start)))
    }
}

/// Whether a key is another one, or lies in the table or list of that name.
fn is_within(key: &str, outer: &str) -> bool {
    key.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

/// Reads `events.subscribers[0].queue`.
fn parse_steps(key: &str) -> Vec<Step> {
    let words = key.split(['.', '[']).map(|word| word.trim_end_matches(']'));
    words.map(|word| word.parse().map_or_else(|_| Step::Key(word.to_owned()), Step::Index)).collect()
}

fn join(steps: &[Step]) -> String {
    let mut key = String::new();
    for step in steps {
        match step {
            Step::Index(index) => key.extend(["[", &index.to_string(), "]"]),
            Step::Key(word) if key.is_empty() => key.push_str(word),
            Step::Key(word) => key.extend([".", word]),
        }
    }
    key
}

fn find<'v>(value: &'v Value, steps: &[Step]) -> Option<&'v Value> {
    steps.iter().try_fold(value, |value, step| match (&value.kind, step) {
        (ValueKind::Table(table), Step::Key(key)) => table.get(key),
        (ValueKind::Array(list), Step::Index(index)) => list.get(*index),
        _ => None,
    })
}

fn find_mut<'v>(value: &'v mut Value, steps: &[Step]) -> Option<&'v mut Value> {
    steps.iter().try_fold(value, |value, step| match (&mut value.kind, step) {
        (ValueKind::Table(table), Step::Key(key)) => table.get_mut(key),
        (ValueKind::Array(list), Step::Index(index)) => list.get_mut(*index),
        _ => None,
    })
}

/// Takes a value out; of a list the whole list, so that the places of its other entries stay true. Whether it was
/// there.
fn remove(root: &mut Value, steps: &[Step]) -> bool {
    let keys: Vec<_> = steps.iter().take_while(|step| matches!(step, Step::Key(_))).cloned().collect();
    let Some((Step::Key(last), parents)) = keys.split_last() else { return false };
    match find_mut(root, parents).map(|parent| &mut parent.kind) {
        Some(ValueKind::Table(table)) => table.remove(last).is_some(),
        _ => false,
    }
}

/// What to do about a key that an earlier version had.
fn explain_removed(steps: &[Step]) -> Option<&'static str> {
    let message = "is no key any more: the ledger is always on. Remove it; where it is false, first let the version before carry out \
                   everything that waits, because nothing of that is on record \
                   (\"Going over from a ledger that was off\" in docs/OPERATIONS.md)";
    (*steps == *parse_steps("ledger.enabled")).then_some(message)
}

/// What to write instead, and whether the key itself is known, so that its value may be shown.
fn explain(error: &config::ConfigError) -> (String, bool) {
    match error {
        config::ConfigError::At { error, .. } => explain(error),
        config::ConfigError::Type { expected, .. } => (expectation(expected), true),
        config::ConfigError::NotFound(key) => {
            let last = key.rsplit(['.', ']']).next().unwrap_or(key);
            (format!("needs the key `{last}` too"), true)
        }
        other => {
            let text = other.to_string();
            let rest = text.split_once(", expected ").map(|(_, rest)| rest.trim_start_matches("one of "));
            match rest {
                Some(known) if text.starts_with("unknown field") => {
                    (format!("is no key here: known are {known}"), false)
                }
                // The message quotes the value, which may be a secret.
                Some(expected) if text.starts_with("invalid type") => (expectation(expected), true),
                _ => (text, true),
            }
        }
    }
}

fn expectation(expected: &str) -> String {
    match expected {
        "an integer" | "an unsigned 16 bit integer" => "write a whole number from 1 to 65535".to_owned(),
        "a boolean" => "write true or false".to_owned(),
        "a sequence" => "write a list, [\"…\", \"…\"]".to_owned(),
        "a map" => "write a table".to_owned(),
        _ if expected.starts_with("struct ") => "write a table".to_owned(),
        _ => format!("write {expected}"),
    }
}
