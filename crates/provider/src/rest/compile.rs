//! Compiles a provider file into a provider.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::account_draft::AccountDraft;
use super::compile_context::CompileContext;
use super::compiled_operation::RestOperation;
use super::expression::KnownVariables;
use super::file::ProviderFile;
use super::foreign_keys::refuse_foreign_keys;
use super::inherited::{InheritedSettings, duration, size};
use super::operation::{self, retry, timeout};
use super::request::SharedRequestParts;
use super::verification;
use super::webhook_url::WebhookUrl;
use crate::account::{AccountNames, AccountSpec};
use crate::webhook::file::WebhookFile;
use crate::webhook_links::{EchoTokens, WebhookLinks};
use crate::{Account, HttpSettings, LogSettings, Operation, Provider};
use ferryd_domain::command::ANY;
use ferryd_domain::name::Name;
use ferryd_settings::findings::SettingsCursor;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);
const RESPONSE_CAP: usize = 1 << 20;

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
