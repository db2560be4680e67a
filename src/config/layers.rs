//! Lays the environment over the file, reads the result, and finds the place of each fault.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Map, Value as Json};

use super::environment::{self, EnvironmentOverride};
use super::{Config, ConfigError, EnvironmentVariables, check};
use ferryd_domain::name::excerpt;
use ferryd_settings::diagnostic::{Diagnostic, DiagnosticOrigin};
use ferryd_settings::findings::{FindingList, KeyFinding, SettingsCursor};
use ferryd_settings::key_path::KeyPath;
use ferryd_settings::placeholder::{PlaceholderSources, expand_address};
use ferryd_settings::reading::read_value;
use ferryd_settings::schema_check;
use ferryd_settings::source::SettingsSource;

static SCHEMA: LazyLock<Json> = LazyLock::new(|| Config::schema().to_value());

/// The keys whose values are never shown, and may hold `${…}`.
const SECRETS: [&str; 5] = [URI, URIS, MANAGEMENT_URL, TOKENS, TOKEN_KEYS];

/// The key of the broker's address, which is secret.
const URI: &str = "amqp.uri";

/// The key of the management API's address, which is secret.
const MANAGEMENT_URL: &str = "amqp.management_url";

/// The key of a list of secret addresses, which replaces [`URI`].
const URIS: &str = "amqp.uris";

/// The key of a list of tables, each with a secret `token`.
const TOKENS: &str = "api.tokens";

/// The key of a list of secrets.
const TOKEN_KEYS: &str = "webhooks.signing_keys";

/// The file and the environment, and the faults found in them.
pub(super) struct ConfigLayers<'a> {
    file: Option<(&'a Path, SettingsSource)>,
    environment: &'a EnvironmentVariables,
    overrides: Vec<EnvironmentOverride>,
    /// The settings as they are written.
    written: Json,
    faults: Vec<Diagnostic>,
}

impl<'a> ConfigLayers<'a> {
    /// Lays the environment over the file.
    ///
    /// # Errors
    /// Where the file is not TOML.
    pub(super) fn new(
        file: Option<(&'a Path, &'a str)>,
        environment: &'a EnvironmentVariables,
    ) -> Result<Self, ConfigError> {
        let parse = |(path, text): (&'a Path, &str)| {
            let source = SettingsSource::parse(&path.display().to_string(), text)
                .map_err(ConfigError::Faults)?;
            Ok((path, source))
        };
        let file = file.map(parse).transpose()?;
        let mut written = file
            .as_ref()
            .map_or_else(|| Json::Object(Map::new()), |(_, source)| source.value().clone());
        let known = serde_json::to_value(Config::default()).unwrap_or_default();
        let (overrides, faults) = environment::overrides(environment, &known);
        for EnvironmentOverride { key, value, .. } in &overrides {
            key.put(&mut written, value.clone());
        }
        Ok(Self { file, environment, overrides, written, faults })
    }

    /// Reads the settings. Each faulty value is noted and replaced by its default, so that one
    /// reading finds every fault.
    pub(super) fn read(&mut self) -> Config {
        let (faults, mut value) = (FindingList::default(), self.written.clone());
        self.expand(&mut value, &faults.place());
        self.refuse_two_sorts_of_addresses(&faults.place());
        refuse_removed(&mut value, &faults.place());
        schema_check::check_schema(&SCHEMA, &mut value, &faults.place());
        let config = read_value(value, &faults.place()).unwrap_or_default();
        for KeyFinding { key, message, is_unknown_key } in faults.into_findings() {
            let value = if is_unknown_key { None } else { self.shown_value(&key) };
            self.faults.push(self.diagnostic(&key, value, message));
        }
        config
    }

    /// Lists the keys of secrets that may hold `${…}`.
    fn secrets(&self) -> Vec<KeyPath> {
        let items = |list: &str| {
            let list = KeyPath::parse(list);
            let length = list.find(&self.written).and_then(Json::as_array).map_or(0, Vec::len);
            (0..length).map(move |index| list.item(index))
        };
        let tokens = items(TOKENS).map(|token| token.key("token"));
        let listed = [TOKEN_KEYS, URIS].into_iter().flat_map(items);
        tokens.chain(listed).chain([URI, MANAGEMENT_URL].map(KeyPath::parse)).collect()
    }

