//! Settings from environment variables.

use serde_json::Value;

use super::fault::{ConfigError, Fault, Place};
use super::{Config, Environment};

const PREFIX: &str = "FERRYD_";

/// A setting that an environment variable gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Override {
    /// The key, with dots.
    pub(super) key: String,
    /// The variable.
    pub(super) variable: String,
    /// Its value.
    pub(super) value: Setting,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// As it is.
    One(String),
    /// Separated by commas.
    List(Vec<String>),
}

/// The variables of this process. Other people's variables that are not UTF-8 are left out.
pub(super) fn of_process() -> Result<Environment, ConfigError> {
    let mut environment = Environment::new();
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

/// The settings among the variables, and the variables that look like settings and are none.
///
/// Settings are those with `__`, `FERRYD_PREFIX` and `FERRYD_LOG`. Others are left alone, because container
/// platforms set
/// variables such as `FERRYD_SERVICE_HOST` by themselves; but one with `_` where `__` belongs is refused.
pub(super) fn overrides(environment: &Environment) -> (Vec<Override>, Vec<Fault>) {
    let known = serde_json::to_value(Config::default()).unwrap_or_default();
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    let ours = environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
    for (name, rest, value) in ours.filter(|(_, _, value)| !value.is_empty()) {
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = match rest {
            _ if rest.contains("__") && !rest.chars().all(is_key) => {
                faults.push(fault(name, "is no setting: write capitals, digits and underscores only"));
                continue;
            }
            "LOG" => "log.filter".to_owned(),
            _ if rest == "PREFIX" || rest.contains("__") => rest.to_lowercase().replace("__", "."),
            _ => {
                faults.extend(mistyped(&known, rest).map(|variable| {
                    fault(name, format!("is no setting: write {variable}, with two underscores between the levels"))
                }));
                continue;
            }
        };
        let value = setting(at(&known, &key), value);
        found.push(Override { key, variable: name.clone(), value });
    }
    // The short name comes before the long one: the last one stays.
    found.sort_by_key(|setting| setting.variable == "FERRYD_LOG");
    (found, faults)
}

fn setting(default: Option<&Value>, text: &str) -> Setting {
    match default {
        Some(Value::Array(_)) => Setting::List(text.split(',').map(|entry| entry.trim().to_owned()).collect()),
        _ => Setting::One(text.to_owned()),
    }
}

/// The variable that was meant, if one underscore more makes it a setting.
fn mistyped(known: &Value, rest: &str) -> Option<String> {
    let (section, key) = rest.split_once('_')?;
    at(known, &format!("{section}.{key}").to_lowercase()).map(|_| format!("{PREFIX}{section}__{key}"))
}

fn at<'a>(known: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(known, |value, step| value.get(step))
}

pub(super) fn fault(variable: &str, message: impl Into<String>) -> Fault {
    Fault { place: Place::Variable(variable.to_owned()), key: String::new(), value: None, message: message.into() }
}
