//! Checks the API tokens of the configuration against the providers: names in scopes, and ids that
//! are bound to publishers.

use crate::config::{ApiToken, Config, TokenRole};
use ferryd_domain::command_scope::{AccountPath, CommandScope};
use ferryd_domain::name::Name;
use ferryd_domain::publisher::{AllowedPublisher, PublisherList};
use ferryd_provider::Provider;

/// Describes each name in a token's entry that no provider file has, which is mostly a slip.
pub(super) fn find_unknown_names(config: &Config, providers: &[&Provider]) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, ApiToken { read, operate, publisher, .. }) in config.api.tokens.iter().enumerate() {
        for (key, scope) in [("read", read), ("operate", operate)] {
            let Some(scope) = scope else { continue };
            let unknown = unknown_names(scope, providers);
            faults.extend(
                unknown.map(|(list, fault)| format!("api.tokens[{index}].{key}.{list}: {fault}")),
            );
        }
        faults.extend(
            unknown_publisher(publisher.as_deref(), providers)
                .map(|fault| format!("api.tokens[{index}].{fault}")),
        );
    }
    faults
}

/// Describes each token that may use every id, although some are bound to publishers.
pub(super) fn warn_of_unbound_tokens(config: &Config, providers: &[&Provider]) -> Vec<String> {
    let mut prefixes: Vec<_> = publishers(providers)
        .flat_map(|publisher| &publisher.id_prefixes)
        .map(|prefix| format!("`{prefix}`"))
        .collect();
    prefixes.sort();
    prefixes.dedup();
    if prefixes.is_empty() {
        return Vec::new();
    }
    let tokens = config.api.tokens.iter().enumerate().filter(|(_, token)| {
        let is_bounded = token.operate.as_ref().is_some_and(|scope| !scope.is_unlimited());
        token.role == TokenRole::Operate && token.publisher.is_none() && !is_bounded
    });
    let warning = |(index, token): (usize, &ApiToken)| {
        let (name, prefixes) = (&token.name, prefixes.join(", "));
        format!(
            "api.tokens[{index}]: `{name}` is good for all commands, so it may use the ids that are bound to publishers \
             ({prefixes}); name its own with `publisher`, or bound it with `read` and `operate`"
        )
    };
    tokens.map(warning).collect()
}

/// Describes the publisher of a token that no provider or account lists.
fn unknown_publisher(user: Option<&str>, providers: &[&Provider]) -> Option<String> {
    let user = user?;
    let mut known: Vec<_> = publishers(providers).map(|publisher| publisher.user.clone()).collect();
    known.sort();
    known.dedup();
    (!known.iter().any(|known| known == user))
        .then(|| format!("publisher: {}", no_such("publisher", user, &known)))
}

/// Lists every entry of `publishers`, of all accounts.
fn publishers<'a>(providers: &'a [&Provider]) -> impl Iterator<Item = &'a AllowedPublisher> {
    let accounts = providers.iter().flat_map(|provider| provider.accounts.values());
    accounts.filter_map(|account| account.publishers.as_ref()).flat_map(PublisherList::iter)
}

fn unknown_names<'a>(
    scope: &'a CommandScope,
    providers: &'a [&'a Provider],
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let types =
        scope.types.iter().flatten().filter(|name| !providers.iter().any(|one| one.kind == **name));
    let unknown = scope.providers.iter().flatten();
    let unknown = unknown.filter(|name| !providers.iter().any(|one| one.name == **name));
    let accounts = scope.accounts.iter().flatten().filter(|path| !has_account(providers, path));
    let types = types.map(|name| {
        ("types", no_such("provider of the type", name, &all(providers, |one| &one.kind)))
    });
    let unknown = unknown
        .map(|name| ("providers", no_such("provider", name, &all(providers, |one| &one.name))));
    let accounts =
        accounts.map(|path| ("accounts", no_such("account", path, &all_accounts(providers))));
    types.chain(unknown).chain(accounts)
}

fn has_account(providers: &[&Provider], path: &AccountPath) -> bool {
    providers
        .iter()
        .any(|one| one.name == path.provider && one.accounts.contains_key(&path.account))
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
    use std::sync::Arc;

    use super::*;
    use crate::cli::fixture;
    use crate::config::EnvironmentVariables;

    /// Makes a provider whose account accepts commands of `till`, and of `warehouse` under ids of
    /// its own.
    fn listed() -> Provider {
        let mut provider = fixture::payments();
        let allowed = |user: &str, prefixes: &[&str]| AllowedPublisher {
            user: user.to_owned(),
            id_prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
        };
        let list = PublisherList::new(vec![
            allowed("till", &[]),
            allowed("warehouse", &["wh-", "stock."]),
        ]);
        let account = provider.accounts.values_mut().next().unwrap();
        Arc::get_mut(account).unwrap().publishers = Some(list);
        provider
    }

    fn config(entry: &str) -> Config {
        let text = format!("[[api.tokens]]\nname = 'shop'\ntoken = '0123456789abcdef'\n{entry}\n");
        Config::from_parts(Some((Path::new("ferryd.toml"), &text)), &EnvironmentVariables::new())
            .unwrap()
    }

    #[test]
    fn a_token_publishes_for_a_publisher_that_an_account_names() {
        for (user, fault) in [
            ("warehouse", None),
            ("till", None),
            (
                "shop",
                Some(
                    "api.tokens[0].publisher: there is no publisher `shop`; configured are till, warehouse",
                ),
            ),
        ] {
            let config = config(&format!("role = 'operate'\npublisher = '{user}'"));
            assert_eq!(find_unknown_names(&config, &[&listed()]), fault.as_slice(), "{user}");
        }
    }

    #[test]
    fn tokens_that_may_use_ids_which_are_bound_to_publishers_are_warned_of() {
        let scoped = "role = 'operate'\nread = {}\noperate = { types = ['payment'] }";
        for (entry, is_warned_of) in [
            ("role = 'read'", false),
            ("role = 'operate'", true),
            ("role = 'operate'\nread = {}\noperate = {}", true),
            ("role = 'operate'\npublisher = 'till'", false),
            (scoped, false),
        ] {
            let config = config(entry);
            let found = warn_of_unbound_tokens(&config, &[&listed()]);
            assert_eq!(found.len(), usize::from(is_warned_of), "{entry}: {found:?}");
            let text = "api.tokens[0]: `shop` is good for all commands, so it may use the ids that are bound to publishers \
                        (`stock.`, `wh-`);";
            assert!(found.iter().all(|line| line.starts_with(text)), "{found:?}");
            assert_eq!(
                warn_of_unbound_tokens(&config, &[&fixture::payments()]),
                [""; 0],
                "nothing is bound"
            );
        }
    }

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
                Some(
                    "api.tokens[0].read.providers: there is no provider `strip`; configured are stripe, twilio",
                ),
            ),
            (
                "accounts = ['stripe/eu']",
                Some(
                    "api.tokens[0].read.accounts: there is no account `stripe/eu`; configured are ",
                ),
            ),
        ] {
            let text = format!(
                "[[api.tokens]]\nname = 'shop'\nrole = 'read'\ntoken = '0123456789abcdef'\nread = {{ {scope} }}\n"
            );
            let config = Config::from_parts(
                Some((Path::new("ferryd.toml"), &text)),
                &EnvironmentVariables::new(),
            )
            .unwrap();
            let found = find_unknown_names(&config, &[&payments, &messages]);
            assert_eq!(found.len(), usize::from(fault.is_some()), "{scope}: {found:?}");
            assert!(fault.is_none_or(|fault| found[0].starts_with(fault)), "{found:?}");
        }
    }
}
