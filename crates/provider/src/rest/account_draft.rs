//! Compiles the parts of a provider that depend on the account.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use minijinja::Value;
use secrecy::SecretString;

use super::RestAdapter;
use super::compile_context::CompileContext;
use super::compiled_operation::RestOperation;
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{ProviderFile, ProviderProtocol};
use super::header::{self, RequestAuth};
use super::message;
use super::path::BaseUrl;
use super::request::SharedRequestParts;
use super::secret::ProviderSecrets;
use super::token::GrantContext;
use super::verification::CredentialProbe;
use super::webhook_url::WebhookUrl;
use crate::account::{AccountNames, AccountSpec, AccountValues, ProviderLink};
use crate::webhook::InboundQueue;
use crate::webhook::compile as webhook;
use crate::webhook::compile_inbound::compile_inbound;
use crate::webhook::fixed_scheme::SecretsOfFile;
use crate::webhook::token::WebhookUrlContext;
use crate::webhook_links::WebhookLinks;
use crate::{Account, WebhookReceiver};
use ferryd_domain::name::Name;
use ferryd_domain::publisher::PublisherList;
use ferryd_settings::findings::SettingsCursor;
use ferryd_settings::placeholder::{PlaceholderSources, resolve_secret};

/// The parts of a provider that depend on the account.
pub(super) struct AccountDraft {
    name: Name,
    secrets: ProviderSecrets,
    account_variable: Value,
    pub(super) shared: Option<SharedRequestParts>,
    webhook: Option<Arc<dyn WebhookReceiver>>,
    pub(super) inbound: Option<Arc<InboundQueue>>,
    publishers: Option<PublisherList>,
}

impl AccountDraft {
    pub(super) fn new(
        file: &ProviderFile,
        stated: &AccountSpec,
        names: &AccountNames,
        webhook_url: &WebhookUrl,
        around: CompileContext<'_>,
        root: &SettingsCursor<'_>,
    ) -> Self {
        let place = stated.place(root);
        stated.check(file, names, &place);
        let secrets = secrets(file, stated, around.folder, &place.key("secrets"));
        let (of_file, values) =
            (SecretsOfFile { names: &names.secrets, secrets: &secrets }, stated.values(names));
        let known =
            KnownVariables::in_request(&names.secrets).with_account(values.names).with(webhook_url);
        let shared = shared(file, of_file, &values, &known, &place);
        Self {
            name: stated.name.clone(),
            account_variable: values.variable(),
            publishers: stated.publishers(&place),
            shared,
            webhook: None,
            inbound: None,
            secrets,
        }
    }

    /// Adds the endpoint for webhooks, after it is known whether a request contains a webhook
    /// URL.
    pub(super) fn listen(
        &mut self,
        file: &ProviderFile,
        names: &AccountNames,
        (links, is_requested): (Option<&WebhookLinks>, bool),
        place: &SettingsCursor<'_>,
    ) {
        let called = WebhookUrlContext { links, is_requested, account: &self.name };
        let of_file = SecretsOfFile { names: &names.secrets, secrets: &self.secrets };
        let compile = |table| webhook::compile(table, of_file, called, &place.key("webhook"));
        self.webhook = file.webhook.as_ref().and_then(compile);
    }

    /// Adds the queue of the provider's answers.
    pub(super) fn take_answers(
        &mut self,
        file: &ProviderFile,
        (stated, names): (&AccountSpec, &AccountNames),
        place: &SettingsCursor<'_>,
    ) {
        let Some(table) = &file.inbound else { return };
        let place = place.key("inbound");
        if file.spoken() != ProviderProtocol::Amqp {
            place.refuse(
                r#"is a queue of a broker; write [webhook] for answers by HTTP, or protocol = "amqp""#,
            );
            return;
        }
        let of_file = SecretsOfFile { names: &names.secrets, secrets: &self.secrets };
        let values = stated.values(names);
        self.inbound = compile_inbound(table, of_file, &values, &place).map(Arc::new);
    }

