//! Compiles a provider file into a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use minijinja::Value;
use secrecy::SecretString;

use super::RestAdapter;
use super::compiled_operation::RestOperation;
use super::expression::{ExpressionScope, KnownVariables};
use super::file::{ProviderFile, ProviderProtocol};
use super::foreign_keys::refuse_foreign_keys;
use super::header::{self, RequestAuth};
use super::inherited::{InheritedSettings, duration, size};
use super::message;
use super::operation::{self, retry, timeout};
use super::path::BaseUrl;
use super::request::SharedRequestParts;
use super::secret::ProviderSecrets;
use super::token::GrantContext;
use super::verification::{self, CredentialProbe};
use super::webhook_url::WebhookUrl;
use crate::account::{AccountNames, AccountSpec, AccountValues, ProviderLink};
use crate::registry::ProviderDefaults;
use crate::webhook::InboundQueue;
use crate::webhook::compile as webhook;
use crate::webhook::compile_inbound::compile_inbound;
use crate::webhook::file::WebhookFile;
use crate::webhook::fixed_scheme::SecretsOfFile;
use crate::webhook::token::WebhookUrlContext;
use crate::webhook_links::{EchoTokens, WebhookLinks};
use crate::{Account, HttpSettings, LogSettings, Operation, Provider, WebhookReceiver};
use ferryd_domain::command::ANY;
use ferryd_domain::name::Name;
use ferryd_domain::publisher::PublisherList;
use ferryd_settings::findings::SettingsCursor;
use ferryd_settings::placeholder::{PlaceholderSources, resolve_secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);
const RESPONSE_CAP: usize = 1 << 20;

/// The context of a provider file: its folder, and the settings that the file may leave out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompileContext<'a> {
    /// The folder against which relative paths are resolved.
    pub(crate) folder: &'a Path,
    /// The daemon's settings.
    pub(crate) defaults: &'a ProviderDefaults,
    /// True where the file has an endpoint for webhooks, even if the endpoint is not compiled.
    pub(crate) has_endpoint: bool,
    /// True where the file names `command_token` anywhere.
    pub(crate) names_command_token: bool,
}

