//! Settings from environment variables.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ConfigError;
use ferryd_settings::diagnostic::{Diagnostic, DiagnosticOrigin};
use ferryd_settings::key_path::KeyPath;

/// Environment variables, by name.
pub type EnvironmentVariables = BTreeMap<String, String>;

const PREFIX: &str = "FERRYD_";

/// A setting that comes from an environment variable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EnvironmentOverride {
    /// The key that is set.
    pub(super) key: KeyPath,
    /// The name of the variable.
    pub(super) variable: String,
    /// The value of the setting.
    pub(super) value: Value,
}

/// Returns the variables of this process. Variables of other programs that are not UTF-8 are left
/// out.
pub(super) fn of_process() -> Result<EnvironmentVariables, ConfigError> {
    let mut environment = EnvironmentVariables::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => _ = environment.insert(name, value),
            Err(_) if name.starts_with(PREFIX) => {
                return Err(ConfigError::Faults(vec![fault(&name, "is not UTF-8: write it anew")]));
            }
            Err(_) => {}
        }
    }
    Ok(environment)
}

/// Returns the settings among the variables, and a diagnostic for each variable that looks like a
/// setting and is none.
///
/// Settings are the variables with `__`, `FERRYD_PREFIX` and `FERRYD_LOG`. Others are left alone,
/// because container platforms set variables such as `FERRYD_SERVICE_HOST` by themselves; but one
/// with `_` in the place of `__` is refused.
pub(super) fn overrides(
    environment: &EnvironmentVariables,
    known: &Value,
) -> (Vec<EnvironmentOverride>, Vec<Diagnostic>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let ours = environment
        .iter()
        .filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
    for (name, rest, value) in ours.filter(|(_, _, value)| !value.is_empty()) {
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = match rest {
            _ if rest.contains("__") && !rest.chars().all(is_key) => {
                faults.push(fault(
                    name,
                    "is no setting: write capitals, digits and underscores only",
                ));
                continue;
            }
            "LOG" => KeyPath::default().key("log").key("filter"),
            _ if rest == "PREFIX" || rest.contains("__") => {
                rest.to_lowercase().split("__").fold(KeyPath::default(), |key, word| key.key(word))
            }
            _ => {
                faults.extend(find_mistyped(known, rest).map(|variable| {
                    fault(name, format!("is no setting: write {variable}, with two underscores between the levels"))
                }));
                continue;
            }
        };
        let value = setting(key.find(known), value);
        found.push(EnvironmentOverride { key, variable: name.clone(), value });
    }
    // The short name comes before the long one: the last one stays.
    found.sort_by_key(|setting| setting.variable == "FERRYD_LOG");
    (found, faults)
}

/// Parses the text of a variable as the type that its setting has by default. A text that does not
/// fit is refused later, where the settings are read.
fn setting(default: Option<&Value>, text: &str) -> Value {
    match default {
        Some(Value::Array(_)) => text.split(',').map(|entry| Value::from(entry.trim())).collect(),
        Some(Value::Bool(_)) => match text.to_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Value::Bool(true),
            "false" | "0" | "off" | "no" => Value::Bool(false),
            _ => Value::from(text),
        },
        Some(Value::Number(_)) => {
            text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
        }
        _ => Value::from(text),
    }
}

/// Finds the variable that was meant, if one underscore more makes it a setting.
fn find_mistyped(known: &Value, rest: &str) -> Option<String> {
    let (section, key) = rest.split_once('_')?;
    let found = known.get(section.to_lowercase()).and_then(|table| table.get(key.to_lowercase()));
    found.map(|_| format!("{PREFIX}{section}__{key}"))
}

pub(super) fn fault(variable: &str, message: impl Into<String>) -> Diagnostic {
    let origin = DiagnosticOrigin::Variable(variable.to_owned());
    Diagnostic { origin, key: String::new(), value: None, message: message.into() }
}
