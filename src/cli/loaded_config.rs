//! Reads the configuration and the provider files, which most subcommands need first.

use std::path::Path;

use jiff::Timestamp;

use super::error::CommandError;
use super::ledger_retention::find_too_short;
use super::publishers;
use super::token_scopes;
use crate::config::Config;
use crate::web::webhooks::tls;
use ferryd_domain::name::Name;
use ferryd_provider::registry::ProviderRegistry;
use ferryd_provider::{Account, Provider};

/// The configuration and the providers.
pub struct LoadedConfig {
    /// The daemon's settings.
    pub config: Config,
    /// The providers.
    pub registry: ProviderRegistry,
}

impl LoadedConfig {
    /// Reads the configuration and every provider file.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load(path: Option<&Path>) -> Result<Self, CommandError> {
        let config = Config::load(path)?;
        let registry = ProviderRegistry::load(
            &config.providers.dir,
            &config.provider_defaults(),
            config.routes.clone(),
        )?;
        Ok(Self { config, registry })
    }

    /// Lists the providers, by name.
    pub fn providers(&self) -> Vec<&Provider> {
        self.registry.iter().map(AsRef::as_ref).collect()
    }

    /// Finds a provider by name.
    ///
    /// # Errors
    /// No provider has the name; the error lists the existing ones.
    pub fn provider(&self, name: &str) -> Result<&Provider, CommandError> {
        self.registry
            .iter()
            .map(AsRef::as_ref)
            .find(|provider: &&Provider| provider.name.as_str() == name)
            .ok_or_else(|| {
                let names: Vec<_> =
                    self.registry.iter().map(|provider| provider.name.as_str()).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                CommandError::NoProvider { name: name.to_owned(), known }
            })
    }

    /// Finds an account of a provider by name; `default` where none is given.
    ///
    /// # Errors
    /// No account has the name; the error lists the existing ones.
    pub fn account<'p>(
        provider: &'p Provider,
        name: Option<&Name>,
    ) -> Result<&'p Account, CommandError> {
        let name = name.cloned().unwrap_or_else(Name::default_account);
        provider.accounts.get(&name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<_> = provider.accounts.keys().map(ToString::to_string).collect();
            let (provider, known) = (&provider.name, known.join(", "));
            CommandError::Refused(format!(
                "provider `{provider}` has no account `{name}`; --account can be {known}"
            ))
        })
    }

    /// Lists the faults that keep the daemon from serving although each file by itself is valid,
    /// one line each.
    #[must_use]
    pub fn startup_faults(&self) -> Vec<String> {
        cross_file_faults(&self.config, &self.providers())
    }

    /// Reads the configuration and the provider files, and refuses those that the daemon would not
    /// serve.
    ///
    /// # Errors
    /// Every fault found.
    pub fn load_servable(path: Option<&Path>) -> Result<Self, CommandError> {
        let setup = Self::load(path)?;
        let refusals = setup.startup_faults();
        if refusals.is_empty() { Ok(setup) } else { Err(CommandError::Providers(refusals)) }
    }
}

/// Lists the faults between files: a ledger that prunes too early, routes to unknown providers, and
/// invalid certificates.
pub(super) fn cross_file_faults(config: &Config, providers: &[&Provider]) -> Vec<String> {
    let mut faults: Vec<_> =
        providers.iter().flat_map(|provider| find_too_short(config, provider)).collect();
    for (kind, name) in &config.routes {
        let fault = match providers.iter().find(|provider| provider.name == *name) {
            None => "there is no such provider; write the name of a configured one".to_owned(),
            Some(provider) if provider.kind != *kind => {
                format!(
                    "this provider is of the type `{}`; write one of the type `{kind}`",
                    provider.kind
                )
            }
            Some(_) => continue,
        };
        faults.push(format!("routes.{kind} = \"{name}\": {fault}"));
    }
    faults.extend(token_scopes::find_unknown_names(config, providers));
    faults.extend(tls::load(&config.webhooks).err().map(|error| error.to_string()));
    faults
}