/// Compiles a file and its accounts into a provider. Faults are reported at `root` or at the
/// accounts; then the result may be `None` or incomplete.
pub(crate) fn compile(
    file: &ProviderFile,
    accounts: &[AccountSpec],
    around: CompileContext<'_>,
    root: &SettingsCursor<'_>,
) -> Option<Provider> {
    let name = stated_name(file.name.as_deref(), "name", r#"name = "stripe""#, root);
    if name.as_ref().is_some_and(|name| TAKEN.contains(&name.as_str())) {
        root.key("name").refuse(
            "is taken: routing keys and queues use the word for something else; write another",
        );
    }
    let kind = stated_name(file.r#type.as_deref(), "type", r#"type = "payment""#, root);
    if file.protocol.is_none() {
        root.key("protocol").refuse(r#"is missing; write protocol = "rest", "amqp" or "nats""#);
    }
    refuse_foreign_keys(file, root);
    let names = AccountNames::of(file, accounts);
    let settings = around.defaults.links.as_ref();
    let has_address = settings.is_some_and(|settings| settings.public_url.is_some());
    let webhook_url = WebhookUrl::new(around.has_endpoint, has_address);
    let open = |stated| AccountDraft::new(file, stated, &names, &webhook_url, around, root);
    let mut opened: Vec<_> = accounts.iter().map(open).collect();
    let http = http_settings(file, around.folder, root);
    let max_bytes_in_flight = file
        .max_bytes_in_flight
        .as_ref()
        .and_then(|text| size(text, &root.key("max_bytes_in_flight")));
    let connect_timeout = http.connect_timeout;
    let inherited = InheritedSettings {
        protocol: file.spoken(),
        in_request: KnownVariables::in_request(&names.secrets)
            .with_account(&names.values)
            .with(&webhook_url),
        in_address: KnownVariables::in_base_url(&names.values),
        in_answer: KnownVariables::in_answer(&names.secrets)
            .with_account(&names.values)
            .with(&webhook_url),
        folder: around.folder,
        connect_timeout,
        timeout: timeout(file.timeout.as_deref(), TIMEOUT, connect_timeout, &root.key("timeout")),
        retry: retry(file.retry.as_ref(), &around.defaults.retry, &root.key("retry")),
        rules: &file.classify,
        error: file.response.as_ref().and_then(|response| response.error.as_ref()),
        root: root.clone(),
    };
    // The accepted headers are the same for all accounts.
    let shared = opened.first().and_then(|opened| opened.shared.as_ref());
    let (operations, rest) = operations(file, shared, &inherited, &root.key("operations"));
    let without_command = (
        &KnownVariables::in_verification(&names.secrets).with_account(&names.values),
        &KnownVariables::in_verification_answer(&names.secrets).with_account(&names.values),
    );
    let probe =
        verification::compile(file, without_command, shared, &inherited, root).map(Arc::new);
    let starts_lookups = file.webhook.as_ref().is_some_and(WebhookFile::starts_lookups);
    if starts_lookups && file.operations.values().all(|operation| operation.lookup.is_none()) {
        let text = "has commands looked up, and no operation has a `lookup`; write one";
        root.key("webhook").key("on").refuse(text);
    }
    let settings = settings.zip(name.clone());
    let echo_tokens = settings
        .clone()
        .map(|(settings, provider)| EchoTokens { provider, settings: Arc::clone(settings) });
    let links = settings.filter(|_| around.has_endpoint);
    let links = links.and_then(|(settings, provider)| WebhookLinks::new(provider, settings));
    for (opened, stated) in opened.iter_mut().zip(accounts) {
        opened.listen(file, &names, (links.as_ref(), webhook_url.is_named()), &stated.place(root));
        opened.take_answers(file, (stated, &names), &stated.place(root));
    }
    refuse_shared_queues(&opened, root);
    let retry_group =
        file.retry_group.as_ref().and_then(|group| root.key("retry_group").check(group.parse()));
    let (name, rest) = (name?, Arc::new(rest));
    let accounts = opened
        .into_iter()
        .map(|opened| opened.account((&name, file.spoken()), &rest, probe.as_ref()));
    let accounts: Option<Vec<Account>> = accounts.collect();
    Some(Provider {
        name,
        kind: kind?,
        links,
        echo_tokens,
        names_command_token: around.names_command_token,
        accounts: accounts?
            .into_iter()
            .map(|account| (account.name.clone(), Arc::new(account)))
            .collect(),
        operations,
        http,
        max_in_flight: file.max_in_flight.map_or(around.defaults.max_in_flight, Into::into),
        max_bytes_in_flight: max_bytes_in_flight.unwrap_or(around.defaults.max_bytes_in_flight),
        retry_group,
        log: log_settings(file),
        accounts_dir: file.accounts_dir.as_ref().map(|dir| around.folder.join(dir)),
        verification: probe.map(|probe| probe.described.clone()),
    })
}

/// The parts of a provider that depend on the account.
struct AccountDraft {
    name: Name,
    secrets: ProviderSecrets,
    account_variable: Value,
    shared: Option<SharedRequestParts>,
    webhook: Option<Arc<dyn WebhookReceiver>>,
    inbound: Option<Arc<InboundQueue>>,
    publishers: Option<PublisherList>,
}

impl AccountDraft {
    fn new(
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
    fn listen(
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
    fn take_answers(
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

    fn account(
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

/// Refuses two accounts that consume one queue: each would get some of the other's answers.
fn refuse_shared_queues(accounts: &[AccountDraft], root: &SettingsCursor<'_>) {
    let queue = |account: &AccountDraft| {
        let (shared, inbound) = (account.shared.as_ref()?, account.inbound.as_ref()?);
        Some((shared.base_url.as_url().clone(), inbound.queue.clone()))
    };
    let mut queues = BTreeSet::new();
    if !accounts.iter().filter_map(queue).all(|queue| queues.insert(queue)) {
        root.key("inbound").key("queue").refuse(
            "is the queue of several accounts, and each would get some of the others' answers; write one for each, such as \
             `answers.{{ account.name }}`",
        );
    }
}

/// Words of routing keys and queue names that no provider may have as its name, because they mean
/// something else.
const TAKEN: [&str; 4] = [ANY, "dead", "other", "unknown"];

fn stated_name(
    text: Option<&str>,
    key: &str,
    example: &str,
    root: &SettingsCursor<'_>,
) -> Option<Name> {
    let place = root.key(key);
    let Some(text) = text else {
        place.refuse(format!("is missing; write {example}"));
        return None;
    };
    place.check(text.parse())
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

fn http_settings(file: &ProviderFile, folder: &Path, root: &SettingsCursor<'_>) -> HttpSettings {
    let connect_timeout =
        file.connect_timeout.as_ref().and_then(|text| duration(text, &root.key("connect_timeout")));
    let ca_file = file.ca_file.as_ref().map(|path| folder.join(path));
    if let Some(path) = ca_file.as_ref().filter(|path| !path.is_file()) {
        root.key("ca_file")
            .refuse(format!("there is no file {}; write the path of a PEM file", path.display()));
    }
    let connect_timeout = connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    if file.timeout.is_none() && connect_timeout >= TIMEOUT {
        let timeout = humantime::format_duration(TIMEOUT);
        root.key("connect_timeout").refuse(format!(
            "is not below `timeout` ({timeout}); write less, or a higher `timeout`"
        ));
    }
    let max_response_size =
        file.max_response_size.as_ref().and_then(|text| size(text, &root.key("max_response_size")));
    HttpSettings {
        ca_file,
        connect_timeout,
        max_response_size: max_response_size.unwrap_or(RESPONSE_CAP),
    }
}

fn log_settings(file: &ProviderFile) -> LogSettings {
    let log = file.log.as_ref();
    LogSettings {
        bodies: log.and_then(|log| log.bodies).unwrap_or(true),
        mask: log.map(|log| log.mask.clone()).unwrap_or_default(),
    }
}

fn operations(
    file: &ProviderFile,
    shared: Option<&SharedRequestParts>,
    inherited: &InheritedSettings<'_>,
    place: &SettingsCursor<'_>,
) -> (BTreeMap<Name, Operation>, BTreeMap<Name, RestOperation>) {
    let (mut operations, mut rest) = (BTreeMap::new(), BTreeMap::new());
    if file.operations.is_empty() {
        place.refuse("there is none; write a table such as [operations.charge]");
    }
    for (name, table) in &file.operations {
        let place = place.key(name);
        let compiled = operation::compile(table, shared, inherited, &place);
        if let (Some(name), Some((operation, request))) =
            (place.check(name.parse::<Name>()), compiled)
        {
            operations.insert(name.clone(), operation);
            rest.insert(name, request);
        }
    }
    (operations, rest)
}
