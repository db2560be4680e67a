//! Describes the publishers of accounts, for the warnings of `ferryd check` and for `ferryd
//! provider show`.

use std::collections::BTreeMap;

use crate::config::Config;
use ferryd_domain::publisher::PublisherList;
use ferryd_provider::Provider;

/// The default user of a fresh RabbitMQ, whose password is well known.
const DEFAULT_USER: &str = "guest";

/// Returns the AMQP users that may publish for each account; an account that is absent accepts
/// commands of all.
pub(super) fn of_accounts(provider: &Provider) -> BTreeMap<String, Vec<String>> {
    let users = |list: &PublisherList| list.iter().map(ToString::to_string).collect();
    let listed = provider
        .accounts
        .iter()
        .filter_map(|(name, account)| Some((name, account.publishers.as_ref()?)));
    listed.map(|(name, list)| (name.to_string(), users(list))).collect()
}

/// Lists the publishers of all accounts in one line.
pub(super) fn summary(accounts: &[String], publishers: &BTreeMap<String, Vec<String>>) -> String {
    let users = |account: &String| {
        publishers.get(account).map_or("all".to_owned(), |users| users.join(", "))
    };
    match accounts {
        [only] => users(only),
        several => several
            .iter()
            .map(|name| format!("{name}: {}", users(name)))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// Warns of accounts that are open to every publisher of their provider, and of publishers that can
/// pass for ferryd itself.
pub(super) fn warnings(config: &Config, provider: &Provider) -> Vec<String> {
    open_accounts(provider).into_iter().chain(own_user(config, provider)).collect()
}

fn open_accounts(provider: &Provider) -> Option<String> {
    let open = provider.accounts.values().filter(|account| account.publishers.is_none());
    let open: Vec<_> = open.map(|account| format!("`{}`", account.name)).collect();
    let (name, kind) = (&provider.name, &provider.kind);
    (provider.accounts.len() > 1 && !open.is_empty()).then(|| {
        format!(
            "provider {name}: whoever may publish `{kind}.{name}.*` can use {} {}; name their AMQP users, such as \
             `publishers = [\"shop\"]`, in the accounts' files, or for all in the provider's",
            if open.len() == 1 { "the account" } else { "the accounts" },
            open.join(", ")
        )
    })
}

/// Warns where ferryd can't distinguish its own messages from those of publishers. Nothing depends
/// on that without `publishers`.
fn own_user(config: &Config, provider: &Provider) -> Vec<String> {
    let lists: Vec<_> =
        provider.accounts.values().filter_map(|account| account.publishers.as_ref()).collect();
    if lists.is_empty() {
        return Vec::new();
    }
    let name = &provider.name;
    let Some(own) = config.amqp.own_user() else {
        return vec![format!(
            "provider {name}: publishers: ferryd does not know its own AMQP user, which the broker takes from the client certificate; \
             write it into `amqp.user` (`rabbitmqctl list_connections user` shows it), or what comes by the API and by `ferryd \
             publish` is refused"
        )];
    };
    let is_listed = lists.iter().any(|list| list.find(own).is_some());
    let listed = is_listed.then(|| {
        format!(
            "provider {name}: publishers: `{own}` is ferryd's own AMQP user, for which every account and id is free; give the \
             publisher a user of its own"
        )
    });
    let shared = (own == DEFAULT_USER).then(|| {
        format!(
            "provider {name}: publishers: ferryd itself is the AMQP user `{DEFAULT_USER}`, and whoever logs in as that user passes \
             for ferryd; give ferryd a user of its own in `amqp.uri`"
        )
    });
    listed.into_iter().chain(shared).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::fixture;
    use ferryd_domain::publisher::AllowedPublisher;
    use ferryd_provider::Account;

    /// Makes a provider with these accounts, and the users that may publish for each.
    fn provider(accounts: &[(&str, Option<&str>)]) -> Provider {
        let mut provider = fixture::payments();
        let template = provider.accounts.pop_first().unwrap().1;
        for (name, user) in accounts {
            let allowed =
                |user: &str| AllowedPublisher { user: user.to_owned(), id_prefixes: Vec::new() };
            let account = Account {
                name: name.parse().unwrap(),
                adapter: Arc::clone(&template.adapter),
                webhook: None,
                inbound: None,
                publishers: user.map(|user| PublisherList::new(vec![allowed(user)])),
                base_url: template.base_url.clone(),
                link: template.link.clone(),
                secrets: Vec::new(),
            };
            provider.accounts.insert(account.name.clone(), Arc::new(account));
        }
        provider
    }

    fn config(uri: &str, user: Option<&str>) -> Config {
        let mut config = Config::default();
        config.amqp.uri = uri.to_owned().try_into().unwrap();
        config.amqp.user = user.map(str::to_owned);
        config
    }

    #[test]
    fn accounts_that_every_publisher_can_use_are_warned_of_where_there_is_more_than_one() {
        let config = config("amqp://ferryd:x@host/%2f", None);
        for (accounts, open) in [
            (&[("default", None)][..], None),
            (&[("default", Some("shop"))], None),
            (&[("default", None), ("us", None)], Some("the accounts `default`, `us`;")),
            (&[("default", Some("shop")), ("us", None)], Some("the account `us`;")),
            (&[("default", Some("shop")), ("us", Some("till"))], None),
        ] {
            let found = warnings(&config, &provider(accounts));
            assert_eq!(found.len(), usize::from(open.is_some()), "{found:?}");
            let start = "provider stripe: whoever may publish `payment.stripe.*` can use ";
            assert!(
                found
                    .iter()
                    .zip(open)
                    .all(|(line, open)| line.starts_with(&format!("{start}{open}"))),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_publisher_that_passes_for_ferryd_is_warned_of() {
        let (external, own) =
            ("amqps://host/%2f?auth_mechanism=external", "amqp://ferryd:x@host/%2f");
        for (uri, user, publisher, warning) in [
            (own, None, Some("shop"), None),
            (own, None, Some("ferryd"), Some("`ferryd` is ferryd's own AMQP user")),
            ("amqp://host/%2f", None, Some("shop"), Some("ferryd itself is the AMQP user `guest`")),
            ("amqp://host/%2f", None, None, None),
            (external, None, Some("shop"), Some("ferryd does not know its own AMQP user")),
            (external, None, None, None),
            (external, Some("ferry-node"), Some("shop"), None),
            (
                external,
                Some("ferry-node"),
                Some("ferry-node"),
                Some("`ferry-node` is ferryd's own AMQP user"),
            ),
        ] {
            let found = warnings(&config(uri, user), &provider(&[("default", publisher)]));
            assert_eq!(found.len(), usize::from(warning.is_some()), "{found:?}");
            assert!(found.iter().zip(warning).all(|(line, text)| line.contains(text)), "{found:?}");
        }
    }

    #[test]
    fn publishers_are_listed_by_account() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        for (accounts, expected) in [
            (&[("default", None)][..], "all"),
            (&[("default", Some("shop"))], "shop"),
            (&[("default", None), ("us", Some("shop"))], "default: all; us: shop"),
        ] {
            let listed: Vec<_> = accounts.iter().map(|(name, _)| *name).collect();
            assert_eq!(summary(&names(&listed), &of_accounts(&provider(accounts))), expected);
        }
    }
}