/// Describes a provider whose webhooks reach no endpoint.
pub(super) fn warn_unheard_webhooks(config: &Config, provider: &Provider) -> Option<String> {
    let text = || {
        format!(
            "provider {}: webhook: its calls cannot be received; write `webhooks.public_url` into the configuration",
            provider.name
        )
    };
    (provider.has_endpoint() && !config.webhooks.is_enabled()).then(text)
}

/// Lists warnings about valid settings that are worth a look, such as webhooks that prove
/// little.
pub(super) fn warnings(config: &Config, provider: &Provider) -> Vec<String> {
    let mut warnings: Vec<_> = warn_unusable_lookups(provider).collect();
    warnings.extend(publishers::warnings(config, provider));
    if provider.names_command_token && provider.echo_tokens.is_none() {
        warnings.push(format!(
            "provider {}: names `command_token`, for which the configuration has no `webhooks.signing_keys`: ids that the \
             provider echoes prove nothing without, so its calls are matched by its own references alone, and a lookup finds \
             nothing by an id; make a key with `openssl rand -hex 32`",
            provider.name
        ));
    }
    for (name, account) in &provider.accounts {
        let of =
            if provider.accounts.len() > 1 { format!(", account {name}") } else { String::new() };
        let cautions = account
            .webhook
            .as_ref()
            .map(|webhook| webhook.list_cautions(Timestamp::now()))
            .unwrap_or_default();
        warnings.extend(
            cautions
                .iter()
                .map(|caution| format!("provider {}{of}: webhook: {caution}", provider.name)),
        );
    }
    if !provider.accounts.contains_key(&Name::default_account()) {
        warnings.push(format!(
            "provider {}: accounts_dir: there is no default.toml, so commands have to name an `account`",
            provider.name
        ));
    }
    warnings
}