    pub(super) fn account(
        self,
        (provider, protocol): (&Name, ProviderProtocol),
        operations: &Arc<BTreeMap<Name, RestOperation>>,
        probe: Option<&Arc<CredentialProbe>>,
    ) -> Option<Account> {
        let Self { name, secrets, account_variable, shared, webhook, inbound, publishers } = self;
        let (shared, provider, operations) = (shared?, provider.clone(), Arc::clone(operations));
        let (base_url, secret_variable) = (shared.base_url.as_url().clone(), secrets.variable());
        let scope = ExpressionScope::new([
            ("secrets", secret_variable.clone().into()),
            ("account", account_variable.clone().into()),
        ]);
        let credentials = shared.auth.as_ref().and_then(|auth| auth.basic_credentials(&scope));
        let values = secrets.values().cloned().chain(credentials).collect();
        let link = match protocol {
            ProviderProtocol::Rest => ProviderLink::Https,
            ProviderProtocol::Amqp => {
                let (username, password) = shared.auth.as_ref()?.login(&scope)?.ok()?;
                ProviderLink::Amqp { username, password }
            }
            ProviderProtocol::Nats => {
                ProviderLink::Nats(shared.auth.as_ref()?.nats_login(&scope)?.ok()?)
            }
        };
        let verification = probe.cloned();
        let adapter = RestAdapter {
            name: provider,
            shared,
            secret_variable,
            account_variable,
            operations,
            verification,
        };
        Some(Account {
            name,
            adapter: Arc::new(adapter),
            webhook,
            inbound,
            publishers,
            base_url,
            link,
            secrets: values,
        })
    }
}

/// The secrets of an account: its own, and those of the provider file that the account does not
/// override.
fn secrets(
    file: &ProviderFile,
    account: &AccountSpec,
    folder: &Path,
    place: &SettingsCursor<'_>,
) -> ProviderSecrets {
    let mut secrets: BTreeMap<String, SecretString> = BTreeMap::new();
    let shared = file.secrets.iter().filter(|(name, _)| !account.secrets.contains_key(*name));
    let own = account.secrets.iter().map(|stated| (stated, account.folder().unwrap_or(folder)));
    for ((name, text), folder) in shared.map(|stated| (stated, folder)).chain(own) {
        let place = place.key(name);
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            place.refuse("expressions could not name it; use letters, digits and `_`");
        }
        let sources = PlaceholderSources { folder, variable: &|name| std::env::var(name).ok() };
        if let Some(secret) = place.check(resolve_secret(text, sources)) {
            secrets.insert(name.clone(), secret);
        }
    }
    ProviderSecrets::new(secrets)
}

fn shared(
    file: &ProviderFile,
    of_file: SecretsOfFile<'_>,
    account: &AccountValues<'_>,
    known: &KnownVariables<'_>,
    root: &SettingsCursor<'_>,
) -> Option<SharedRequestParts> {
    let SecretsOfFile { names, secrets } = of_file;
    let place = root.key("base_url");
    if file.base_url.is_none() {
        place.refuse(r#"is missing; write base_url = "https://api.example.com""#);
    }
    let base_url = |text: &String| {
        let (protocol, loopback) = (file.spoken(), file.allow_insecure_loopback);
        place.check(BaseUrl::read_account_url(text, account, protocol, loopback))
    };
    let base_url = file.base_url.as_ref().and_then(base_url);
    let context = GrantContext {
        base_url: base_url.as_ref(),
        allow_insecure_loopback: file.allow_insecure_loopback,
        known: &KnownVariables::in_secrets(names),
        secrets: (secrets.len() == names.len()).then_some(secrets),
    };
    let auth = file
        .auth
        .as_ref()
        .and_then(|auth| RequestAuth::compile(auth, known, &context, &root.key("auth")));
    let headers = match file.spoken() {
        ProviderProtocol::Rest => header::compile(&file.headers, known, &root.key("headers")),
        protocol @ (ProviderProtocol::Amqp | ProviderProtocol::Nats) => {
            message::headers(&file.headers, protocol, known, &root.key("headers"))
        }
    };
    if let Some(name) =
        auth.as_ref().map(RequestAuth::header).filter(|name| headers.contains_key(*name))
    {
        root.key("headers").refuse(format!("`{name}` is set by `auth`; leave it out"));
    }
    Some(SharedRequestParts { base_url: base_url?, auth, headers })
}
