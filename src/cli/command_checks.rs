//! Checks commands against the provider files of this host before they are published, as the daemon
//! will.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::config::Config;
use crate::operator::publish::{InvalidCommandText, PreparedCommand};
use crate::operator::queues::provider_name;
use crate::pipeline::command_check;
use crate::web::repeated::repeated_field;
use ferryd_domain::command::Command;
use ferryd_domain::name::Name;
use ferryd_domain::outcome::Failure;
use ferryd_provider::Provider;
use ferryd_provider::registry::{ProviderRegistry, files};

/// The provider files of this host. The host that publishes may lack some files, or the secrets in
/// them: files that can't be read here are left to the daemon.
pub(super) struct CommandChecks {
    registry: ProviderRegistry,
    /// The reasons why the files of these providers can't be used here.
    unusable: BTreeMap<Name, String>,
    /// True where every configured provider has a readable file, as far as this host knows.
    is_complete: bool,
}

impl CommandChecks {
    /// Reads the provider files.
    pub(super) fn load(config: &Config) -> Self {
        let defaults = config.provider_defaults();
        let found = files(&config.providers.dir).unwrap_or_default();
        let (mut providers, mut unusable, mut is_complete) =
            (Vec::new(), BTreeMap::new(), !found.is_empty());
        for path in found {
            let shown = path.display().to_string();
            let text = fs::read_to_string(&path).unwrap_or_default();
            match Provider::parse(&text, &shown, &defaults) {
                Ok(provider) => providers.push(provider),
                Err(faults) => {
                    let why = faults.first().map(ToString::to_string).unwrap_or(shown);
                    match provider_name(&text) {
                        Ok(name) => drop(unusable.insert(name, why)),
                        Err(_) => is_complete = false,
                    }
                }
            }
        }
        Self {
            registry: ProviderRegistry::new(providers, config.routes.clone().into_iter().collect()),
            unusable,
            is_complete,
        }
    }

    /// Checks commands against the files. Returns the faults, and a line for each command that
    /// could not be checked.
    pub(super) fn check(
        &self,
        commands: &[PreparedCommand],
    ) -> (Vec<InvalidCommandText>, Vec<String>) {
        let mut unchecked = BTreeSet::new();
        let mut faults = Vec::new();
        for PreparedCommand { command, message, line, .. } in commands {
            let checked = match repeated_field(&message.body) {
                Some(fault) => Err(Failure::new("repeated_field", fault)),
                None => self.check_one(command, &mut unchecked),
            };
            if let Err(failure) = checked {
                faults.push(InvalidCommandText::Invalid {
                    line: *line,
                    id: Some(command.id.clone()),
                    failure,
                });
            }
        }
        let warning = |name: &Name| {
            format!("commands of `{name}` are published unchecked: {}", self.unusable[name])
        };
        (faults, unchecked.into_iter().map(warning).collect())
    }

    fn check_one<'c>(
        &'c self,
        command: &'c Command,
        unchecked: &mut BTreeSet<&'c Name>,
    ) -> Result<(), Failure> {
        let named = command.provider.as_ref().or_else(|| {
            self.registry
                .routes()
                .find(|(kind, _)| **kind == command.kind)
                .map(|(_, provider)| provider)
        });
        let provider = named.and_then(|name| self.registry.get(name));
        match (provider, named) {
            (Some(provider), _) => check_against(command, provider),
            (None, Some(name)) if self.unusable.contains_key(name) => {
                unchecked.insert(name);
                Ok(())
            }
            _ if !self.is_complete => Ok(()),
            (None, Some(name)) => {
                let known: Vec<_> = self
                    .registry
                    .iter()
                    .map(|provider| &provider.name)
                    .chain(self.unusable.keys())
                    .collect();
                let known: Vec<_> = known.into_iter().map(Name::as_str).collect();
                let message = format!(
                    "no file here describes the provider `{name}`; there are {}",
                    known.join(", ")
                );
                Err(Failure::new("unknown_provider", message))
            }
            (None, None) => {
                let message = format!(
                    "no route says which provider takes commands of type `{}`; name a `provider`, or write the route",
                    command.kind
                );
                Err(Failure::new("no_route", message))
            }
        }
    }
}

/// Checks a command against its provider. The failure quotes the wrong values, unless the schema
/// marks some as sensitive.
fn check_against(command: &Command, provider: &Provider) -> Result<(), Failure> {
    let checked = command_check::check(command, provider);
    let operation = provider.operations.get(&command.operation);
    checked.map(drop).map_err(|failure| {
        match operation.map(|operation| operation.payload.explain(&command.payload)) {
            Some(faults)
                if !faults.is_empty() && failure.code.as_deref() == Some("invalid_payload") =>
            {
                Failure { message: faults.join("; "), ..failure }
            }
            _ => failure,
        }
    })
}

/// Describes the faults of commands, one line for each, the first of them where there are many.
pub(super) fn fault_lines(faults: &[InvalidCommandText], file: Option<&Path>) -> Vec<String> {
    const MOST: usize = 20;
    let place = |fault: &InvalidCommandText| match file {
        Some(path) if path.as_os_str() == "-" => format!("standard input, line {}: ", fault.line()),
        Some(path) => format!("{}, line {}: ", path.display(), fault.line()),
        None => String::new(),
    };
    let line = |fault: &InvalidCommandText| format!("{}{fault}", place(fault));
    let mut lines: Vec<String> = faults.iter().take(MOST).map(line).collect();
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, "nothing was published: ");
    }
    if faults.len() > MOST {
        lines.push(format!("and {} more", faults.len() - MOST));
    }
    lines
}