/// Describes lookups by a value that a call without an answer does not provide.
fn warn_unusable_lookups(provider: &Provider) -> impl Iterator<Item = String> {
    let needing = provider
        .operations
        .iter()
        .filter(|(_, operation)| operation.lookup.is_some_and(|lookup| lookup.needs_reference));
    needing.map(|(name, _)| {
        format!(
            "provider {}: operations.{name}.lookup: asks by `provider_reference`, which a call without an answer does not \
             return; such a command ends `unresolved`, and nothing is queried. Where the provider can be searched by \
             `command.id` or by the payload, write that",
            provider.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixture;

    #[test]
    fn an_endpoint_that_verifies_everybody_is_warned_of() {
        let file = |verify: &str| {
            format!(
                "use = \"twilio\"\nsecrets = {{ account_sid = \"AC1\", auth_token = \"0123456789abcdef0123456789abcdef\" }}\nwebhook = {{ {verify} }}\n"
            )
        };
        let config = Config::default();
        for (verify, count) in [("verify = \"none\"", 1), ("", 0)] {
            let provider =
                Provider::parse(&file(verify), "twilio.toml", &config.provider_defaults()).unwrap();
            let found = warnings(&config, &provider);
            assert_eq!(found.len(), count, "{found:?}");
            assert!(
                found.iter().all(
                    |line| line.starts_with("provider twilio: webhook: calls are not verified")
                ),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_lookup_by_an_id_that_only_an_answer_contains_is_warned_of() {
        let file = |request: &str| {
            format!(
                "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
                 [operations.pay]\nrequest = {{ method = \"POST\", path = \"/pay\" }}\n\
                 lookup = {{ request = {{ method = \"GET\", path = \"{request}\" }}, after = \"1m\", found = \"body.id\" }}\n"
            )
        };
        let config = Config::default();
        for (request, count) in [("/pay/{{ provider_reference }}", 1), ("/pay/{{ command.id }}", 0)]
        {
            let provider =
                Provider::parse(&file(request), "acme.toml", &config.provider_defaults()).unwrap();
            let found = warnings(&config, &provider);
            assert_eq!(found.len(), count, "{found:?}");
            let start = "provider acme: operations.pay.lookup: asks by `provider_reference`";
            assert!(found.iter().all(|line| line.starts_with(start)), "{found:?}");
        }
    }

    #[test]
    fn ids_that_nothing_proves_are_warned_of() {
        let keys = [("FERRYD_WEBHOOKS__SIGNING_KEYS", "0123456789abcdef0123456789abcdef")];
        let stripe = "use = \"stripe\"\nsecrets = { api_key = \"sk\" }\n";
        let acme = "name = \"acme\"\ntype = \"payment\"\nprotocol = \"rest\"\nbase_url = \"https://api.example.com\"\n\
                    [operations.pay]\nrequest = { method = \"POST\", path = \"/pay\" }\n\
                    [webhook]\nverify = \"none\"\nevent = \"{{ body.type }}\"\ncommand = \"{{ body.id }}\"\n";
        for (text, keys, warning) in [
            (
                stripe,
                &keys[..0],
                Some("provider stripe: names `command_token`, for which the configuration has no"),
            ),
            (stripe, &keys[..], None),
            (acme, &keys[..], Some("provider acme: webhook: `command` stands without `token`")),
        ] {
            let environment: crate::config::EnvironmentVariables =
                keys.iter().map(|(name, key)| ((*name).to_owned(), (*key).to_owned())).collect();
            let config = Config::from_parts(None, &environment).unwrap();
            let provider = Provider::parse(text, "file.toml", &config.provider_defaults()).unwrap();
            let found = warnings(&config, &provider);
            let is_warned = |line: &String| warning.is_some_and(|start| line.starts_with(start));
            assert_eq!(found.iter().any(is_warned), warning.is_some(), "{found:?}");
            assert_eq!(
                found.iter().any(|line| line.contains("token`")),
                warning.is_some(),
                "{found:?}"
            );
        }
    }

    #[test]
    fn a_route_leads_to_a_provider_of_its_type() {
        let messages = fixture::messages();
        for (kind, name, fault) in [
            ("notification", "twilio", None),
            ("notification", "sendgrid", Some("no such provider")),
            ("payment", "twilio", Some("of the type `notification`")),
        ] {
            let routes = [(kind.parse().unwrap(), name.parse().unwrap())].into();
            let found = cross_file_faults(&Config { routes, ..Config::default() }, &[&messages]);
            assert_eq!(found.len(), usize::from(fault.is_some()), "{found:?}");
            assert!(found.iter().zip(fault).all(|(line, fault)| line.contains(fault)), "{found:?}");
        }
    }

    #[test]
    fn webhook_calls_that_reach_nobody_are_warned_of() {
        let provider = fixture::messages();
        assert_eq!(warn_unheard_webhooks(&Config::default(), &provider), None);
        let provider = fixture::called_back(provider);
        let found = warn_unheard_webhooks(&Config::default(), &provider).unwrap();
        assert!(
            found.starts_with("provider twilio: webhook: its calls cannot be received"),
            "{found}"
        );
        let mut config = Config::default();
        config.webhooks.public_url =
            Some("https://hooks.example.com".to_owned().try_into().unwrap());
        assert_eq!(warn_unheard_webhooks(&config, &provider), None);
    }

    #[test]
    fn a_certificate_that_cannot_be_used_is_refused_before_anything_starts() {
        let mut config = Config::default();
        config.webhooks.tls_cert_file = Some("/no/such/cert.pem".into());
        config.webhooks.tls_key_file = Some("/no/such/key.pem".into());
        let found = cross_file_faults(&config, &[]);
        assert!(
            found[0].starts_with("webhooks.tls_cert_file = \"/no/such/cert.pem\": cannot be read"),
            "{found:?}"
        );
    }
}
