//! Whether the scopes of API tokens name what is configured.

use crate::config::{ApiToken, Config};
use crate::domain::command_scope::{AccountPath, CommandScope};
use crate::domain::name::Name;
use crate::provider::Provider;

/// One line for each name in a scope that no provider file knows: it would mean nothing, and mostly is a slip.
pub(super) fn find_unknown_names(config: &Config, providers: &[&Provider]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, ApiToken { read, operate, .. }) in config.api.tokens.iter().enumerate() {
        for (key, scope) in [("read", read), ("operate", operate)] {
            let Some(scope) = scope else { continue };
            let unknown = unknown_names(scope, providers);
            faults.extend(unknown.map(|(list, fault)| format!("api.tokens[{index}].{key}.{list}: {fault}")));
        }
    }
    faults
}

fn unknown_names<'a>(
    scope: &'a CommandScope,
    providers: &'a [&'a Provider],
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let types = scope.types.iter().flatten().filter(|name| !providers.iter().any(|one| one.kind == **name));
    let unknown = scope.providers.iter().flatten();
    let unknown = unknown.filter(|name| !providers.iter().any(|one| one.name == **name));
    let accounts = scope.accounts.iter().flatten().filter(|path| !has_account(providers, path));
    let types = types.map(|name| ("types", no_such("provider of the type", name, &all(providers, |one| &one.kind))));
    let unknown = unknown.map(|name| ("providers", no_such("provider", name, &all(providers, |one| &one.name))));
    let accounts = accounts.map(|path| ("accounts", no_such("account", path, &all_accounts(providers))));
    types.chain(unknown).chain(accounts)
}

fn has_account(providers: &[&Provider], path: &AccountPath) -> bool {
    providers.iter().any(|one| one.name == path.provider && one.accounts.contains_key(&path.account))
}

fn no_such(what: &str, name: impl std::fmt::Display, known: &[String]) -> String {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("there is no {what} `{name}`; configured are {known}")
}

fn all(providers: &[&Provider], name: fn(&Provider) -> &Name) -> Vec<String> {
    let mut names: Vec<_> = providers.iter().map(|one| name(one).to_string()).collect();
    names.sort();
    names.dedup();
    names
}

fn all_accounts(providers: &[&Provider]) -> Vec<String> {
    let accounts = |one: &&Provider| {
        let name = one.name.clone();
        one.accounts.keys().map(move |account| format!("{name}/{account}")).collect::<Vec<_>>()
    };
    providers.iter().flat_map(accounts).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::fixture;
    use crate::config::Environment;

    #[test]
    fn names_in_scopes_are_those_of_configured_types_providers_and_accounts() {
        let (payments, messages) = (fixture::payments(), fixture::messages());
        for (scope, fault) in [
            ("", None),
            ("types = ['payment']", None),
            ("providers = ['stripe', 'twilio']", None),
            ("accounts = ['stripe/default']", None),
            (
                "types = ['payments']",
                Some(
                    "api.tokens[0].read.types: there is no provider of the type `payments`; configured are notification, payment",
                ),
            ),
            (
                "providers = ['strip']",
                Some("api.tokens[0].read.providers: there is no provider `strip`; configured are stripe, twilio"),
            ),
            (
                "accounts = ['stripe/eu']",
                Some("api.tokens[0].read.accounts: there is no account `stripe/eu`; configured are "),
            ),
        ] {
            let text = format!(
                "[[api.tokens]]\nname = 'shop'\nrole = 'read'\ntoken = '0123456789abcdef'\nread = {{ {scope} }}\n"
            );
            let config = Config::from_parts(Some((Path::new("ferryd.toml"), &text)), &Environment::new()).unwrap();
            let found = find_unknown_names(&config, &[&payments, &messages]);
            assert_eq!(found.len(), usize::from(fault.is_some()), "{scope}: {found:?}");
            assert!(fault.is_none_or(|fault| found[0].starts_with(fault)), "{found:?}");
        }
    }
}
