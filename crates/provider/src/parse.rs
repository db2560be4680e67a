//! Parses the text of a provider file into a provider, and reports every fault of the file.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::catalog_merge::merge_files;
use super::registry::ProviderDefaults;
use super::rest::compile::compile;
use super::rest::compile_context::CompileContext;
use super::rest::expression::COMMAND_TOKEN;
use super::rest::file::{self, ProviderFile};
use super::{Provider, account, catalog};
use ferryd_settings::diagnostic::Diagnostic;
use ferryd_settings::findings::{FindingList, SettingsCursor};
use ferryd_settings::reading::read_value;
use ferryd_settings::source::SettingsSource;
use ferryd_settings::{schema_check, suggest};

static SCHEMA: LazyLock<Json> = LazyLock::new(|| file::schema().to_value());

/// The JSON Schema of provider files, with which editors complete and validate provider files.
#[must_use]
pub fn file_schema() -> &'static Json {
    &SCHEMA
}

impl Provider {
    /// Reads a provider file. `file` is the path of the file: errors show the path, and relative
    /// paths are resolved against its folder.
    ///
    /// # Errors
    /// Every fault, each with file, line where known, key and advice.
    pub fn parse(
        text: &str,
        file: &str,
        defaults: &ProviderDefaults,
    ) -> Result<Self, Vec<Diagnostic>> {
        read(text, file, defaults, SecretSource::Real).map(|(_, provider)| provider)
    }
}

/// The values of a file's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretSource {
    /// The values that the file names.
    Real,
    /// Placeholders: the value of each secret is its own name, so that neither a secret nor another
    /// file is needed. A name is no key, so webhooks are read but not verified.
    Placeholders,
}

/// Reads a provider file, and compiles it.
pub(super) fn read(
    text: &str,
    file: &str,
    defaults: &ProviderDefaults,
    secrecy: SecretSource,
) -> Result<(ProviderFile, Provider), Vec<Diagnostic>> {
    let own = SettingsSource::parse(file, text)?;
    let faults = FindingList::default();
    let mut value = own.value().clone();
    let Ok(below) = catalog_source(&value, file, &faults.place()) else {
        schema_check::check_schema(&SCHEMA, &mut value, &faults.place());
        return Err(faults.located(&[&own]));
    };
    // A file that overrides a built-in one may state a single key of a table: required keys are
    // checked after the merge.
    if let Some(below) = &below {
        value = merge_files(inherited_values(below, &value), &value);
    }
    schema_check::check_schema(&SCHEMA, &mut value, &faults.place());
    let has_endpoint = value.get("webhook").is_some();
    let names_command_token = value.to_string().contains(COMMAND_TOKEN);
    if secrecy == SecretSource::Placeholders {
        without_surroundings(&mut value);
    }
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let sources: Vec<&SettingsSource> = std::iter::once(&own).chain(&below).collect();
    let Some(file) = read_value::<ProviderFile>(value, &faults.place()) else {
        return Err(faults.located(&sources));
    };
    let accounts = match account::account_specs(&file, folder, &faults.place()) {
        Ok(accounts) if secrecy == SecretSource::Placeholders => {
            account::pretended_account(&file, accounts)
        }
        Ok(accounts) => accounts,
        Err(errors) => return Err(faults.located(&sources).into_iter().chain(errors).collect()),
    };
    let around = CompileContext { folder, defaults, has_endpoint, names_command_token };
    let provider = compile(&file, &accounts, around, &faults.place());
    let mut errors = faults.located(&sources);
    for error in accounts.into_iter().flat_map(|account| account.faults(&sources)) {
        // A fault of the provider file is reported once, though it affects every account.
        if !errors.contains(&error) {
            errors.push(error);
        }
    }
    match provider {
        Some(provider) if errors.is_empty() => Ok((file, provider)),
        _ => Err(errors),
    }
}

/// The values that a file inherits from the catalog: all but an endpoint that the file does not
/// request by a table `webhook`, and the examples, which may not be true of the file any more.
fn inherited_values(below: &SettingsSource, value: &Json) -> Json {
    let mut inherited = below.value().clone();
    let Json::Object(entries) = &mut inherited else { return inherited };
    if value.get("webhook").is_none() {
        entries.shift_remove("webhook");
    }
    for (key, table) in entries {
        match (key.as_str(), table.as_object_mut()) {
            ("webhook", Some(webhook)) => {
                webhook.shift_remove("examples");
            }
            ("operations", Some(operations)) => {
                for operation in operations.values_mut().filter_map(Json::as_object_mut) {
                    operation.shift_remove("examples");
                }
            }
            _ => {}
        }
    }
    inherited
}

/// Replaces the value of every secret by its name, turns the verification of webhooks off, and
/// removes the CA file.
fn without_surroundings(value: &mut Json) {
    if let Json::Object(entries) = value {
        entries.shift_remove("ca_file");
    }
    if let Some(verify) = value.pointer_mut("/webhook/verify").filter(|verify| verify.is_object()) {
        *verify = Json::String("none".to_owned());
    }
    for (name, secret) in
        value.get_mut("secrets").and_then(Json::as_object_mut).into_iter().flatten()
    {
        *secret = Json::String(name.clone());
    }
}

/// The built-in file that `use` names; an error if no built-in file has that name.
fn catalog_source(
    value: &Json,
    file: &str,
    root: &SettingsCursor<'_>,
) -> Result<Option<SettingsSource>, ()> {
    let Some(name) = value.get("use").and_then(Json::as_str) else { return Ok(None) };
    let Some(text) = catalog::source(name) else {
        let hint = suggest::nearest(name, catalog::names())
            .unwrap_or_else(|| suggest::one_of(catalog::names()));
        root.key("use").refuse(format!("`{name}` is not in the catalog; {hint}"));
        return Err(());
    };
    SettingsSource::parse(&format!("{file}, from catalog/{name}.toml"), text).map(Some).map_err(
        |errors| {
            for error in errors {
                root.key("use").refuse(error.to_string());
            }
        },
    )
}
