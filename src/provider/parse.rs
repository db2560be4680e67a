//! From the text of a provider file to a provider, with every fault of the file.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::fault::{Faults, FileError, Place};
use super::registry::Defaults;
use super::rest::compile::{Surroundings, compile};
use super::rest::file::{self, ProviderFile};
use super::source::{self, Source};
use super::{Provider, catalog, shape, suggest};

static SCHEMA: LazyLock<Json> = LazyLock::new(|| file::schema().to_value());

/// The JSON Schema of provider files, with which editors complete and check them.
#[must_use]
pub fn file_schema() -> &'static Json {
    &SCHEMA
}

impl Provider {
    /// Reads a provider file. `file` is its path: errors show it, and relative paths begin in its folder.
    ///
    /// # Errors
    /// Every fault found, each with file, line where known, key and what to write instead.
    pub fn parse(text: &str, file: &str, defaults: &Defaults) -> Result<Self, Vec<FileError>> {
        let own = Source::parse(file, text)?;
        let faults = Faults::default();
        let mut value = own.value().clone();
        shape::prune(&SCHEMA, &mut value, &faults.place());
        let Ok(below) = catalog_source(&value, file, &faults.place()) else { return Err(faults.located(&[&own])) };
        if let Some(below) = &below {
            value = source::merge(inherited(below, &value), &value);
        }
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let around = Surroundings { folder, defaults };
        let provider = deserialize(value, &faults.place()).and_then(|file| compile(&file, around, &faults.place()));
        let sources: Vec<&Source> = std::iter::once(&own).chain(&below).collect();
        match provider {
            Some(provider) if faults.is_empty() => Ok(provider),
            _ => Err(faults.located(&sources)),
        }
    }
}

/// What a file takes over from the catalog: everything but an endpoint that it does not ask for by a table `webhook`.
fn inherited(below: &Source, value: &Json) -> Json {
    let mut inherited = below.value().clone();
    if let (Json::Object(entries), None) = (&mut inherited, value.get("webhook")) {
        entries.shift_remove("webhook");
    }
    inherited
}

/// The file of the catalog that `use` names; an error where there is none of that name.
fn catalog_source(value: &Json, file: &str, root: &Place<'_>) -> Result<Option<Source>, ()> {
    let Some(name) = value.get("use").and_then(Json::as_str) else { return Ok(None) };
    let Some(text) = catalog::source(name) else {
        let hint = suggest::nearest(name, catalog::names()).unwrap_or_else(|| suggest::one_of(catalog::names()));
        root.key("use").refuse(format!("`{name}` is not in the catalog; {hint}"));
        return Err(());
    };
    Source::parse(&format!("{file}, from catalog/{name}.toml"), text).map(Some).map_err(|errors| {
        for error in errors {
            root.key("use").refuse(error.to_string());
        }
    })
}

fn deserialize(value: Json, root: &Place<'_>) -> Option<ProviderFile> {
    root.check(serde_path_to_error::deserialize(value))
}
