//! Tests provider files that change a single key of a catalog file.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::catalog;
use super::fixture::{defaults, lines};
use super::parse::{SecretSource, read};
use ferryd_settings::source::SettingsSource;

/// The keys of a catalog file that another file may override alone, each with its value. `auth` and
/// `idempotency` are overridden as a whole; lists are values; examples are not inherited.
fn keys_of(table: &Map<String, Value>, path: &[&str], keys: &mut Vec<(Vec<String>, Value)>) {
    for (key, value) in table {
        let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
        match value {
            Value::Object(inner) if !["auth", "idempotency"].contains(&key.as_str()) => {
                keys_of(inner, &path, keys);
            }
            _ if key == "examples" || path[0] == "secrets" => {}
            _ => keys.push((path.iter().map(|key| (*key).to_owned()).collect(), value.clone())),
        }
    }
}

/// A file that overrides one key of a catalog file.
fn overriding(name: &str, path: &[String], value: Value) -> String {
    let nested = path.iter().rev().fold(value, |inner, key| json!({ key: inner }));
    let secrets = [
        "api_key",
        "bot_token",
        "account_sid",
        "auth_token",
        "client_id",
        "client_secret",
        "merchant_account",
        "webhook",
    ];
    let secrets = secrets.map(|secret| format!("{secret} = \"s\"")).join(", ");
    format!("use = {name:?}\nsecrets = {{ {secrets} }}\n{}", toml::to_string(&nested).unwrap())
}

#[test]
fn every_key_of_the_catalog_can_be_stated_alone() {
    let mut faults = String::new();
    // Tables of one kind are read alike: one of each suffices.
    let mut seen = BTreeSet::new();
    for name in catalog::names() {
        let source = SettingsSource::parse(name, catalog::source(name).unwrap()).unwrap();
        let operations = source.value()["operations"].as_object().unwrap();
        let mut keys = Vec::new();
        keys_of(source.value().as_object().unwrap(), &[], &mut keys);
        for (path, value) in keys {
            let kind: Vec<_> =
                path.iter().filter(|key| !operations.contains_key(*key)).cloned().collect();
            if seen.insert(kind)
                && let Err(errors) = read(
                    &overriding(name, &path, value),
                    "providers/test.toml",
                    &defaults(),
                    SecretSource::Placeholders,
                )
            {
                writeln!(faults, "{name} {}\n{}", path.join("."), lines(&errors)).unwrap();
            }
        }
    }
    assert!(seen.len() > 90, "only {} keys were stated", seen.len());
    assert!(faults.is_empty(), "{faults}");
}
