//! The closed set of configured providers, read once at start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::Provider;
use super::misnamed::misnamed_files;
pub use super::provider_files::files;
use super::webhook_links::LinkSettings;
use ferryd_domain::name::Name;
use ferryd_domain::retry::RetryPolicy;
use ferryd_settings::diagnostic::Diagnostic;

/// The settings that a provider file may leave out, from the daemon's configuration.
#[derive(Debug, Clone)]
pub struct ProviderDefaults {
    /// The retry policy of commands.
    pub retry: RetryPolicy,
    /// The most calls at the same time at one provider.
    pub max_in_flight: u16,
    /// The most bytes of commands that are processed at the same time at one provider.
    pub max_bytes_in_flight: usize,
    /// The settings of webhook URLs; `None` where there are none.
    pub links: Option<Arc<LinkSettings>>,
}

/// Every configured provider, by name, and the routes of types.
pub struct ProviderRegistry {
    providers: BTreeMap<Name, Arc<Provider>>,
    routes: BTreeMap<Name, Name>,
}

impl ProviderRegistry {
    /// Reads every `*.toml` file of a folder except hidden ones. `routes` maps a type to the
    /// provider of its commands that name none.
    ///
    /// # Errors
    /// Every fault of every file, each with file, line where known, key and advice.
    pub fn load(
        dir: &Path,
        defaults: &ProviderDefaults,
        routes: BTreeMap<Name, Name>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let mut providers: Vec<(String, Provider)> = Vec::new();
        for path in files(dir).map_err(|error| vec![error])? {
            let shown = path.display().to_string();
            let text = fs::read_to_string(&path).map_err(|error| {
                vec![Diagnostic::of_file(&shown, None, format!("cannot be read: {error}"))]
            });
            let parsed = text.and_then(|text| Provider::parse(&text, &shown, defaults));
            #[cfg(feature = "failpoints")]
            let parsed = parsed.map(super::fake_webhook::apply);
            match parsed {
                Ok(provider) => providers.push((shown, provider)),
                Err(faults) => errors.extend(faults),
            }
        }
        errors.extend(find_twins(&providers));
        let registry = Self::new(providers.into_iter().map(|(_, provider)| provider), routes);
        if errors.is_empty() {
            errors.extend(registry.wrong_routes(dir));
        }
        if errors.is_empty() { Ok(registry) } else { Err(errors) }
    }

    /// Makes a registry of these providers.
    #[must_use]
    pub fn new(
        providers: impl IntoIterator<Item = Provider>,
        routes: BTreeMap<Name, Name>,
    ) -> Self {
        let providers =
            providers.into_iter().map(|provider| (provider.name.clone(), Arc::new(provider)));
        Self { providers: providers.collect(), routes }
    }

    /// Finds routes that name an unknown provider, or a provider of another type.
    fn wrong_routes(&self, dir: &Path) -> Vec<Diagnostic> {
        let (folder, misnamed) = (dir.display().to_string(), misnamed_files(dir));
        let problem = |(kind, name): (&Name, &Name)| match self.get(name) {
            None => {
                let near: Vec<_> =
                    misnamed.iter().filter_map(|file| file.path.file_name()?.to_str()).collect();
                let unread = if near.is_empty() {
                    String::new()
                } else {
                    format!(" (not read: {})", near.join(", "))
                };
                Some(format!(
                    "the route of type `{kind}` leads to `{name}`, which no file here describes{unread}; add one"
                ))
            }
            Some(provider) if provider.kind != *kind => Some(format!(
                "the route of type `{kind}` leads to `{name}`, which is of type `{}`",
                provider.kind
            )),
            Some(_) => None,
        };
        self.routes()
            .filter_map(problem)
            .map(|message| Diagnostic::of_file(&folder, None, message))
            .collect()
    }

    /// Finds a provider by name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// The provider for commands of a type that name no provider.
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

/// Finds providers that two files describe under one name.
fn find_twins(providers: &[(String, Provider)]) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<&Name, &str> = BTreeMap::new();
    let mut errors = Vec::new();
    for (file, provider) in providers {
        if let Some(first) = seen.insert(&provider.name, file) {
            let message =
                format!("`{}` is also the name in {first}; write another `name`", provider.name);
            errors.push(Diagnostic::of_file(file, None, message));
        }
    }
    errors
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