    /// Refuses a configuration that sets both keys for addresses. An empty list counts as unset.
    fn refuse_two_sorts_of_addresses(&self, root: &SettingsCursor<'_>) {
        let [uri, uris] = [URI, URIS].map(KeyPath::parse);
        let is_empty = match uris.find(&self.written) {
            Some(Json::Array(list)) => list.is_empty(),
            Some(_) => false,
            None => return,
        };
        if is_empty {
            let message = "has no address: write one for each node of the cluster, or leave it out";
            root.within(&uris).refuse(message);
        }
        if uri.find(&self.written).is_some() {
            let other = self.origin(&uri);
            root.within(&uris)
                .refuse(format!("is set beside amqp.uri ({other}): leave one of them out"));
        }
    }

    fn expand(&self, value: &mut Json, root: &SettingsCursor<'_>) {
        let variable = |name: &str| self.environment.get(name).cloned();
        let sources = PlaceholderSources {
            folder: self.folder().unwrap_or(Path::new("")),
            variable: &variable,
        };
        for key in self.secrets() {
            let Some(Json::String(text)) = key.find_mut(value) else { continue };
            match expand_address(text, sources) {
                Ok(expanded) => *text = expanded,
                Err(error) => {
                    root.within(&key).drop_value(error.to_string());
                    key.remove(value);
                }
            }
        }
    }

    fn folder(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.parent().unwrap_or(Path::new("")))
    }

    /// Resolves the relative paths of the file, and of the defaults, against the file's folder.
    /// Those of the environment stay relative to the working directory.
    pub(super) fn place_paths(&self, config: &mut Config) {
        let Some(folder) = self.folder() else { return };
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
            if let Some(path) = path.filter(|_| self.variable(&KeyPath::parse(key)).is_none()) {
                *path = folder.join(&*path);
            }
        }
    }

    /// Returns the configuration, if it has no fault.
    ///
    /// # Errors
    /// All faults.
    pub(super) fn finish(mut self, config: Config) -> Result<Config, ConfigError> {
        if self.faults.is_empty() {
            let broken = check::find_faults(&config).into_iter().map(|(key, message)| {
                let key = KeyPath::parse(&key);
                self.diagnostic(&key, self.shown_value(&key), message)
            });
            self.faults = broken.collect();
        }
        if self.faults.is_empty() {
            return Ok(config);
        }
        self.faults.sort();
        Err(ConfigError::Faults(self.faults))
    }

    fn diagnostic(&self, key: &KeyPath, value: Option<String>, message: String) -> Diagnostic {
        Diagnostic { origin: self.origin(key), key: key.to_string(), value, message }
    }

    /// Finds the place at which a key was set: the last variable that sets the key or a table
    /// around it, else its line in the file, else the line of the innermost table around it.
    fn origin(&self, key: &KeyPath) -> DiagnosticOrigin {
        if let Some(variable) = self.variable(key) {
            return DiagnosticOrigin::Variable(variable.to_owned());
        }
        let around = std::iter::successors(Some(key.clone()), KeyPath::parent);
        let line = self
            .file
            .as_ref()
            .and_then(|(_, source)| around.map(|key| source.line(&key)).find(Option::is_some)?);
        let file = self.file.as_ref().filter(|_| line.is_some() || key.depth() == 0);
        let written =
            file.map(|(_, source)| DiagnosticOrigin::File { file: source.name().to_owned(), line });
        written.or_else(|| self.variable_below(key)).unwrap_or(DiagnosticOrigin::Default)
    }

    /// Finds the variable that set a key, or a list or table that holds it.
    fn variable(&self, key: &KeyPath) -> Option<&str> {
        let holds = |setting: &&EnvironmentOverride| key.is_within(&setting.key);
        self.overrides.iter().rev().find(holds).map(|setting| setting.variable.as_str())
    }

    /// Finds a variable that set a key within this table, for a table that no file and no variable
    /// sets itself.
    fn variable_below(&self, key: &KeyPath) -> Option<DiagnosticOrigin> {
        let setting = self.overrides.iter().find(|setting| setting.key.is_within(key))?;
        Some(DiagnosticOrigin::Variable(setting.variable.clone()))
    }

    /// Returns a value as the fault quotes it: only texts, numbers and truth values, and no
    /// secrets.
    fn shown_value(&self, key: &KeyPath) -> Option<String> {
        if SECRETS.iter().any(|secret| KeyPath::parse(secret).touches(key)) {
            return None;
        }
        match key.find(&self.written)? {
            Json::String(text) => Some(format!("{:?}", excerpt(text))),
            Json::Null | Json::Object(_) | Json::Array(_) => None,
            other => Some(other.to_string()),
        }
    }
}

/// Refuses a key that an earlier version had, and says what to write instead.
fn refuse_removed(value: &mut Json, root: &SettingsCursor<'_>) {
    let message = "is no key any more: the ledger is always on; remove it";
    let key = KeyPath::parse("ledger.enabled");
    if key.remove(value) {
        root.within(&key).refuse_key(message);
    }
}
